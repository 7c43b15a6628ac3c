import assert from 'node:assert/strict';
import { chmodSync, linkSync, renameSync, rmSync, symlinkSync, unlinkSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { BuildOptions } from '../../src/engine/build-options.ts';
import { BuildLab, type Files } from './lab.ts';

/** What the second build has in the place of what the first had. */
interface Change {
  lines?: string;
  options?: BuildOptions;
}

interface CacheCase {
  name: string;
  /** After FROM scratch; the last step is the one that is looked at. */
  lines: string;
  files?: Files;
  change: (lab: BuildLab) => unknown;
}

const FILES: Files = { 'a.txt': 'one', 'b.txt': 'two', 'd/x': 'x', 'd/y': 'y', 'e/x': 'x', 'd/link': '->x' };
const passwd = (uid: number): string => `root:x:0:0::/:/bin/sh\nbob:x:${uid}:${uid}::/:/bin/sh\n`;
const lines = (text: string) => (): Change => ({ lines: text });
const write =
  (files: Files) =>
  (lab: BuildLab): void =>
    lab.write(files);

/** Something that shows has changed. */
const misses: CacheCase[] = [
  { name: 'one of several sources', lines: 'COPY a.txt b.txt d /x/', change: write({ 'd/y': 'z' }) },
  { name: 'the other of several sources', lines: 'COPY a.txt b.txt d /x/', change: write({ 'a.txt': 'z' }) },
  { name: 'a source more', lines: 'COPY a.txt /x/', change: lines('COPY a.txt b.txt /x/') },
  { name: 'sources of the same content in another order', lines: 'COPY d e /x/', change: lines('COPY e d /x/') },
  {
    name: 'a symlink as the source leads elsewhere',
    lines: 'COPY s /x',
    files: { s: '->a.txt' },
    change: write({ s: '->b.txt' }),
  },
  {
    name: 'what a symlink as the source leads to',
    lines: 'COPY s /x',
    files: { s: '->a.txt' },
    change: write({ 'a.txt': 'z' }),
  },
  { name: 'a symlink in a directory', lines: 'COPY d /x', change: write({ 'd/link': '->y' }) },
  {
    name: 'a directory became a symlink to it',
    lines: 'COPY . /x/',
    change: (lab) => {
      renameSync(join(lab.context, 'd'), join(lab.context, 'f'));
      symlinkSync('f', join(lab.context, 'd'));
    },
  },
  { name: 'a mode below', lines: 'COPY . /x/', change: (lab) => chmodSync(join(lab.context, 'd/x'), 0o600) },
  { name: 'set-ID bits', lines: 'COPY . /x/', change: (lab) => chmodSync(join(lab.context, 'd/x'), 0o4755) },
  {
    name: 'a mode of a single file',
    lines: 'COPY a.txt /x',
    change: (lab) => chmodSync(join(lab.context, 'a.txt'), 0o600),
  },
  { name: 'a deleted file', lines: 'COPY . /x/', change: (lab) => unlinkSync(join(lab.context, 'd/x')) },
  {
    name: 'a file that was deleted and made again with other content of that size and time',
    lines: 'COPY d /x',
    change: (lab) => {
      const path = join(lab.context, 'd/x');
      utimesSync(path, 5, 5);
      unlinkSync(path);
      lab.write({ 'd/x': 'z' });
      utimesSync(path, 5, 5);
    },
  },
  {
    name: 'a renamed file',
    lines: 'COPY d /x',
    change: (lab) => renameSync(join(lab.context, 'd/x'), join(lab.context, 'd/z')),
  },
  {
    name: 'names that changed places',
    lines: 'COPY d /x',
    change: (lab) => {
      renameSync(join(lab.context, 'd/x'), join(lab.context, 'd/t'));
      renameSync(join(lab.context, 'd/y'), join(lab.context, 'd/x'));
      renameSync(join(lab.context, 'd/t'), join(lab.context, 'd/y'));
    },
  },
  {
    name: 'a copy became a hard link',
    lines: 'COPY d e /x/',
    files: { 'd/z': 'x' },
    change: (lab) => {
      unlinkSync(join(lab.context, 'd/z'));
      linkSync(join(lab.context, 'd/x'), join(lab.context, 'd/z'));
    },
  },
  {
    name: 'a file moved between directories',
    lines: 'COPY d e /x/',
    change: (lab) => renameSync(join(lab.context, 'd/y'), join(lab.context, 'e/y2')),
  },
  {
    name: '.dockerignore takes a file away',
    lines: 'COPY . /x/',
    change: write({ '.dockerignore': '.dockerignore\nb.txt' }),
  },
  {
    name: '.dockerignore gives a file back',
    lines: 'COPY d /x/',
    files: { '.dockerignore': 'd/*' },
    change: write({ '.dockerignore': 'd/*\n!d/x' }),
  },
  {
    name: '--from a changed stage',
    lines: 'COPY d /d\nFROM scratch\nCOPY --from=0 /d /d',
    change: write({ 'd/x': 'z' }),
  },
  {
    name: '--from a stage where only a mode changed',
    lines: 'COPY d /d\nFROM scratch\nCOPY --from=0 /d /d',
    change: lines('COPY --chmod=700 d /d\nFROM scratch\nCOPY --from=0 /d /d'),
  },
  {
    name: '--from another stage',
    lines: 'COPY d /d\nFROM scratch\nCOPY e /d\nFROM scratch\nCOPY --from=0 /d /d',
    change: lines('COPY d /d\nFROM scratch\nCOPY e /d\nFROM scratch\nCOPY --from=1 /d /d'),
  },
  { name: 'a heredoc of another name', lines: 'COPY <<f /x/\n1\nf', change: lines('COPY <<g /x/\n1\ng') },
  {
    name: 'a variable in a heredoc',
    lines: 'ARG v=1\nCOPY <<f /x/\n$v\nf',
    change: lines('ARG v=2\nCOPY <<f /x/\n$v\nf'),
  },
  { name: '--link', lines: 'COPY a.txt /t\nCOPY b.txt /x/', change: lines('COPY a.txt /t\nCOPY --link b.txt /x/') },
  { name: 'the destination of --link', lines: 'COPY --link a.txt /x/', change: lines('COPY --link a.txt /y/') },
  { name: 'the content of --link', lines: 'COPY --link a.txt /x/', change: write({ 'a.txt': 'z' }) },
  {
    name: 'WORKDIR before --link',
    lines: 'WORKDIR /v\nCOPY --link a.txt x/',
    change: lines('WORKDIR /w\nCOPY --link a.txt x/'),
  },
  {
    name: 'a base below --link with --chmod',
    lines: 'COPY a.txt /t\nCOPY --link --chmod=700 b.txt /x/',
    change: write({ 'a.txt': 'z' }),
  },
  { name: '--parents', lines: 'COPY d/x /o/', change: lines('COPY --parents d/x /o/') },
  { name: 'the pivot of --parents', lines: 'COPY --parents d/x /o/', change: lines('COPY --parents d/./x /o/') },
  { name: 'content of --parents', lines: 'COPY --parents d/* /o/', change: write({ 'd/x': 'z' }) },
  {
    name: 'the mode of a directory that --parents brings',
    lines: 'COPY --parents d/x /o/',
    change: (lab) => chmodSync(join(lab.context, 'd'), 0o700),
  },
  { name: '--parents that match more', lines: 'COPY --parents **/x /o/', change: write({ 'f/x': '' }) },
  { name: '--exclude', lines: 'COPY --exclude=x d /x/', change: lines('COPY --exclude=y d /x/') },
  {
    name: '--exclude taken back',
    lines: 'COPY --exclude=* d /x/',
    change: lines('COPY --exclude=* --exclude=!x d /x/'),
  },
  { name: '--exclude of ADD', lines: 'ADD --exclude=x d /x/', change: lines('ADD d /x/') },
  {
    name: 'a variable in --exclude',
    lines: 'ARG e=x\nCOPY --exclude=$e d /x/',
    change: () => ({ options: { buildArgs: { e: 'y' } } }),
  },
  {
    name: 'the number of a name in --chown',
    lines: 'COPY etc /etc/\nCOPY --chown=bob a.txt /x',
    files: { 'etc/passwd': passwd(1000) },
    change: write({ 'etc/passwd': passwd(1001) }),
  },
  {
    name: 'the number of a name in --chown, with --link',
    lines: 'COPY etc /etc/\nCOPY --link --chown=bob a.txt /x',
    files: { 'etc/passwd': passwd(1000) },
    change: write({ 'etc/passwd': passwd(1001) }),
  },
  { name: '--chmod in symbols', lines: 'COPY --chmod=u+x a.txt /x', change: lines('COPY --chmod=g+x a.txt /x') },
  { name: '--unpack', lines: 'ADD a.txt /x/', change: lines('ADD --unpack=false a.txt /x/') },
];

/** Nothing that shows has changed. */
const hits: CacheCase[] = [
  { name: 'all over again', lines: 'COPY a.txt b.txt d /x/', change: () => {} },
  {
    name: 'times of everything',
    lines: 'COPY d /x',
    change: (lab) => {
      for (const name of ['d', 'd/x', 'd/y']) utimesSync(join(lab.context, name), 9, 9);
    },
  },
  {
    name: 'files that were deleted and made again',
    lines: 'COPY d /x',
    change: (lab) => {
      rmSync(join(lab.context, 'd'), { recursive: true });
      lab.write({ 'd/y': 'y', 'd/link': '->x', 'd/x': 'x' });
    },
  },
  {
    name: 'a symlink as the source that leads to the same by another way',
    lines: 'COPY s /x',
    files: { s: '->a.txt' },
    change: write({ s: '->./d/../a.txt' }),
  },
  { name: 'a file beside', lines: 'COPY d /x', change: write({ 'e/new': '1', 'a.txt': 'z' }) },
  { name: '.dockerignore about other files', lines: 'COPY d /x', change: write({ '.dockerignore': 'e\n*.txt' }) },
  {
    name: 'a stage that came to the same',
    lines: 'COPY d /d\nFROM scratch\nCOPY --from=0 /d /d',
    change: lines('COPY e /e\nCOPY d /d\nFROM scratch\nCOPY --from=0 /d /d'),
  },
  {
    name: 'a name for a stage',
    lines: 'COPY d /d\nFROM scratch\nCOPY --from=0 /d /d',
    change: lines('COPY d /d\nFROM scratch AS t\nCOPY --from=0 /d /d'),
  },
  {
    name: 'a changed base below --link',
    lines: 'COPY a.txt /t\nCOPY --link b.txt /x/',
    change: write({ 'a.txt': 'z' }),
  },
  {
    name: 'another base below --link',
    lines: 'COPY --link b.txt /x/',
    change: lines('COPY d /x/\nCOPY --link b.txt /x/'),
  },
  {
    name: 'other names in the base below --link --chown',
    lines: 'COPY etc /etc/\nCOPY --link --chown=bob a.txt /x',
    files: { 'etc/passwd': passwd(1000) },
    change: write({ 'etc/passwd': `${passwd(1000)}eve:x:1:1::/:/bin/sh\n` }),
  },
  {
    name: '--link from a stage over a changed base',
    lines: 'COPY d /d\nFROM scratch\nCOPY a.txt /\nCOPY --link --from=0 /d /d',
    change: write({ 'a.txt': 'z' }),
  },
  { name: 'a file that --parents does not match', lines: 'COPY --parents **/x /o/', change: write({ 'd/y': 'z' }) },
  { name: 'a file that --exclude names', lines: 'COPY --exclude=y d /x/', change: write({ 'd/y': 'z' }) },
  { name: 'a variable that comes to the same', lines: 'COPY a.txt /x', change: lines('ARG f=a\nCOPY $f.txt /x') },
  { name: 'ENV before', lines: 'COPY a.txt /x', change: lines('ENV x=y\nUSER 5\nCMD z\nCOPY a.txt /x') },
];

async function tryCase({ lines: first, files, change }: CacheCase, cached: boolean, aged: boolean): Promise<void> {
  const { now } = Date;
  // Files that were just written are not trusted by their times.
  if (aged) Date.now = () => now() + 60_000;
  try {
    using lab = new BuildLab();
    lab.write({ ...FILES, ...files });
    await lab.build(`FROM scratch\n${first}`);
    const next = (change(lab) ?? {}) as Change;
    const run = await lab.build(`FROM scratch\n${next.lines ?? first}`, next.options);
    const last = run.events.findLast(
      (event) =>
        event.type === 'done' &&
        run.events.some((e) => e.type === 'start' && e.step === event.step && /COPY|ADD/.test(e.name)),
    );
    assert.ok(last?.type === 'done');
    assert.equal(last.cached, cached);
    if (cached) return;
    // What the cache did not give is what a build without it gives.
    using other = new BuildLab();
    const options = { ...next.options, context: lab.context };
    const { image } = await other.build(`FROM scratch\n${next.lines ?? first}`, options);
    assert.deepEqual(lab.list(run.image), other.list(image));
  } finally {
    Date.now = now;
  }
}

for (const aged of [false, true]) {
  const what = aged ? ' (files of some age)' : ' (files just written)';
  describe(`COPY and ADD: no wrong hits${what}`, () => {
    for (const item of misses) it(item.name, () => tryCase(item, false, aged));
  });
  describe(`COPY and ADD: no wrong misses${what}`, () => {
    for (const item of hits) it(item.name, () => tryCase(item, true, aged));
  });
}
