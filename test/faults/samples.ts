import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findProgram } from '../../src/runtime/find-runtime.ts';
import type { Arena } from './arena.ts';

const APPLETS = ['sh', 'true', 'false', 'cat', 'sleep', 'dd', 'touch', 'echo', 'ls', 'rm', 'mkdir', 'yes'];

export function needsRoot(): string | undefined {
  return process.geteuid?.() === 0 ? undefined : 'needs root';
}

/** Why programs cannot be run, by name; the first that is missing. */
export function needsTools(...names: string[]): string | undefined {
  const missing = names.find((name) => findProgram(name) === undefined);
  return missing === undefined ? undefined : `needs ${missing}`;
}

/** Why containers cannot be run here, or undefined. */
export function needsContainers(): string | undefined {
  const busybox = findProgram('busybox');
  if (needsRoot() !== undefined) return needsRoot();
  if (findProgram('runc') === undefined && findProgram('crun') === undefined) return 'needs runc or crun';
  if (needsTools('conmon') !== undefined) return needsTools('conmon');
  // A dynamic one would need its libraries in the image.
  if (busybox === undefined || /\/ld-(linux|musl)/.test(readFileSync(busybox, 'latin1'))) {
    return 'needs a static busybox (package busybox-static)';
  }
  return undefined;
}

/** Packs a directory with GNU tar, the same bytes each time. */
export function packDirectory(directory: string, tar: string): string {
  const how = ['--numeric-owner', '--owner=0', '--group=0', '--mtime=@1', '--sort=name'];
  const { status, stderr } = spawnSync('tar', ['-C', directory, ...how, '-cf', tar, '.'], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return tar;
}

/** A tar with a few files, one of them of 1 MiB. No program in it: for what needs no root. */
export function packSample(arena: Arena): string {
  arena.write('sample/etc/passwd', 'root:x:0:0:root:/root:/bin/sh\n');
  arena.write('sample/usr/large', Buffer.alloc(2 ** 20, 'imago '));
  return packDirectory(arena.path('sample'), arena.path('sample.tar'));
}

/** A tar of a root file system with busybox. */
export function packBusybox(arena: Arena): string {
  const root = arena.path('busybox');
  for (const path of ['bin', 'etc', 'tmp', 'root', 'dev', 'proc', 'sys'])
    mkdirSync(join(root, path), { recursive: true });
  assert.equal(spawnSync('cp', [findProgram('busybox')!, join(root, 'bin/busybox')]).status, 0);
  for (const applet of APPLETS) symlinkSync('busybox', join(root, 'bin', applet));
  writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\n');
  const tar = packDirectory(root, arena.path('busybox.tar'));
  rmSync(root, { recursive: true });
  return tar;
}

/** Bytes that no compression makes smaller, the same each time. */
export function noise(length: number): Buffer {
  const out = Buffer.alloc(length);
  let state = 1;
  for (let at = 0; at + 4 <= length; at += 4) {
    // xorshift32
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    out.writeInt32LE(state, at);
  }
  return out;
}

const MEASURE = `
import resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
`;

/** Runs a command through Python, which tells how much memory it took at its peak. */
export function measureMemory(arena: Arena): { through: string[]; peak(): number } {
  const report = arena.path('peak');
  return {
    through: ['python3', '-c', MEASURE, report],
    // ru_maxrss is in KiB.
    peak: () => Number(readFileSync(report, 'utf8')) * 1024,
  };
}
