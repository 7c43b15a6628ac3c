import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startReaper } from '../../src/runtime/reaper.ts';

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds(); waited += 10) {
    if (waited > 15_000) assert.fail(`waited in vain: ${what}`);
    await sleep(10);
  }
}

/** A place with a program that takes `--root STATE delete --force ID`, and writes down that it did. */
function place(): { path: (name: string) => string; runtime: { name: string; path: string } } & Disposable {
  const directory = mkdtempSync(join(tmpdir(), 'imago-reaper-'));
  const path = (name: string): string => join(directory, name);
  writeFileSync(path('runtime'), '#!/bin/sh\nrm -rf "$2/$5"\necho "$3 $4 $5" >> "${0%/*}/log"\n', { mode: 0o755 });
  for (const name of ['state', 'bundle']) mkdirSync(path(name));
  return {
    path,
    runtime: { name: 'fake', path: path('runtime') },
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}

test('a container that the runtime still makes is ended, and its bundle goes after the runtime', async () => {
  using at = place();
  const remains = { runtime: at.runtime, stateRoot: at.path('state'), id: 'c', paths: [at.path('bundle')] };
  const reaper = startReaper(remains, { endsRuntime: true });
  // Has said nothing of the container yet when its parent dies.
  const making = spawn('sh', ['-c', 'read go; mkdir state/c; read go; : > bundle/log'], {
    cwd: at.path('.'),
    stdio: ['pipe', 'ignore', 'ignore', reaper.runtimeDescriptor],
  });
  const stdin = making.stdin!;
  reaper.release();
  stdin.write('go\n');
  await until('the container is ended', () => existsSync(at.path('log')) && !existsSync(at.path('state/c')));
  assert.ok(existsSync(at.path('bundle')));
  stdin.end('go\n');
  assert.deepEqual(await once(making, 'exit'), [0, null], 'it found its bundle');
  await until('the bundle is gone', () => !existsSync(at.path('bundle')));
  assert.match(readFileSync(at.path('log'), 'utf8'), /^(delete --force c\n)+$/);
});

test('a runtime that was killed: what it knows is ended, then all is removed', async () => {
  using at = place();
  mkdirSync(at.path('state/c'));
  writeFileSync(at.path('mine'), 'c\n');
  writeFileSync(at.path('other'), 'd\n');
  const remains = { runtime: at.runtime, stateRoot: at.path('state'), id: 'c', paths: [at.path('bundle')] };
  mkdirSync(at.path('another'));
  const other = startReaper({ ...remains, nameFile: at.path('other'), paths: [at.path('another')] });
  startReaper({ ...remains, nameFile: at.path('mine') }).release();
  await until('all is gone', () => !existsSync(at.path('bundle')));
  assert.ok(!existsSync(at.path('state/c')));
  assert.ok(!existsSync(at.path('mine')));
  other.release();
  await until('the other is done', () => !existsSync(at.path('another')));
  assert.ok(existsSync(at.path('other')), 'the name is somebody else’s by now');
});

test('one waits for another, and until all that it was handed over to have ended', async () => {
  using at = place();
  const remains = { runtime: at.runtime, stateRoot: at.path('state'), id: 'c' };
  const last = startReaper({ ...remains, paths: [at.path('bundle')] });
  const first = startReaper({ ...remains, paths: [] }, { next: last });
  last.release();
  await sleep(100);
  assert.ok(existsSync(at.path('bundle')));
  first.release();
  await until('the bundle is gone', () => !existsSync(at.path('bundle')));
});
