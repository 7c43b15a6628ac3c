/** What of a RUN's mounts and settings makes it run again, and what must not. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, cpSync, renameSync, rmSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { BuildOptions } from '../../src/engine/build-options.ts';
import { prune } from '../../src/store/prune.ts';
import { BuildLab, type Files, whyNoRun } from './lab.ts';

interface MountCacheCase {
  name: string;
  dockerfile: string;
  files?: Files;
  options?: BuildOptions;
  /** Between the two builds. */
  change?: (lab: BuildLab) => void;
  next?: { dockerfile?: string; options?: BuildOptions };
}

const FILES: Files = { a: 'one', b: 'two', 'd/x': 'x', 'd/y': 'y', '.dockerignore': 'ignored' };
const ALL = 'FROM base\nRUN --mount=target=/c cat /c/a; touch /made';
const PART = 'FROM base\nRUN --mount=source=d,target=/c ls /c; touch /made';
const from = (made: string, source = '/out'): string =>
  `FROM base AS one\nRUN ${made}\nFROM base\nRUN --mount=from=one,source=${source},target=/in ls /in; touch /made`;
const run = (flags: string): string => `FROM base\nRUN ${flags} touch /made`;

const misses: MountCacheCase[] = [
  { name: 'content', dockerfile: ALL, change: (lab) => lab.write({ a: 'ONE' }) },
  { name: 'mode', dockerfile: ALL, change: (lab) => chmodSync(join(lab.context, 'a'), 0o755) },
  { name: 'mode of the directory itself', dockerfile: PART, change: (lab) => chmodSync(join(lab.context, 'd'), 0o700) },
  { name: 'a new file', dockerfile: PART, change: (lab) => lab.write({ 'd/z': '' }) },
  { name: 'a file with another name', dockerfile: PART, change: (lab) => move(lab, 'd/x', 'd/z') },
  { name: 'a link where a file was', dockerfile: PART, change: (lab) => lab.write({ 'd/x': '->y' }) },
  {
    name: 'a directory that is gone',
    dockerfile: ALL,
    change: (lab) => rmSync(join(lab.context, 'd/'), { recursive: true }),
  },
  { name: '.dockerignore', dockerfile: ALL, change: (lab) => lab.write({ '.dockerignore': 'b' }) },
  { name: 'another source', dockerfile: PART, next: { dockerfile: PART.replace('source=d', 'source=.') } },
  { name: 'another target', dockerfile: PART, next: { dockerfile: PART.replace('target=/c', 'target=/c2') } },
  { name: 'rw', dockerfile: PART, next: { dockerfile: PART.replace('=/c ', '=/c,rw ') } },
  {
    name: 'a variable in a mount',
    dockerfile: 'FROM base\nARG t=/t\nRUN --mount=target=$t touch /made',
    next: { options: { buildArgs: { t: '/u' } } },
  },
  {
    name: 'what a stage has at the source',
    dockerfile: from('mkdir /out && echo 1 > /out/f'),
    next: { dockerfile: from('mkdir /out && echo 2 > /out/f') },
  },
  {
    name: 'the owner of what a stage has',
    dockerfile: from('mkdir /out && echo 1 > /out/f'),
    next: { dockerfile: from('mkdir /out && echo 1 > /out/f && /bin/busybox chown 5 /out/f') },
  },
  {
    name: 'all of a stage, changed anywhere',
    dockerfile: from('touch /other', '/'),
    next: { dockerfile: from('touch /another', '/') },
  },
  {
    name: 'two mounts that change places',
    dockerfile: run('--mount=source=a,target=/x --mount=source=b,target=/y'),
    next: { dockerfile: run('--mount=source=b,target=/x --mount=source=a,target=/y') },
  },
  {
    name: "a cache's ID",
    dockerfile: run('--mount=type=cache,id=1,target=/c'),
    next: { dockerfile: run('--mount=type=cache,id=2,target=/c') },
  },
  {
    name: 'what a cache starts with',
    dockerfile: from('mkdir /out && echo 1 > /out/f').replace('--mount=', '--mount=type=cache,'),
    next: { dockerfile: from('mkdir /out && echo 2 > /out/f').replace('--mount=', '--mount=type=cache,') },
  },
  {
    name: 'the size of a tmpfs',
    dockerfile: run('--mount=type=tmpfs,size=1m,target=/c'),
    next: { dockerfile: run('--mount=type=tmpfs,size=2m,target=/c') },
  },
  { name: 'a mount or none', dockerfile: run('--mount=type=tmpfs,target=/c'), next: { dockerfile: run('') } },
  { name: '--network', dockerfile: run(''), next: { dockerfile: run('--network=none') } },
  {
    name: '--security',
    dockerfile: run(''),
    next: { dockerfile: run('--security=insecure'), options: { allow: ['security.insecure'] } },
  },
  { name: 'a host', dockerfile: run(''), next: { options: { runSettings: { extraHosts: ['a:1.2.3.4'] } } } },
  { name: 'shared memory', dockerfile: run(''), next: { options: { runSettings: { shmSize: 1 << 20 } } } },
  {
    name: 'a limit',
    dockerfile: run(''),
    next: { options: { runSettings: { ulimits: [{ name: 'core', soft: 0, hard: 0 }] } } },
  },
];

const hits: MountCacheCase[] = [
  { name: 'nothing changed', dockerfile: ALL },
  { name: 'times', dockerfile: ALL, change: (lab) => utimesSync(join(lab.context, 'a'), 1e9, 1e9) },
  { name: 'owners of the context', dockerfile: ALL, change: (lab) => chownSync(join(lab.context, 'a'), 7, 7) },
  {
    name: 'a fresh checkout',
    dockerfile: ALL,
    change: (lab) => {
      cpSync(lab.context, `${lab.context}-2`, { recursive: true });
      rmSync(lab.context, { recursive: true });
      renameSync(`${lab.context}-2`, lab.context);
    },
  },
  { name: 'a file that is ignored', dockerfile: ALL, change: (lab) => lab.write({ ignored: 'x' }) },
  { name: 'a file beside the source', dockerfile: PART, change: (lab) => lab.write({ a: 'ONE' }) },
  {
    name: 'another part of a stage',
    dockerfile: from('mkdir /out && echo 1 > /out/f && touch /a'),
    next: { dockerfile: from('mkdir /out && echo 1 > /out/f && touch /b') },
  },
  {
    name: 'what is in a cache',
    dockerfile: run('--mount=type=cache,id=1,target=/c echo 1 > /c/f;'),
    change: () => {},
  },
  {
    name: 'how a cache is shared',
    dockerfile: run('--mount=type=cache,id=1,target=/c'),
    next: { dockerfile: run('--mount=type=cache,id=1,target=/c,sharing=locked') },
  },
  { name: 'what is allowed', dockerfile: run(''), next: { options: { allow: ['security.insecure'] } } },
  { name: 'the cgroup', dockerfile: run(''), next: { options: { runSettings: { cgroupParent: 'imago-other' } } } },
];

function move(lab: BuildLab, a: string, b: string): void {
  renameSync(join(lab.context, a), join(lab.context, b));
}

describe('the cache and RUN --mount', { skip: whyNoRun() }, () => {
  for (const [kind, cases] of [
    ['miss', misses],
    ['hit', hits],
  ] as const) {
    for (const { name, dockerfile, files, options, change, next } of cases) {
      it(`${kind}: ${name}`, async () => {
        using lab = new BuildLab();
        await lab.importBase();
        lab.write({ ...FILES, ...files });
        const first = await lab.build(dockerfile, options);
        assert.deepEqual(first.cached, []);
        change?.(lab);
        const second = await lab.build(next?.dockerfile ?? dockerfile, { ...options, ...next?.options });
        const last = second.events.findLast((event) => event.type === 'done' && isRun(second.events, event.step));
        assert.equal(last?.type === 'done' && last.cached, kind === 'hit');
        // And the third build takes what the second made.
        const third = await lab.build(next?.dockerfile ?? dockerfile, { ...options, ...next?.options });
        assert.ok(!third.done.some((step) => step.startsWith('RUN')), third.done.join());
        assert.equal(third.id, second.id);
      });
    }
  }

  it('a prune that takes the layer of a context only costs the time to make it again', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    lab.write(FILES);
    await lab.build(ALL);
    await prune(lab.store);
    const { output } = await lab.build(ALL.replace('cat', 'echo again; cat'));
    assert.equal(output, 'again\none');
  });

  it('a context that changes while an earlier RUN runs is looked at anew', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    lab.write(FILES);
    const dockerfile = 'FROM base\nRUN --mount=target=/c cat /c/a && sleep 0.7\nRUN --mount=target=/c cat /c/a';
    setTimeout(() => lab.write({ a: 'changed' }), 500);
    const { output } = await lab.build(dockerfile);
    assert.match(output, /^(one|changed)changed$/);
    assert.equal((await lab.build(dockerfile.replace('sleep 0.7', 'true'))).output.endsWith('changed'), true);
  });
});

function isRun(events: readonly { type: string; step?: number; name?: string }[], step: number): boolean {
  return events.some((event) => event.type === 'start' && event.step === step && event.name!.includes('] RUN '));
}
