/** BuildKit's cases that take more than one build, or look at more than files and config. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { DockerfileError } from '../../src/formats/dockerfile/errors.ts';
import { BuildLab, type BuildRun, whyNoRun } from '../build/lab.ts';

function steps(run: BuildRun): string[] {
  return (run.image.config.history ?? []).map(({ created_by }) => created_by ?? '');
}

describe("BuildKit's cases of more than one build", () => {
  it('testContextChangeDirToFile', async () => {
    using lab = new BuildLab();
    lab.write({ 'foo/bar': '1' });
    const dockerfile = 'FROM scratch\nCOPY foo /';
    assert.equal(lab.read((await lab.build(dockerfile)).image, 'bar'), '1');
    rmSync(join(lab.context, 'foo'), { recursive: true });
    lab.write({ foo: '2' });
    assert.equal(lab.read((await lab.build(dockerfile)).image, 'foo'), '2');
  });

  it('testDockerignoreOverride', async () => {
    using lab = new BuildLab();
    lab.write({
      a: '1',
      b: '2',
      Dockerfile: 'FROM scratch\nCOPY . .',
      'Dockerfile.dockerignore': 'a',
      Other: 'FROM scratch\nCOPY . .',
      'Other.dockerignore': 'b',
    });
    const first = await lab.build('', { file: undefined });
    assert.deepEqual([lab.read(first.image, 'a'), lab.read(first.image, 'b')], [undefined, '2']);
    const other = await lab.build('', { file: join(lab.context, 'Other') });
    assert.deepEqual([lab.read(other.image, 'a'), lab.read(other.image, 'b')], ['1', undefined]);
  });

  it('testExportedHistory', async () => {
    using lab = new BuildLab();
    lab.write({ f: 'x' });
    const run = await lab.build(
      'FROM scratch AS s\nCOPY f g\nFROM scratch\nLABEL l=v\nCOPY --from=s g h\nWORKDIR /w\nEXPOSE 2375 5000 1234/udp',
    );
    assert.deepEqual(
      (run.image.config.history ?? []).map(({ created_by, empty_layer }) => [created_by, empty_layer === true]),
      [
        ['LABEL l=v', true],
        ['COPY g h', false],
        ['WORKDIR /w', false],
        ['EXPOSE [1234/udp 2375/tcp 5000/tcp]', true],
      ],
    );
    for (const { created } of run.image.config.history ?? []) assert.ok(Date.parse(created!) > 0);
  });

  it('testCopySocket: an empty file with its mode, from the cache, too', async (t) => {
    using lab = new BuildLab();
    const path = join(lab.context, 'socket.sock');
    const server = createServer().listen(path);
    await once(server, 'listening');
    t.after(() => server.close());
    chmodSync(path, 0o750);
    for (const dockerfile of ['FROM scratch\nCOPY . /', 'FROM scratch\nCOPY socket.sock /']) {
      const first = await lab.build(dockerfile);
      assert.deepEqual(lab.list(first.image), ['f 0750 0:0 socket.sock 0']);
      assert.equal((await lab.build(dockerfile)).cached.length, 1);
    }
  });

  it('testErrorsSourceMap', async () => {
    using lab = new BuildLab();
    for (const [dockerfile, line] of [
      ['FROM scratch\n\n# here\nCOPY gone /\n', 4],
      ['FROM scratch\nFOO bar', 2],
      ['FROM scratch\nENV a=b\n\nARG A=${B:?not there}', 4],
    ] as const) {
      await assert.rejects(lab.build(dockerfile), (error: DockerfileError) => {
        assert.equal(error.line, line);
        return true;
      });
    }
  });

  it('testOCILayoutMultiname: several names are one image', async () => {
    using lab = new BuildLab();
    const { references, id } = await lab.build('FROM scratch\nLABEL a=b', { tags: ['org/repo:1', 'org/repo:2'] });
    assert.deepEqual(references, ['org/repo:1', 'org/repo:2']);
    assert.match(id, /^sha256:/);
  });

  it('testEagerNamedContextLookup', async () => {
    using lab = new BuildLab();
    const run = await lab.build('FROM gone AS unused\nFROM scratch AS base\nLABEL a=b\nFROM base', {
      contexts: { unused: 'docker-image://no/such:image', other: 'docker-image://no/such:image' },
    });
    assert.deepEqual(run.image.config.config?.Labels, { a: 'b' });
  });

  it('testNamedImageContextScratch', async () => {
    using lab = new BuildLab();
    const run = await lab.build('FROM busybox\nCOPY <<E /out\nx\nE', {
      contexts: { busybox: 'docker-image://scratch' },
    });
    assert.deepEqual(lab.paths(run.image), ['out']);
  });

  it('testSourceDateEpochWithoutExporter and a default that the argument overrides', async () => {
    using lab = new BuildLab();
    for (const first of ['', 'ARG SOURCE_DATE_EPOCH=5\n']) {
      const buildArgs = { SOURCE_DATE_EPOCH: '1000000000' };
      const { image } = await lab.build(`${first}FROM scratch\nLABEL a=b`, { buildArgs });
      assert.equal(new Date(image.config.created!).toISOString(), '2001-09-09T01:46:40.000Z');
    }
  });
});

describe("BuildKit's cases of more than one build with RUN", { skip: whyNoRun() }, () => {
  it('testCopyWildcardCache: what a pattern does not match leaves the step cached', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    lab.write({ foo1: '1', foo2: '2', bar: '3' });
    const dockerfile = 'FROM base\nCOPY foo* d/\nRUN cat d/* >unique\nCOPY bar d/';
    const run = 'RUN cat d/* >unique';
    assert.ok((await lab.build(dockerfile)).done.includes(run));
    lab.write({ bar: '4' });
    assert.ok((await lab.build(dockerfile)).cached.includes(run));
    lab.write({ foo2: '5' });
    assert.ok((await lab.build(dockerfile)).done.includes(run));
  });

  it('testWildcardRenameCache', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    lab.write({ file1: 'x', file2: 'y' });
    const dockerfile = 'FROM base\nCOPY file* d/\nRUN ls d >out';
    assert.equal(lab.read((await lab.build(dockerfile)).image, 'out'), 'file1\nfile2\n');
    rmSync(join(lab.context, 'file2'));
    lab.write({ file3: 'y' });
    assert.equal(lab.read((await lab.build(dockerfile)).image, 'out'), 'file1\nfile3\n');
  });

  it('testNoCache and testReproducibleIDs', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const dockerfile = 'FROM base\nRUN head -c 9 /dev/urandom >a\nRUN head -c 9 /dev/urandom >b';
    const first = await lab.build(dockerfile);
    assert.equal((await lab.build(dockerfile)).id, first.id);
    const anew = await lab.build(dockerfile, { noCache: true });
    assert.notEqual(lab.read(anew.image, 'a'), lab.read(first.image, 'a'));
    assert.equal((await lab.build(dockerfile)).id, anew.id);
  });

  it('testCacheMountModeNoCache: the cache of a mount outlives --no-cache', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const dockerfile = 'FROM base\nRUN --mount=type=cache,target=/c,mode=0773 echo x >>/c/f && cat /c/f >/out';
    assert.equal(lab.read((await lab.build(dockerfile)).image, 'out'), 'x\n');
    assert.equal(lab.read((await lab.build(dockerfile, { noCache: true })).image, 'out'), 'x\nx\n');
  });

  it('testMountDuplicate: a changed context is seen', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const dockerfile = 'FROM base\nRUN --mount=source=.,target=/m/d --mount=source=b,target=/m/b cat /m/d/a /m/b >/out';
    for (const text of ['1', '2']) {
      lab.write({ a: text, b: 'b' });
      assert.equal(lab.read((await lab.build(dockerfile)).image, 'out'), `${text}b`);
    }
  });

  it('testBuiltinArgs: a proxy is not in the key, an argument is', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const dockerfile = 'FROM base\nARG FOO\nRUN echo "$http_proxy $FOO" >out';
    const build = async (http_proxy: string, FOO: string): Promise<string | undefined> =>
      lab.read((await lab.build(dockerfile, { buildArgs: { http_proxy, FOO } })).image, 'out');
    assert.equal(await build('one', 'a'), 'one a\n');
    assert.equal(await build('two', 'a'), 'one a\n');
    assert.equal(await build('two', 'b'), 'two b\n');
  });

  it('testExportedHistoryFlattenArgs', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const run = await lab.build('FROM base\nARG foo=bar\nARG bar=123\nARG foo=bar2\nRUN ls /etc/');
    assert.deepEqual(steps(run).slice(-4), [
      'ARG foo=bar',
      'ARG bar=123',
      'ARG foo=bar2',
      'RUN |2 foo=bar2 bar=123 /bin/sh -c ls /etc/',
    ]);
  });

  it('testStepNames', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    const { events } = await lab.build(
      'FROM base AS s\nWORKDIR /out\nRUN echo "base" > base\nFROM scratch\nCOPY --from=s --chmod=0644 /out /out',
    );
    const names = events.flatMap((event) => (event.type === 'start' ? [event.name] : []));
    assert.ok(names.includes('[s 3/3] RUN echo "base" > base'), names.join('\n'));
    assert.ok(names.includes('[stage-1 1/1] COPY --from=s --chmod=0644 /out /out'), names.join('\n'));
  });
});
