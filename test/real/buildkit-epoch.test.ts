/** BuildKit's cases of SOURCE_DATE_EPOCH: where the time may come from, and what it does. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { BuildOptions } from '../../src/engine/build-options.ts';
import { parseOutput } from '../../src/exporter/output-options.ts';
import { readLayerEntries } from '../../src/store/layer-entries.ts';
import { BuildLab, type BuildRun, type Files, whyNoRun } from '../build/lab.ts';
import { FileServer, makeRepository, noGit } from '../build/served.ts';

/** Of everything that nobody gave a time. */
const NOW = Date.now() / 1000 - 1000;
const EPOCH = 1_700_000_001;
const DEFAULT = `ARG SOURCE_DATE_EPOCH=${EPOCH}\nFROM scratch\nCOPY <<E /file\nE\nWORKDIR /w\n`;

function created({ image }: BuildRun): number {
  return Date.parse(image.config.created!) / 1000;
}

/** Of the names of the newest layer. */
function times(lab: BuildLab, { image }: BuildRun): number[] {
  return [...new Set(readLayerEntries(lab.store, image.diffIds.at(-1)!).map(({ mtime }) => mtime.sec))];
}

/** A tar in which the newest regular file is of `newest`; links and directories are younger. */
function tarOf(newest: number, files: Files): Buffer {
  using lab = new BuildLab();
  lab.write({ ...files, 'dir/': '', link: '->dir' });
  for (const [i, name] of Object.keys(files).entries()) utimesSync(join(lab.context, name), newest - i, newest - i);
  const tar = join(lab.directory, 'made.tar');
  execFileSync('tar', ['-cf', tar, '-C', lab.context, ...Object.keys(files), 'dir', 'link']);
  return readFileSync(tar);
}

const whenModified = (time: number): Record<string, string> => ({
  'Last-Modified': new Date(time * 1000).toUTCString(),
});

describe("BuildKit's cases of a default for SOURCE_DATE_EPOCH", () => {
  const reset = { outputs: [parseOutput('type=image,rewrite-timestamp=true,source-date-epoch=')] };
  const own = { outputs: [parseOutput('type=image,rewrite-timestamp=true,source-date-epoch=1600000000')] };
  const cases: [name: string, options: BuildOptions, created: number, times: number[]][] = [
    ['testSourceDateEpochDockerfileDefault', { rewriteTimestamp: true }, EPOCH, [EPOCH]],
    [
      'testSourceDateEpochDockerfileDefaultOverride',
      { rewriteTimestamp: true, buildArgs: { SOURCE_DATE_EPOCH: '1700000002' } },
      1_700_000_002,
      [1_700_000_002],
    ],
    // The steps have the time all the same; only the output leaves the layers alone.
    ['testSourceDateEpochDockerfileDefaultReset', reset, EPOCH, [EPOCH]],
    ['an output with a time of its own', own, 1_600_000_000, [1_600_000_000]],
  ];
  for (const [name, options, wanted, layer] of cases) {
    it(name, async () => {
      using lab = new BuildLab();
      const run = await lab.build(DEFAULT, options);
      assert.equal(created(run), wanted);
      assert.deepEqual(times(lab, run), layer);
      for (const entry of run.image.config.history!) assert.equal(Date.parse(entry.created!) / 1000, wanted);
    });
  }
  it('testSourceDateEpochDockerfileDefaultReset leaves files of the context alone', async () => {
    using lab = new BuildLab();
    lab.write({ young: '' });
    const dockerfile = DEFAULT.replace('<<E /file\nE', 'young /file').replace('WORKDIR /w\n', '');
    const run = await lab.build(dockerfile, reset);
    assert.ok(times(lab, run).some((time) => time > NOW));
    assert.ok((await lab.build(dockerfile, own)).image.diffIds[0] !== run.image.diffIds[0]);
  });
  it('an empty argument means no time, whatever the default, and no ARG has one', async () => {
    using lab = new BuildLab();
    const dockerfile = `${DEFAULT}ARG SOURCE_DATE_EPOCH=7\nLABEL a=$SOURCE_DATE_EPOCH\n`;
    const run = await lab.build(dockerfile, { buildArgs: { SOURCE_DATE_EPOCH: '' } });
    assert.ok(created(run) > NOW);
    assert.equal(run.image.config.config!.Labels!.a, '7');
  });
  it('testSourceDateEpochDockerfileDefaultInvalid', async () => {
    using lab = new BuildLab();
    for (const text of ['not-a-timestamp', '1.5', '-1', 'Not A Name']) {
      const build = lab.build(`ARG SOURCE_DATE_EPOCH="${text}"\nFROM scratch\nLABEL a=b`);
      await assert.rejects(build, { code: 'BAD_EPOCH', message: new RegExp(`invalid SOURCE_DATE_EPOCH: ${text}`) });
    }
  });
});

describe("BuildKit's cases of SOURCE_DATE_EPOCH from elsewhere", () => {
  let server: FileServer;
  let lab: BuildLab;
  const modified = 1_700_000_201;
  const archived = 1_700_000_302;
  const context: BuildOptions = { file: undefined, buildArgs: { SOURCE_DATE_EPOCH: 'context' } };

  before(async () => {
    lab = new BuildLab();
    server = await FileServer.start(lab.directory);
    const dockerfile = 'FROM scratch\nARG SOURCE_DATE_EPOCH\nLABEL at=$SOURCE_DATE_EPOCH\nCOPY foo /\n';
    const body = tarOf(archived, { foo: 'bar', Dockerfile: dockerfile });
    server.answers.set('/dated.tar', { body, headers: whenModified(modified) });
    server.answers.set('/undated.tar', { body });
    server.answers.set('/undated.tar.gz', { body: gzipSync(body) });
    server.answers.set('/short.tar', { body: body.subarray(0, 1550) });
    server.answers.set('/Dockerfile', { body: dockerfile.replace(/COPY.*/, ''), headers: whenModified(modified) });
    server.answers.set('/undated', { body: 'FROM scratch\nLABEL at=none\n' });
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    lab[Symbol.dispose]();
  });

  it('testSourceDateEpochContextGit: the time of the commit', { skip: noGit }, async () => {
    makeRepository(
      lab,
      join(lab.directory, 'repo.git'),
      { Dockerfile: 'FROM scratch\nCOPY Dockerfile /\n' },
      { time: 77 },
    );
    const run = await lab.build('', { ...context, context: `${server.url}/repo.git/.git` });
    assert.equal(created(run), 77);
  });
  const contexts: [name: string, path: string, time: number | undefined][] = [
    ['testSourceDateEpochContextHTTPLastModified', 'dated.tar', modified],
    ['testSourceDateEpochContextHTTPArchive', 'undated.tar', archived],
    ['a compressed archive', 'undated.tar.gz', archived],
    ['a Dockerfile with a time', 'Dockerfile', modified],
    ['a Dockerfile without one', 'undated', undefined],
  ];
  for (const [name, path, time] of contexts) {
    it(name, async () => {
      const run = await lab.build('', { ...context, context: `${server.url}/${path}`, rewriteTimestamp: true });
      if (time === undefined) return assert.ok(created(run) > NOW);
      assert.equal(created(run), time);
      assert.equal(run.image.config.config!.Labels!.at, String(time));
      if (run.image.diffIds.length > 0) assert.ok(Math.max(...times(lab, run)) <= time);
    });
  }
  it('testSourceDateEpochContextLocalUnset, and no ARG sees the word', async () => {
    lab.write({ f: '' });
    const run = await lab.build('FROM scratch\nARG SOURCE_DATE_EPOCH=6\nLABEL at=$SOURCE_DATE_EPOCH\nCOPY f /', {
      buildArgs: { SOURCE_DATE_EPOCH: 'context' },
      rewriteTimestamp: true,
    });
    assert.ok(created(run) > NOW && times(lab, run)[0]! > NOW);
    assert.equal(run.image.config.config!.Labels!.at, '6');
  });
  const stage = (path: string, flags = ''): string =>
    `ARG SOURCE_DATE_EPOCH=MySource\nFROM scratch AS mysource\nARG P=${path}\nADD ${flags} ${server.url}/$P /\n` +
    'FROM scratch\nARG SOURCE_DATE_EPOCH\nLABEL at=$SOURCE_DATE_EPOCH\n';
  it('testSourceDateEpochStageHTTPArchive', async () => {
    const run = await lab.build(stage('undated.tar'));
    assert.equal(created(run), archived);
    assert.equal(run.image.config.config!.Labels!.at, String(archived));
    assert.equal(created(await lab.build(stage('none'), { buildArgs: { P: 'dated.tar' } })), modified);
    assert.ok(created(await lab.build(stage('short.tar'))) > NOW);
    const digest = createHash('sha256').update(server.answers.get('/undated.tar')!.body).digest('hex');
    assert.equal(created(await lab.build(stage('undated.tar', `--checksum=sha256:${digest}`))), archived);
    const wrong = lab.build(stage('undated.tar', `--checksum=sha256:${'0'.repeat(64)}`));
    await assert.rejects(wrong, { code: 'DIGEST_MISMATCH' });
  });
  it('a stage of a repository', { skip: noGit }, async () => {
    makeRepository(lab, join(lab.directory, 'other.git'), { a: '' }, { time: 99 });
    assert.equal(created(await lab.build(stage('other.git/.git'))), 99);
  });
  it('testSourceDateEpochStageOverride: nothing is asked', async () => {
    server.asked.length = 0;
    const run = await lab.build(stage('undated.tar'), { buildArgs: { SOURCE_DATE_EPOCH: '1700000502' } });
    assert.equal(created(run), 1_700_000_502);
    assert.deepEqual(server.asked, []);
  });
  it('testSourceDateEpochStageInvalid', async () => {
    const remote = `ADD ${server.url}/dated.tar /`;
    const bad: [stage: string, problem: RegExp][] = [
      ['FROM scratch AS mysource\nCOPY Dockerfile /', /does not meet source-only requirements: unsupported COPY/],
      ['FROM scratch AS mysource\nADD f /', /source must be a single HTTP\(S\) or Git ADD/],
      ['FROM scratch AS mysource\nADD f g /', /exactly one remote ADD source/],
      ['FROM scratch AS mysource\nADD <<E /f\nE', /exactly one remote ADD source/],
      [`FROM scratch AS mysource\n${remote}\n${remote}`, /exactly one remote ADD$/],
      ['FROM scratch AS mysource', /exactly one remote ADD$/],
      [`FROM base AS mysource\n${remote}`, /must use FROM scratch/],
    ];
    for (const [text, message] of bad) {
      const build = lab.build(`ARG SOURCE_DATE_EPOCH=mysource\n${text}\nFROM scratch`);
      await assert.rejects(build, { code: 'DOCKERFILE_ERROR', line: 2, message });
    }
  });
  const named: [name: string, place: () => string, time: number | undefined][] = [
    ['testSourceDateEpochNamedContextHTTPLastModified', () => `${server.url}/dated.tar`, modified],
    ['testSourceDateEpochNamedContextHTTPArchive', () => `${server.url}/undated.tar`, archived],
    ['of a named context, compressed', () => `${server.url}/undated.tar.gz`, archived],
    ['of a named directory: none', () => lab.context, undefined],
    ['of a named image: none', () => 'docker-image://scratch', undefined],
  ];
  for (const [name, place, time] of named) {
    it(name, async () => {
      const dockerfile =
        'ARG SOURCE_DATE_EPOCH=mysource\nFROM scratch\nARG SOURCE_DATE_EPOCH\nLABEL at=$SOURCE_DATE_EPOCH';
      const run = await lab.build(dockerfile, { contexts: { mysource: place() } });
      assert.equal(run.image.config.config!.Labels!.at, time === undefined ? '' : String(time));
      if (time === undefined) assert.ok(created(run) > NOW);
      else assert.equal(created(run), time);
    });
  }
});

describe('SOURCE_DATE_EPOCH of a context in a RUN', { skip: whyNoRun() }, () => {
  it('is the number', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    await using server = await FileServer.start();
    server.answers.set('/src', { body: 'x', headers: whenModified(1_700_000_601) });
    const dockerfile =
      'ARG SOURCE_DATE_EPOCH=src\nFROM base\nARG SOURCE_DATE_EPOCH\nRUN echo -n "$SOURCE_DATE_EPOCH" >/epoch';
    const run = await lab.build(dockerfile, { contexts: { src: `${server.url}/src` } });
    assert.equal(lab.read(run.image, 'epoch'), '1700000601');
  });
});
