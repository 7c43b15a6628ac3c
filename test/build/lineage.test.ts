/** A COPY from a stage that a cache without that stage's layers knows: the stage is not built, unless it is another. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { BuildOptions } from '../../src/engine/build-options.ts';
import { loadImages } from '../../src/engine/load.ts';
import { saveImages } from '../../src/engine/save.ts';
import { BuildLab, type BuildRun, type Files, whyNoRun } from './lab.ts';

const FILES: Files = { used: '1', mounted: '2', other: '3' };
const DOCKERFILE = `ARG GLOBAL=g
FROM base AS tools
RUN echo tool >/tool
FROM base AS builder
ARG GLOBAL
ARG GIVEN=x
ENV KEPT=y
WORKDIR /src
COPY used ./
RUN --mount=type=bind,source=mounted,target=/m --mount=from=tools,source=/tool,target=/t cat used /m /t >out; echo $GLOBAL $GIVEN $KEPT $PWD >>out
FROM scratch
COPY --from=builder /src/out /out
LABEL a=b
`;

interface Change {
  name: string;
  dockerfile?: string;
  files?: Files;
  options?: BuildOptions;
}

const same: Change[] = [
  { name: 'the same again' },
  { name: 'another line behind the copy', dockerfile: `${DOCKERFILE}ENV more=1\n` },
  {
    name: 'a comment, and lines that moved',
    dockerfile: DOCKERFILE.replace('FROM base AS b', '\n# here\nFROM base AS b'),
  },
  { name: 'a file that nobody takes', files: { other: 'changed' } },
  { name: 'an argument that no stage declares', options: { buildArgs: { UNKNOWN: '1' } } },
  { name: 'a link', dockerfile: DOCKERFILE.replace('COPY --from', 'COPY --link --from') },
];

const changed: Change[] = [
  { name: 'the command', dockerfile: DOCKERFILE.replace('cat used', 'cat  used') },
  { name: 'the command of a stage that is mounted', dockerfile: DOCKERFILE.replace('echo tool', 'echo TOOL') },
  { name: 'a file that the stage takes', files: { used: 'changed' } },
  { name: 'a file that it mounts', files: { mounted: 'changed' } },
  { name: 'an argument', options: { buildArgs: { GIVEN: 'z' } } },
  { name: 'a global argument', options: { buildArgs: { GLOBAL: 'z' } } },
  { name: 'ENV', dockerfile: DOCKERFILE.replace('KEPT=y', 'KEPT=z') },
  { name: 'WORKDIR', dockerfile: DOCKERFILE.replaceAll('/src', '/other') },
  { name: 'USER', dockerfile: DOCKERFILE.replace('COPY used', 'USER root\nCOPY used') },
  { name: 'SHELL', dockerfile: DOCKERFILE.replace('COPY used', 'SHELL ["/bin/sh", "-ec"]\nCOPY used') },
  { name: 'what is copied', dockerfile: DOCKERFILE.replace('COPY used ./', 'COPY used other ./') },
  { name: 'the mode of what is copied', dockerfile: DOCKERFILE.replace('COPY used', 'COPY --chmod=600 used') },
  { name: 'the target of a mount', dockerfile: DOCKERFILE.replaceAll('/m', '/n') },
  { name: 'the network', options: { network: 'none' } },
  { name: 'a line of /etc/hosts', options: { runSettings: { extraHosts: ['a:1.2.3.4'] } } },
  { name: 'the hostname', options: { buildArgs: { BUILDKIT_SANDBOX_HOSTNAME: 'other' } } },
  { name: 'the time', options: { epoch: new Date(1_000_000_000_000) } },
  { name: 'no cache for the stage', options: { noCacheFilter: ['builder'] } },
  { name: 'no cache for a stage that it takes from', options: { noCacheFilter: ['tools'] } },
  { name: 'the base', dockerfile: DOCKERFILE.replace('FROM base AS builder', 'FROM tools AS builder') },
];

describe('a COPY from a stage that the cache has no layers of', { skip: whyNoRun() }, () => {
  let first: BuildLab;
  let base: string;
  let from: string;
  let built: BuildRun;
  before(async () => {
    first = new BuildLab();
    await first.importBase();
    base = join(first.directory, 'saved.tar');
    await saveImages(first.store, ['base'], { output: base });
    first.write(FILES);
    from = join(first.directory, 'cache');
    const links = `type=local,dest=${from}-links`;
    built = await first.build(DOCKERFILE, { cacheTo: [`type=local,dest=${from}`] });
    await first.build(DOCKERFILE.replace('COPY --from', 'COPY --link --from'), { cacheTo: [links] });
  });
  after(() => first[Symbol.dispose]());

  const again = async ({
    dockerfile = DOCKERFILE,
    files = {},
    options = {},
  }: Change): Promise<[BuildRun, string[]]> => {
    using lab = new BuildLab();
    await loadImages(lab.store, base);
    lab.write({ ...FILES, ...files });
    const cacheFrom = [`type=local,src=${from}`, `type=local,src=${from}-links`];
    const run = await lab.build(dockerfile, { cacheFrom, ...options });
    assert.equal(lab.read(run.image, 'out')?.split('\n').length, 3);
    return [run, run.done.filter((step) => /^(?:RUN|COPY|WORKDIR)/.test(step))];
  };

  for (const change of same) {
    it(`nothing of it is built: ${change.name}`, async () => {
      const [run, done] = await again(change);
      assert.deepEqual(done, []);
      assert.ok(run.cached.some((step) => step.includes('--from=builder')));
      if (change.dockerfile === undefined && change.options === undefined) assert.equal(run.id, built.id);
    });
  }
  for (const change of changed) {
    it(`it is built: ${change.name}`, async () => {
      const [, done] = await again(change);
      assert.ok(
        done.some((step) => step.startsWith('RUN --mount')),
        done.join(),
      );
    });
  }

  it('a stage that fetches something is asked, and one that fails is told, not passed over', async () => {
    const failing = DOCKERFILE.replace('cat used', 'false; exit 9; cat used');
    await assert.rejects(again({ name: '', dockerfile: failing }), { code: 'RUN_FAILED' });
    const remote = DOCKERFILE.replace('COPY used', 'ADD http://127.0.0.1:1/x /x\nCOPY used');
    await assert.rejects(again({ name: '', dockerfile: remote }), { code: 'REMOTE_UNREACHABLE' });
  });

  it('goes on from cache to cache', async () => {
    using lab = new BuildLab();
    await loadImages(lab.store, base);
    lab.write(FILES);
    const next = join(first.directory, 'next');
    const run = await lab.build(DOCKERFILE, {
      cacheFrom: [`type=local,src=${from}`],
      cacheTo: [`type=local,dest=${next}`],
    });
    assert.equal(run.id, built.id);
    using other = new BuildLab();
    await loadImages(other.store, base);
    other.write(FILES);
    const last = await other.build(DOCKERFILE, { cacheFrom: [`type=local,src=${next}`] });
    assert.equal(last.id, built.id);
    assert.ok(!last.done.some((step) => step.startsWith('RUN')), last.done.join());
  });
});
