import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { it, describe as suite } from 'node:test';
import { loadArchive } from '../../src/archive/load.ts';
import { parseArguments } from '../../src/cli/args.ts';
import type { Command } from '../../src/cli/command.ts';
import { command as artifactPull } from '../../src/cli/commands/artifact-pull.ts';
import { command as artifactPush } from '../../src/cli/commands/artifact-push.ts';
import { command as copy } from '../../src/cli/commands/copy.ts';
import { command as inspect } from '../../src/cli/commands/inspect.ts';
import { command as annotate } from '../../src/cli/commands/manifest-annotate.ts';
import { command as create } from '../../src/cli/commands/manifest-create.ts';
import { command as manifestInspect } from '../../src/cli/commands/manifest-inspect.ts';
import { command as push } from '../../src/cli/commands/manifest-push.ts';
import { command as rm } from '../../src/cli/commands/manifest-rm.ts';
import { command as referrers } from '../../src/cli/commands/referrers.ts';
import { command as tags } from '../../src/cli/commands/tags.ts';
import type { Store } from '../../src/store/store.ts';
import { describe, Lab, layoutOf, sampleImage } from '../archive/lab.ts';
import { FakeRegistry } from '../registry/fake-registry.ts';

interface Outcome {
  status: number;
  out: string;
}

async function run(store: Store, command: Command, ...line: string[]): Promise<Outcome> {
  const parsed = parseArguments(command, line);
  const chunks: Buffer[] = [];
  const stream = { write: (text: string | Uint8Array) => chunks.push(Buffer.from(text)) };
  const context = {
    ...parsed,
    stdout: stream,
    stderr: stream,
    openStore: () => store,
    signal: new AbortController().signal,
  };
  const status = await command.run(context as unknown as Parameters<Command['run']>[0]);
  return { status, out: Buffer.concat(chunks).toString() };
}

suite('commands that work on registries', () => {
  it('tags', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start({ pageSize: 2 });
    const image = sampleImage([lab.tar(lab.tree('t', { f: '1' }))]);
    for (const tag of ['a', 'b', 'latest']) registry.putImage('team/app', tag, image);
    const name = `${registry.host}/team/app`;
    const store = lab.store();
    assert.deepEqual(await run(store, tags, name), { status: 0, out: 'a\nb\nlatest\n' });
    assert.equal((await run(store, tags, '--limit', '1', name)).out, 'a\n');
    assert.equal((await run(store, tags, '--format', '{{.Repository}}:{{.Tag}}', '-n1', name)).out, `${name}:a\n`);
    assert.equal((await run(store, tags, '--format', 'json', '-n1', name)).out, `{"Repository":"${name}","Tag":"a"}\n`);
    assert.match(
      (await run(store, tags, '--format', 'table', name)).out,
      /^REPOSITORY +TAG\n(?:.*\/team\/app +\w+\n){3}$/,
    );
    await assert.rejects(run(store, tags, '--limit', 'x', name), { code: 'BAD_FLAG_VALUE' });
  });

  it('inspect --remote', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const image = sampleImage([lab.tar(lab.tree('t', { f: '1' }))], { architecture: 'arm64' });
    registry.putImage('app', '1', image);
    const name = `${registry.host}/app:1`;
    const store = lab.store();
    const [shown] = JSON.parse((await run(store, inspect, '--remote', name)).out);
    assert.deepEqual(shown.RepoDigests, [`${registry.host}/app@${describe(image).digest}`]);
    assert.equal((await run(store, inspect, '--remote', '--raw', name)).out, image.manifest.toString());
    assert.equal((await run(store, inspect, '--remote', '--raw', '--config', name)).out, image.config.toString());
    const [config] = JSON.parse((await run(store, inspect, '--remote', '--config', name)).out);
    assert.deepEqual(config, JSON.parse(image.config.toString()));
    const format = '{{.Os}}/{{.Architecture}} {{len .Layers}}';
    assert.equal((await run(store, inspect, '--remote', '--format', format, name)).out, 'linux/arm64 1\n');
    assert.throws(() => inspect.run({ ...parseArguments(inspect, ['--raw', name]) } as never), { code: 'BAD_USAGE' });
    assert.throws(() => inspect.run({ ...parseArguments(inspect, ['--remote', '--type=container', name]) } as never), {
      code: 'BAD_USAGE',
    });
    assert.equal((await run(store, inspect, name)).status, 1);
    const { status, out } = await run(store, inspect, '--remote', name, `${registry.host}/none:1`, name);
    assert.deepEqual([status, JSON.parse(out).length], [1, 2], 'those that are there are shown');
    await assert.rejects(run(store, inspect, '--remote', `${registry.host}/none:1`), { code: 'MANIFEST_UNKNOWN' });
  });

  it('copy takes --all or --platform, not both', async () => {
    using lab = new Lab();
    await assert.rejects(run(lab.store(), copy, '--all', '--platform=linux/arm64', 'a.invalid/x', 'b.invalid/x'), {
      code: 'BAD_USAGE',
    });
  });

  it('manifest create, annotate, inspect, push, rm print as Docker does', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const store = lab.store();
    const image = sampleImage([lab.tar(lab.tree('t', { f: '1' }))]);
    const name = `${registry.host}/app:1`;
    await loadArchive(store, lab.tree('in', layoutOf(image, { 'io.containerd.image.name': name })));
    const list = `${registry.host}/app:all`;
    assert.equal((await run(store, create, list, name)).out, `Created manifest list ${list}\n`);
    await assert.rejects(run(store, create, list, name), {
      message: 'refusing to amend an existing manifest list with no --amend flag',
    });
    await run(store, create, '--amend', '--annotation', 'k=v=w', list, name);
    assert.equal((await run(store, annotate, '--os-features', 'a,b', '--variant', 'v2', list, name)).out, '');
    const { out } = await run(store, manifestInspect, list);
    assert.match(out, /^\{\n\t"/);
    const index = JSON.parse(out);
    assert.deepEqual(index.annotations, { k: 'v=w' });
    assert.deepEqual(index.manifests[0].platform['os.features'], ['a', 'b']);
    assert.equal(JSON.parse((await run(store, manifestInspect, '-v', list)).out)[0].Ref, name);
    assert.equal(JSON.parse((await run(store, manifestInspect, list, name)).out).Ref, name);
    const { digest } = describe(image);
    const pushed = (await run(store, push, '--purge', list)).out;
    const inRegistry = registry.repository('app').tags.get('all');
    assert.equal(pushed, `Pushed ref ${name} with digest: ${digest}\n${inRegistry}\n`);
    await run(store, create, list, name);
    assert.deepEqual(await run(store, rm, list), { status: 0, out: '' });
  });

  it('artifact push and pull, and referrers', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const store = lab.store();
    const image = sampleImage([lab.tar(lab.tree('t', { f: '1' }))]);
    registry.putImage('app', '1', image);
    const file = join(lab.tree('in', { 'sbom.json': '{}\n' }), 'sbom.json:application/json');
    const name = `${registry.host}/app`;
    const line = ['--subject', `${name}:1`, '--artifact-type', 'x/sbom', '--annotation', 'a=b', name, file];
    const { out } = await run(store, artifactPush, ...line);
    const digest = /^Digest: (sha256:[0-9a-f]{64})$/m.exec(out)![1]!;
    assert.equal(out, `Pushed ${name}@${digest}\nSubject: ${describe(image).digest}\nDigest: ${digest}\n`);
    const table = (await run(store, referrers, `${name}:1`)).out.split('\n');
    assert.match(table[0]!, /^DIGEST +ARTIFACT TYPE +SIZE +CREATED$/);
    assert.match(table[1]!, new RegExp(`^${digest} +x/sbom +\\d+B +(?:Less than a|\\d+) seconds? ago$`));
    assert.equal((await run(store, referrers, '-q', '--artifact-type', 'x/sbom', `${name}:1`)).out, `${digest}\n`);
    assert.equal((await run(store, referrers, '-q', '--artifact-type', 'x/none', `${name}:1`)).out, '');
    const row = JSON.parse((await run(store, referrers, '--format', 'json', `${name}:1`)).out);
    assert.equal(row.Annotations.a, 'b');
    const pulled = await run(store, artifactPull, '-o', lab.path('out'), `${name}@${digest}`);
    assert.equal(pulled.out, `sbom.json\nPulled ${name}@${digest}\nDigest: ${digest}\n`);
    assert.deepEqual(readdirSync(lab.path('out')), ['sbom.json']);
    const again = run(store, artifactPull, '-k', '-o', lab.path('out'), `${name}@${digest}`);
    await assert.rejects(again, { code: 'FILE_EXISTS' });
    await assert.rejects(run(store, artifactPush, '--annotation', 'none', name), { code: 'BAD_FLAG_VALUE' });
  });

  it('what a registry sends does not steer the terminal', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const image = sampleImage([lab.tar(lab.tree('t', { f: '1' }))]);
    registry.putImage('app', '1', image);
    const empty = {
      mediaType: 'application/vnd.oci.empty.v1+json',
      digest: registry.putBlob('app', Buffer.from('{}')),
      size: 2,
    };
    registry.putManifest('app', undefined, {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      artifactType: 'x/\x1b[31m\nred',
      config: empty,
      layers: [],
      subject: describe(image),
      annotations: { 'org.opencontainers.image.created': '\x1b[2J' },
    });
    const store = lab.store();
    for (const format of [[], ['--format', '{{.ArtifactType}} {{.CreatedAt}}']]) {
      const { out } = await run(store, referrers, ...format, `${registry.host}/app:1`);
      assert.ok(!out.includes('\x1b') && out.includes('red'), out);
    }
  });
});
