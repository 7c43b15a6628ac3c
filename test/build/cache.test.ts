import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  cpSync,
  linkSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { BuildOptions } from '../../src/engine/build-options.ts';
import { removeImage } from '../../src/engine/rmi.ts';
import { prune } from '../../src/store/prune.ts';
import { setXattr } from '../../src/system/xattr.ts';
import { BuildLab, type Files, whyNoRun } from './lab.ts';

/** Another Dockerfile, or other options, for the second build. */
interface Next {
  dockerfile?: string;
  options?: BuildOptions;
}

interface CacheCase {
  name: string;
  dockerfile: string;
  files?: Files;
  options?: BuildOptions;
  /** Between the two builds; may return `Next`. */
  change: (lab: BuildLab) => unknown;
  /** The step that is looked at in the second build. */
  step: RegExp;
  skip?: string | false;
}

const FILES: Files = { 'a.txt': 'one', 'b.txt': 'two', 'd/x': 'x', 'd/y': 'y', 'd/link': '->x' };
const COPY_ALL = 'FROM scratch\nCOPY . /app/';
const notRoot: string | false = process.getuid?.() === 0 ? false : 'changing owners needs root';

/** A later build must not take the result of the first: something that shows has changed. */
const misses: CacheCase[] = [
  { name: 'content', dockerfile: COPY_ALL, change: (lab) => lab.write({ 'a.txt': 'ONE' }), step: /COPY/ },
  {
    name: 'content of the same length and time',
    dockerfile: COPY_ALL,
    change: (lab) => {
      const path = join(lab.context, 'a.txt');
      const { atime, mtime } = statSync(path);
      writeFileSync(path, 'eno');
      utimesSync(path, atime, mtime);
    },
    step: /COPY/,
  },
  { name: 'mode', dockerfile: COPY_ALL, change: (lab) => chmodSync(join(lab.context, 'a.txt'), 0o755), step: /COPY/ },
  {
    name: 'mode of a directory',
    dockerfile: COPY_ALL,
    change: (lab) => chmodSync(join(lab.context, 'd'), 0o700),
    step: /COPY/,
  },
  { name: 'link target', dockerfile: COPY_ALL, change: (lab) => lab.write({ 'd/link': '->y' }), step: /COPY/ },
  {
    name: 'a link where a file was',
    dockerfile: COPY_ALL,
    change: (lab) => lab.write({ 'a.txt': '->b.txt' }),
    step: /COPY/,
  },
  {
    name: 'a renamed file',
    dockerfile: COPY_ALL,
    change: (lab) => renameSync(join(lab.context, 'a.txt'), join(lab.context, 'c.txt')),
    step: /COPY/,
  },
  { name: 'a new file', dockerfile: COPY_ALL, change: (lab) => lab.write({ 'd/z': '' }), step: /COPY/ },
  { name: 'a new empty directory', dockerfile: COPY_ALL, change: (lab) => lab.write({ 'e/': '' }), step: /COPY/ },
  { name: 'a deleted file', dockerfile: COPY_ALL, change: (lab) => unlinkSync(join(lab.context, 'd/y')), step: /COPY/ },
  {
    name: 'contents that changed places',
    dockerfile: COPY_ALL,
    change: (lab) => lab.write({ 'a.txt': 'two', 'b.txt': 'one' }),
    step: /COPY/,
  },
  {
    name: 'names that were linked to one file',
    dockerfile: COPY_ALL,
    files: { ...FILES, 'b.txt': 'one' },
    change: (lab) => {
      unlinkSync(join(lab.context, 'b.txt'));
      linkSync(join(lab.context, 'a.txt'), join(lab.context, 'b.txt'));
    },
    step: /COPY/,
  },
  {
    name: 'an extended attribute',
    dockerfile: COPY_ALL,
    change: (lab) => setXattr(join(lab.context, 'a.txt'), 'user.x', Buffer.from('1')),
    step: /COPY/,
  },
  {
    name: 'an extended attribute of a directory',
    dockerfile: COPY_ALL,
    change: (lab) => setXattr(join(lab.context, 'd'), 'user.x', Buffer.from('1')),
    step: /COPY/,
  },
  {
    name: 'a pattern that matches more',
    dockerfile: 'FROM scratch\nCOPY *.txt /app/',
    change: (lab) => lab.write({ 'c.txt': '' }),
    step: /COPY/,
  },
  {
    name: 'a pattern that matches another name with the same content',
    dockerfile: 'FROM scratch\nCOPY a* /app/',
    files: { a1: 'same' },
    change: (lab) => renameSync(join(lab.context, 'a1'), join(lab.context, 'a2')),
    step: /COPY/,
  },
  {
    name: 'two sources in another order',
    dockerfile: 'FROM scratch\nCOPY d/x d2/x /app/',
    files: { 'd/x': '1', 'd2/x': '2' },
    change: () => ({ dockerfile: 'FROM scratch\nCOPY d2/x d/x /app/' }),
    step: /COPY/,
  },
  {
    name: 'one of two sources',
    dockerfile: 'FROM scratch\nCOPY a.txt b.txt /app/',
    change: (lab) => lab.write({ 'b.txt': '2' }),
    step: /COPY/,
  },
  {
    name: '.dockerignore',
    dockerfile: COPY_ALL,
    change: (lab) => lab.write({ '.dockerignore': '.dockerignore\nb.txt' }),
    step: /COPY/,
  },
  {
    name: '--exclude',
    dockerfile: COPY_ALL,
    change: () => ({ dockerfile: 'FROM scratch\nCOPY --exclude=*.txt . /app/' }),
    step: /COPY/,
  },
  {
    name: '--chown',
    dockerfile: COPY_ALL,
    change: () => ({ dockerfile: 'FROM scratch\nCOPY --chown=1:2 . /app/' }),
    step: /COPY/,
  },
  {
    name: '--chmod',
    dockerfile: COPY_ALL,
    change: () => ({ dockerfile: 'FROM scratch\nCOPY --chmod=700 . /app/' }),
    step: /COPY/,
  },
  {
    name: 'the destination',
    dockerfile: COPY_ALL,
    change: () => ({ dockerfile: 'FROM scratch\nCOPY . /app2/' }),
    step: /COPY/,
  },
  {
    name: 'the working directory',
    dockerfile: 'FROM scratch\nWORKDIR /a\nCOPY . x/',
    change: () => ({ dockerfile: 'FROM scratch\nWORKDIR /b\nCOPY . x/' }),
    step: /COPY/,
  },
  {
    name: 'an ARG in a source',
    dockerfile: 'FROM scratch\nARG f=a.txt\nCOPY $f /x',
    change: () => ({ options: { buildArgs: { f: 'b.txt' } } }),
    step: /COPY/,
  },
  {
    name: 'a heredoc',
    dockerfile: 'FROM scratch\nCOPY <<e /x\n1\ne',
    change: () => ({ dockerfile: 'FROM scratch\nCOPY <<e /x\n2\ne' }),
    step: /COPY/,
  },
  {
    name: 'an ARG in a heredoc',
    dockerfile: 'FROM scratch\nARG v=1\nCOPY <<e /x\n$v\ne',
    change: () => ({ options: { buildArgs: { v: '2' } } }),
    step: /COPY/,
  },
  {
    name: 'a layer below',
    dockerfile: 'FROM scratch\nCOPY a.txt /\nCOPY b.txt /',
    change: (lab) => lab.write({ 'a.txt': '1' }),
    step: /COPY b/,
  },
  {
    name: 'COPY --from a changed stage',
    dockerfile: 'FROM scratch AS s\nCOPY a.txt /o/\nFROM scratch\nCOPY --from=s /o /o',
    change: (lab) => lab.write({ 'a.txt': '1' }),
    step: /--from/,
  },
  {
    name: 'COPY --from a stage whose owners changed',
    dockerfile: 'FROM scratch AS s\nCOPY a.txt /o/\nFROM scratch\nCOPY --from=s /o /o',
    change: () => ({ dockerfile: 'FROM scratch AS s\nCOPY --chown=5 a.txt /o/\nFROM scratch\nCOPY --from=s /o /o' }),
    step: /--from/,
  },
  {
    name: 'ADD of a changed archive',
    dockerfile: 'FROM scratch\nADD a.txt /x/',
    change: (lab) => lab.write({ 'a.txt': 'other' }),
    step: /ADD/,
  },
  {
    name: 'ADD instead of COPY',
    dockerfile: 'FROM scratch\nCOPY a.txt /x/',
    change: () => ({ dockerfile: 'FROM scratch\nADD a.txt /x/' }),
    step: /ADD/,
  },
  {
    name: 'USER before WORKDIR',
    dockerfile: 'FROM scratch\nWORKDIR /w',
    change: () => ({ dockerfile: 'FROM scratch\nUSER 5\nWORKDIR /w' }),
    step: /WORKDIR/,
  },
  { name: '--no-cache', dockerfile: COPY_ALL, change: () => ({ options: { noCache: true } }), step: /COPY/ },
];

/** A later build must take the result of the first: nothing that shows has changed. */
const hits: CacheCase[] = [
  { name: 'nothing', dockerfile: COPY_ALL, change: () => {}, step: /COPY/ },
  { name: 'times', dockerfile: COPY_ALL, change: (lab) => utimesSync(join(lab.context, 'a.txt'), 1, 1), step: /COPY/ },
  {
    name: 'owners in the context',
    dockerfile: COPY_ALL,
    change: (lab) => chownSync(join(lab.context, 'a.txt'), 1234, 1234),
    step: /COPY/,
    skip: notRoot,
  },
  {
    name: 'files deleted and made again',
    dockerfile: COPY_ALL,
    change: (lab) => {
      rmSync(lab.context, { recursive: true });
      lab.write(Object.fromEntries(Object.entries(FILES).reverse()));
    },
    step: /COPY/,
  },
  {
    name: 'another checkout',
    dockerfile: COPY_ALL,
    change: (lab) => {
      const other = join(lab.directory, 'other');
      cpSync(lab.context, other, { recursive: true, verbatimSymlinks: true });
      return { options: { context: other } };
    },
    step: /COPY/,
  },
  {
    name: 'mode of the copied directory itself',
    dockerfile: COPY_ALL,
    change: (lab) => chmodSync(lab.context, 0o711),
    step: /COPY/,
  },
  {
    name: 'a file that is ignored',
    dockerfile: COPY_ALL,
    files: { ...FILES, '.dockerignore': '*.log', 'x.log': '1' },
    change: (lab) => lab.write({ 'x.log': '2', 'y.log': '' }),
    step: /COPY/,
  },
  {
    name: 'a file that is not copied',
    dockerfile: 'FROM scratch\nCOPY d /d',
    change: (lab) => lab.write({ 'a.txt': '2' }),
    step: /COPY/,
  },
  {
    name: 'a label before it',
    dockerfile: COPY_ALL,
    change: () => ({ dockerfile: 'FROM scratch\nLABEL a=b\nCOPY . /app/' }),
    step: /COPY/,
  },
  {
    name: 'ENV before a COPY',
    dockerfile: COPY_ALL,
    change: () => ({ dockerfile: 'FROM scratch\nENV a=b\nCOPY . /app/' }),
    step: /COPY/,
  },
  {
    name: 'layout of the Dockerfile',
    dockerfile: COPY_ALL,
    change: () => ({ dockerfile: '# x\nFROM scratch\n\ncopy   . \\\n /app/' }),
    step: /COPY/,
  },
  {
    name: 'a build arg that nobody declares',
    dockerfile: COPY_ALL,
    change: () => ({ options: { buildArgs: { x: '1' } } }),
    step: /COPY/,
  },
  {
    name: 'another part of a stage',
    dockerfile: 'FROM scratch AS s\nCOPY a.txt /a\nCOPY b.txt /b\nFROM scratch\nCOPY --from=s /a /a',
    change: (lab) => lab.write({ 'b.txt': '2' }),
    step: /--from/,
  },
  {
    name: 'a stage of another name',
    dockerfile: 'FROM scratch AS s\nCOPY a.txt /a\nFROM scratch\nCOPY --from=s /a /a',
    change: () => ({ dockerfile: 'FROM scratch AS t\nCOPY a.txt /a\nFROM scratch\nCOPY --from=t /a /a' }),
    step: /--from/,
  },
  {
    name: 'the same steps in another file, under another name',
    dockerfile: COPY_ALL,
    change: () => ({ options: { tags: ['other'] }, dockerfile: `${COPY_ALL}\nCMD ["x"]` }),
    step: /COPY/,
  },
  { name: 'WORKDIR again', dockerfile: 'FROM scratch\nWORKDIR /a/b', change: () => {}, step: /WORKDIR/ },
  { name: 'a heredoc', dockerfile: 'FROM scratch\nCOPY <<e /x\n1\ne', change: () => {}, step: /COPY/ },
];

async function tryCase(
  { dockerfile, files = FILES, options, change, step }: CacheCase,
  cached: boolean,
  aged: boolean,
): Promise<void> {
  using _clock = aged ? laterClock() : undefined;
  using lab = new BuildLab();
  lab.write(files);
  await lab.build(dockerfile, options);
  const next = (change(lab) ?? {}) as Next;
  const run = await lab.build(next.dockerfile ?? dockerfile, { ...options, ...next.options });
  const found = cached ? run.cached : run.done;
  assert.ok(
    found.some((name) => step.test(name)),
    `cached: ${run.cached}; done: ${run.done}`,
  );
  assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
}

/** Files that were just written are not trusted by their times: with a clock that is ahead, they are. */
function laterClock(): Disposable {
  const { now } = Date;
  Date.now = () => now() + 60_000;
  return {
    [Symbol.dispose]: () => {
      Date.now = now;
    },
  };
}

for (const aged of [false, true]) {
  const what = aged ? ' (files of some age)' : ' (files just written)';
  describe(`the cache never gives a wrong result${what}`, () => {
    for (const item of misses) it(item.name, { skip: item.skip }, () => tryCase(item, false, aged));
  });
  describe(`the cache gives every right result${what}`, () => {
    for (const item of hits) it(item.name, { skip: item.skip }, () => tryCase(item, true, aged));
  });
}

const RUN = 'FROM base\nRUN true';
const env = (line: string): { dockerfile: string } => ({ dockerfile: `FROM base\n${line}\nRUN true` });
const argFile = 'FROM base\nARG v=1\nRUN true';

const runMisses: CacheCase[] = [
  { name: 'ENV', dockerfile: RUN, change: () => env('ENV a=1'), step: /RUN/ },
  { name: 'value of ENV', dockerfile: 'FROM base\nENV a=1\nRUN true', change: () => env('ENV a=2'), step: /RUN/ },
  { name: 'USER', dockerfile: RUN, change: () => env('USER bob'), step: /RUN/ },
  { name: 'WORKDIR', dockerfile: RUN, change: () => env('WORKDIR /tmp'), step: /RUN/ },
  { name: 'SHELL', dockerfile: RUN, change: () => env('SHELL ["/bin/sh", "-xc"]'), step: /RUN/ },
  {
    name: 'ARG, used or not',
    dockerfile: argFile,
    change: () => ({ options: { buildArgs: { v: '2' } } }),
    step: /RUN/,
  },
  {
    name: 'a global ARG',
    dockerfile: 'ARG v=1\nFROM base\nARG v\nRUN true',
    change: () => ({ options: { buildArgs: { v: '2' } } }),
    step: /RUN/,
  },
  { name: 'the command', dockerfile: RUN, change: () => ({ dockerfile: 'FROM base\nRUN :' }), step: /RUN/ },
  {
    name: 'exec instead of shell form',
    dockerfile: RUN,
    change: () => ({ dockerfile: 'FROM base\nRUN ["true"]' }),
    step: /RUN/,
  },
  { name: 'network', dockerfile: RUN, change: () => ({ options: { network: 'none' } }), step: /RUN/ },
  {
    name: 'a heredoc',
    dockerfile: 'FROM base\nRUN <<e\ntrue\ne',
    change: () => ({ dockerfile: 'FROM base\nRUN <<e\n:\ne' }),
    step: /RUN/,
  },
  {
    name: 'a heredoc with an interpreter line',
    dockerfile: 'FROM base\nRUN <<e\n#!/bin/sh\ntrue\ne',
    change: () => ({ dockerfile: 'FROM base\nRUN <<e\n#!/bin/sh\n:\ne' }),
    step: /RUN/,
  },
  {
    name: 'a copied file',
    dockerfile: 'FROM base\nCOPY a.txt /\nRUN true',
    change: (lab) => lab.write({ 'a.txt': '2' }),
    step: /RUN/,
  },
  {
    name: 'a declared proxy',
    dockerfile: 'FROM base\nARG http_proxy\nRUN true',
    change: () => ({ options: { buildArgs: { http_proxy: 'http://x' } } }),
    step: /RUN/,
  },
];

const runHits: CacheCase[] = [
  {
    name: 'an ARG after it',
    dockerfile: 'FROM base\nRUN true\nARG v=1',
    change: () => ({ options: { buildArgs: { v: '2' } } }),
    step: /RUN/,
  },
  {
    name: 'LABEL, CMD and EXPOSE before it',
    dockerfile: RUN,
    change: () => env('LABEL a=b\nCMD x\nEXPOSE 80'),
    step: /RUN/,
  },
  {
    name: 'a proxy that nobody declares',
    dockerfile: RUN,
    change: () => ({ options: { buildArgs: { HTTPS_PROXY: 'http://x' } } }),
    step: /RUN/,
  },
  { name: 'the same environment from ARG or ENV', dockerfile: argFile, change: () => env('ENV v=1'), step: /RUN/ },
  {
    name: 'COPY of what is the same',
    dockerfile: 'FROM base\nCOPY a.txt /\nRUN true',
    change: (lab) => utimesSync(join(lab.context, 'a.txt'), 5, 5),
    step: /RUN/,
  },
  {
    name: 'a step that changed nothing',
    dockerfile: 'FROM base\nRUN true\nRUN true > /x',
    change: () => {},
    step: /RUN true >/,
  },
];

/** The same name, and another image. */
const moveBase = async (lab: BuildLab): Promise<void> => {
  await lab.build('FROM base\nRUN touch /new', { tags: ['base'] });
};

runMisses.push(
  { name: 'a base that its name has left', dockerfile: RUN, change: moveBase, step: /RUN/ },
  {
    name: 'COPY --from an image that its name has left',
    dockerfile: 'FROM scratch\nCOPY --from=base /new* /etc/passwd /x/',
    change: moveBase,
    step: /COPY/,
  },
  {
    name: '--mount from an image that its name has left',
    dockerfile: 'FROM base\nRUN --mount=from=other,target=/o ls /o',
    change: (lab) => {
      lab.store.setRef('docker.io/library/other:latest', lab.store.getRef('docker.io/library/moved:latest')!);
    },
    step: /RUN/,
  },
);
runHits.push(
  {
    name: 'an ARG that ENV hides',
    dockerfile: 'FROM base\nARG v=1\nENV v=2\nRUN true',
    change: () => ({ options: { buildArgs: { v: '3' } } }),
    step: /RUN/,
  },
  {
    name: 'a name more of the base',
    dockerfile: RUN,
    change: () => ({ dockerfile: 'FROM other\nRUN true' }),
    step: /RUN/,
  },
);

async function tryRunCase(item: CacheCase, cached: boolean): Promise<void> {
  using lab = new BuildLab();
  await lab.importBase();
  lab.store.setRef('docker.io/library/other:latest', lab.store.getRef('docker.io/library/base:latest')!);
  lab.write(FILES);
  await lab.build('FROM scratch\nCOPY a.txt /', { tags: ['moved'] });
  await lab.build(item.dockerfile, item.options);
  const next = ((await item.change(lab)) ?? {}) as Next;
  const run = await lab.build(next.dockerfile ?? item.dockerfile, { ...item.options, ...next.options });
  const found = cached ? run.cached : run.done;
  assert.ok(
    found.some((name) => item.step.test(name)),
    `cached: ${run.cached}; done: ${run.done}`,
  );
}

describe('RUN: wrong hits', { skip: whyNoRun() }, () => {
  for (const item of runMisses) it(item.name, () => tryRunCase(item, false));
});

describe('RUN: wrong misses', { skip: whyNoRun() }, () => {
  for (const item of runHits) it(item.name, () => tryRunCase(item, true));
});

describe('the cache and what happens to the store', () => {
  it('a rebuild gives the same image', async () => {
    using lab = new BuildLab();
    lab.write(FILES);
    const first = await lab.build(`${COPY_ALL}\nENV a=b\nCMD ["x"]`);
    const second = await lab.build(`${COPY_ALL}\nENV a=b\nCMD ["x"]`);
    assert.equal(second.id, first.id);
  });

  it('a record whose layer was pruned is a miss', async () => {
    using lab = new BuildLab();
    lab.write(FILES);
    const { image } = await lab.build(COPY_ALL);
    rmSync(lab.store.layerDirectory(image.diffIds[0]!), { recursive: true });
    rmSync(lab.store.blobPath(image.diffIds[0]!));
    const again = await lab.build(COPY_ALL);
    assert.deepEqual(again.cached, []);
    assert.equal(lab.read(again.image, 'app/a.txt'), 'one');
  });

  it('removing the image leaves its steps to the next build', async () => {
    using lab = new BuildLab();
    lab.write(FILES);
    const { id } = await lab.build(COPY_ALL);
    await removeImage(lab.store, id);
    assert.equal((await lab.build(COPY_ALL)).cached.length, 1);
  });

  it('prune drops the records of what it takes away', async () => {
    using lab = new BuildLab();
    lab.write(FILES);
    await lab.build(COPY_ALL);
    await prune(lab.store, { untag: () => true });
    assert.deepEqual((await lab.build(COPY_ALL)).cached, []);
    assert.equal((await lab.build(COPY_ALL)).cached.length, 1);
  });

  it('damaged records are misses', async () => {
    using lab = new BuildLab();
    lab.write(FILES);
    await lab.build(COPY_ALL);
    for (const text of ['', '{', '{"layers":["x"]}', 'null', '{"layers":[],"created":"x"}']) {
      const cache = join(lab.store.root, 'cache');
      for (const name of readdirSync(cache)) {
        if (name.endsWith('.json')) writeFileSync(join(cache, name), text);
        else if (!name.startsWith('.'))
          for (const inner of readdirSync(join(cache, name))) writeFileSync(join(cache, name, inner), text);
      }
      assert.equal((await lab.build(COPY_ALL)).cached.length, 0, text);
      assert.equal((await lab.build(COPY_ALL)).cached.length, 1, text);
    }
  });
});
