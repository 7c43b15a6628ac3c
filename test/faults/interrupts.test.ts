import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, truncateSync } from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../until.ts';
import { Arena, assertForPeople } from './arena.ts';
import { namesIn, type StoreState } from './observe.ts';
import type { Running } from './running.ts';
import { needsContainers, needsRoot, packBusybox, packDirectory, packSample } from './samples.ts';

const containers = needsContainers();

let arena: Arena;
let state: StoreState;
before(() => {
  arena = new Arena();
  arena.ok(['import', packSample(arena), 'sample']);
  if (containers === undefined) arena.ok(['import', packBusybox(arena), 'busybox']);
  // Large enough to be met in the middle, and holes cost little.
  arena.write('large/file', '');
  truncateSync(arena.path('large/file'), 150e6);
  arena.ok(['import', packDirectory(arena.path('large'), arena.path('large.tar')), 'large']);
  arena.ok(['save', '-o', 'archive.tar', 'large']);
  arena.write('copy/Dockerfile', 'FROM sample\nCOPY file /\n');
  arena.write('copy/file', '');
  truncateSync(arena.path('copy/file'), 400e6);
  arena.ok(['prune', '-f']);
  state = arena.state();
});
after(() => arena.finish());
afterEach(() => arena.assertQuiet());

/** Ctrl-C, and the command must be gone at once with 130, without a word that was not asked for. */
async function interrupt(command: Running): Promise<void> {
  command.signal('SIGINT');
  const asked = Date.now();
  const { status, stderr } = await command.end();
  assert.equal(status, 130, stderr);
  assert.ok(Date.now() - asked < 15_000, 'it took its time');
  assertForPeople(stderr);
}

/** Started, and met in the middle of its work: something of it is to be seen in the store. */
async function meet(words: readonly string[], feed?: Uint8Array): Promise<Running> {
  const command = arena.start(words);
  if (feed !== undefined) command.feed(feed);
  await command.until(() => namesIn(`${arena.root}/ingest`).length > 0 || namesIn(`${arena.root}/leases`).length > 0);
  return command;
}

const wasHeld = (): boolean => namesIn(`${arena.root}/leases`).length > 0;

describe('Ctrl-C in the middle of', () => {
  test('import of a file', async () => {
    await interrupt(await meet(['import', 'large.tar', 'x']));
    arena.assertUntouched(state);
  });
  test('import of a stream', async () => {
    await interrupt(await meet(['import', '-', 'x'], readFileSync(arena.path('sample.tar')).subarray(0, 600_000)));
    arena.assertUntouched(state);
  });
  test('import that has only begun to wait', async () => {
    await interrupt(await meet(['import', '-', 'x'], Buffer.from([0x1f, 0x8b])));
    arena.assertUntouched(state);
  });
  test('load of a file', async () => {
    arena.ok(['rmi', 'large']);
    const without = arena.state();
    await interrupt(await meet(['load', '-i', 'archive.tar']));
    arena.assertUntouched(without);
    arena.ok(['load', '-i', 'archive.tar']);
    state = arena.state();
  });
  test('load of a stream', async () => {
    await interrupt(await meet(['load'], readFileSync(arena.path('archive.tar')).subarray(0, 2 ** 20)));
    arena.assertUntouched(state);
  });
  test('save to a file', async () => {
    const command = arena.start(['save', '-o', 'out.tar', 'large']);
    await command.until(() => namesIn(arena.directory).some((name) => name.startsWith('.out.tar')));
    await interrupt(command);
    assert.deepEqual(
      namesIn(arena.directory).filter((name) => name.includes('out.tar')),
      [],
    );
    arena.assertUntouched(state);
  });
  test('save to a pipe that nobody reads', async () => {
    const command = arena.start(['save', 'large']);
    await command.until(wasHeld);
    await interrupt(command);
    arena.assertUntouched(state);
  });
  test('verify', async () => {
    const command = arena.start(['verify', '--all']);
    await sleep(120);
    await interrupt(command);
    arena.assertUntouched(state);
  });
  test('prune', async () => {
    // Held until the signal is sent.
    const lock = openSync(`${arena.root}/lock`, 'a');
    const { tryLock } = await import('../../src/system/files.ts');
    assert.ok(tryLock(lock, 'exclusive'));
    const command = arena.start(['prune', '-f']);
    await sleep(120);
    await interrupt(command);
    closeSync(lock);
    await arena.assertCollected(state);
  });
  test('a build that reads its Dockerfile', async () => {
    const command = arena.start(['build', '-']);
    command.feed(Buffer.from('FROM sample\n'));
    await sleep(150);
    await interrupt(command);
    arena.assertUntouched(state);
  });
  test('build in COPY', async () => {
    const command = arena.start(['build', '-t', 'x', 'copy']);
    await command.until(() => command.stderr.includes('COPY file /'));
    await interrupt(command);
    arena.assertUntouched(state);
  });
});

describe('Ctrl-C where a container runs, in the middle of', { skip: containers ?? false }, () => {
  const waiting = ['busybox', 'sh', '-c', 'trap "exit 130" INT; echo ready; while :; do sleep 0.05; done'];
  const ready = async (command: Running): Promise<Running> => {
    await command.until(() => /(^|\s)ready\n/.test(command.stdout + command.stderr));
    return command;
  };

  test('build in RUN', async () => {
    arena.write('run/Dockerfile', 'FROM busybox\nRUN touch /begun; echo " ready"; sleep 1000\n');
    const command = await ready(arena.start(['build', '-t', 'x', 'run']));
    await interrupt(command);
    arena.assertUntouched(state);
  });
  test('build before its RUN has begun', async () => {
    const command = arena.start(['build', '-t', 'x', 'run']);
    await command.until(() => command.stderr.includes('RUN touch'));
    await interrupt(command);
    arena.assertUntouched(state);
  });
  test('run --rm', async () => {
    await interrupt(await ready(arena.start(['run', '--rm', ...waiting])));
    await arena.assertQuiet();
    arena.assertUntouched(state);
  });
  test('run', async () => {
    await interrupt(await ready(arena.start(['run', '--name', 'interrupted', ...waiting])));
    await arena.assertQuiet();
    arena.ok(['rm', 'interrupted']);
    arena.assertUntouched(state);
  });
  test('exec, and the container stays', async () => {
    arena.ok(['run', '-d', '--name', 'host', 'busybox', 'sleep', '1000']);
    await interrupt(await ready(arena.start(['exec', 'host', ...waiting.slice(1)])));
    assert.equal(arena.ok(['ps', '--format', '{{.Names}}']), 'host\n');
    arena.ok(['rm', '-f', 'host']);
    arena.assertUntouched(state);
  });
  test('logs -f and wait, and the container stays', async () => {
    arena.ok(['run', '-d', '--name', 'host', ...waiting]);
    await interrupt(await ready(arena.start(['logs', '-f', 'host'])));
    const command = arena.start(['wait', 'host']);
    await sleep(150);
    await interrupt(command);
    assert.equal(arena.ok(['ps', '--format', '{{.Names}}']), 'host\n');
    arena.ok(['rm', '-f', 'host']);
    arena.assertUntouched(state);
  });
  test('the preparations of run, wherever that is', async () => {
    for (const delay of [20, 45, 60, 70, 80, 90, 100]) {
      const command = arena.start(['run', '--rm', ...waiting]);
      await sleep(delay);
      command.signal('SIGINT');
      const { status, stderr } = await command.end();
      // 1 and 2 where the runtime is hit while it makes the container, or the shell before its trap.
      assert.ok([130, 137, 1, 2].includes(status), `${delay} ms: ${status} ${stderr}`);
      if (status > 2) assertForPeople(stderr);
    }
    await arena.assertQuiet();
    await arena.assertCollected(state);
  });
});

describe('kill -9', () => {
  async function kill(command: Running): Promise<void> {
    command.signal('SIGKILL');
    assert.equal((await command.end()).status, 137);
  }

  test('in the middle of import: the next one works and clears the leftover away', async () => {
    await kill(await meet(['import', 'large.tar', 'x']));
    assert.notDeepEqual(arena.state().unfinished, []);
    arena.ok(['import', '-', 'other'], { input: readFileSync(arena.path('sample.tar')) });
    arena.ok(['rmi', 'other']);
    await arena.assertCollected(state);
  });
  test('in the middle of load: prune clears the leftover away', async () => {
    await kill(await meet(['load'], readFileSync(arena.path('archive.tar')).subarray(0, 2 ** 20)));
    assert.notDeepEqual(arena.state().unfinished, []);
    await arena.assertCollected(state);
  });
  test('in the middle of build in COPY: the next build works', async () => {
    const command = arena.start(['build', '-t', 'x', 'copy']);
    await command.until(() => command.stderr.includes('COPY file /'));
    await kill(command);
    arena.ok(['build', '-t', 'x', '-'], { input: 'FROM sample\nLABEL a=b\n' });
    arena.ok(['rmi', 'x']);
    await arena.assertCollected(state);
  });
  test('in the middle of build in RUN: nothing runs on', { skip: containers ?? false }, async () => {
    arena.write('run/Dockerfile', 'FROM busybox\nRUN touch /begun; echo ready; sleep 1000\n');
    const command = arena.start(['build', '-t', 'x', 'run']);
    await command.until(() => / ready\n/.test(command.stderr));
    // The program alone, not what it started.
    process.kill(command.pid, 'SIGKILL');
    await command.end();
    await arena.assertQuiet();
    await arena.assertCollected(state);
  });
  test('of run --rm: the container goes', { skip: containers ?? false }, async () => {
    const command = arena.start(['run', '--rm', '--name', 'killed', 'busybox', 'sh', '-c', 'echo ready; sleep 1000']);
    await command.until(() => command.stdout === 'ready\n');
    await kill(command);
    await arena.assertQuiet();
    arena.ok(['run', '--rm', '--name', 'killed', 'busybox', 'true']);
    await arena.assertQuiet();
    await arena.assertCollected(state);
  });
  test('of conmon: the container is told as over, and can be removed', { skip: containers ?? false }, async () => {
    arena.ok(['run', '-d', '--name', 'orphan', 'busybox', 'sleep', '1000']);
    const pid = Number(arena.ok(['inspect', '-f', '{{.State.Pid}}', 'orphan']));
    const parent = Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]);
    process.kill(parent, 'SIGKILL');
    process.kill(pid, 'SIGKILL');
    await until('it is told as over', () =>
      /^Exited \((?:137|255)\)/.test(arena.ok(['ps', '-a', '--format', '{{.Status}}'])),
    );
    arena.ok(['rm', '-f', 'orphan']);
    await arena.assertCollected(state);
  });
  test('of save: the store does not mind', async () => {
    const command = arena.start(['save', 'large']);
    await command.until(wasHeld);
    await kill(command);
    await arena.assertCollected(state);
  });
});

test('a terminal that goes away ends a command, and prune clears up', { skip: needsRoot() ?? false }, async () => {
  const command = await meet(['import', '-', 'x'], readFileSync(arena.path('sample.tar')).subarray(0, 600_000));
  command.signal('SIGHUP');
  assert.equal((await command.end()).status, 129);
  await arena.assertCollected(state);
});
