import assert from 'node:assert/strict';
import { truncateSync } from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Arena, assertForPeople } from './arena.ts';
import { namesIn } from './observe.ts';
import type { Outcome } from './running.ts';
import { needsContainers, packBusybox, packDirectory, packSample } from './samples.ts';

const containers = needsContainers();

let arena: Arena;
before(() => {
  arena = new Arena();
  arena.ok(['import', packSample(arena), 'sample']);
  if (containers === undefined) arena.ok(['import', packBusybox(arena), 'busybox']);
  arena.write('large/file', '');
  truncateSync(arena.path('large/file'), 60e6);
  packDirectory(arena.path('large'), arena.path('large.tar'));
  arena.ok(['import', 'large.tar', 'large']);
  arena.ok(['save', '-o', 'archive.tar', 'large']);
  arena.write('context/Dockerfile', 'FROM sample\nCOPY file /\nLABEL a=b\n');
  arena.write('context/file', 'in the context');
});
after(() => arena.finish());
afterEach(() => arena.assertQuiet());

/** All at once; the later ones after a delay in ms. */
async function together(commands: readonly (readonly string[])[], delay = 0): Promise<Outcome[]> {
  const running = [];
  for (const words of commands) {
    if (running.length > 0 && delay > 0) await sleep(delay);
    running.push(arena.start(words));
    running.at(-1)!.closeInput();
  }
  const outcomes = await Promise.all(running.map((command) => command.end()));
  for (const { stderr } of outcomes) assertForPeople(stderr);
  return outcomes;
}

const statuses = (outcomes: readonly Outcome[]): number[] => outcomes.map(({ status }) => status);

function assertAllDone(outcomes: readonly Outcome[]): void {
  assert.deepEqual(
    outcomes.filter(({ status }) => status !== 0),
    [],
  );
}

describe('two at once', () => {
  test('imports of one tar', async () => {
    arena.ok(['rmi', 'large']);
    assertAllDone(
      await together([
        ['import', 'large.tar', 'large'],
        ['import', 'large.tar', 'large'],
        ['import', 'large.tar', 'other'],
      ]),
    );
    // One layer, and the image that lost its name is untagged.
    assert.equal(namesIn(`${arena.root}/layers`).length, containers === undefined ? 3 : 2);
    arena.ok(['rmi', 'other']);
  });
  test('loads of one archive', async () => {
    arena.ok(['rmi', 'large']);
    const load = ['load', '-i', 'archive.tar'];
    assertAllDone(await together([load, load, load], 15));
  });
  test('saves to one file', async () => {
    const save = ['save', '-o', 'out.tar', 'large'];
    assertAllDone(await together([save, save], 15));
    assert.deepEqual(
      namesIn(arena.directory).filter((name) => name.includes('out.tar')),
      ['out.tar'],
    );
    arena.ok(['load', '-i', 'out.tar']);
  });
  test('builds of one Dockerfile', async () => {
    const build = ['build', '-t', 'built', 'context'];
    assertAllDone(await together([build, build, [...build, '--no-cache']]));
    assert.equal(arena.ok(['images', '-q', 'built']).split('\n').length, 2);
  });
  test('a build, and prunes all the time', async () => {
    const build = ['build', '-t', 'built', '--no-cache', 'context'];
    const prune = ['system', 'prune', '-f'];
    assertAllDone(await together([build, prune, prune, prune, build, prune, prune], 25));
    arena.ok(['history', 'built']);
  });
  test('an import, and prunes all the time', async () => {
    arena.ok(['rmi', 'large']);
    assertAllDone(
      await together(
        [
          ['import', 'large.tar', 'large'],
          ['prune', '-f'],
          ['prune', '-f'],
          ['prune', '-f'],
        ],
        30,
      ),
    );
  });
  test('removals of one image', async () => {
    arena.ok(['tag', 'sample', 'twice']);
    const outcomes = await together([
      ['rmi', 'twice'],
      ['rmi', 'twice'],
    ]);
    assert.deepEqual(statuses(outcomes).sort(), [0, 1]);
    assert.match(outcomes[0]!.stderr + outcomes[1]!.stderr, /^imago: No such image: twice:latest: /);
  });
  test('verify, while images come and go', async () => {
    const outcomes = await together(
      [
        ['verify', '--all'],
        ['rmi', 'large'],
        ['import', 'large.tar', 'large'],
        ['verify', '--all'],
      ],
      20,
    );
    assertAllDone(outcomes);
  });
  test('the very first commands of a store', async () => {
    using fresh = new Arena();
    const running = ['images', 'ps', 'images', 'prune -f', 'info', 'images'].map((words) =>
      fresh.start(words.split(' ')),
    );
    for (const command of running) {
      const { status, stderr } = await command.end();
      assert.equal(status, 0, stderr);
    }
    await fresh.assertSound();
  });
});

describe('two at once, where containers run', { skip: containers ?? false }, () => {
  test('runs', async () => {
    const run = ['run', '--rm', 'busybox', 'true'];
    assertAllDone(await together([run, run, run, run]));
  });
  test('runs of one name', async () => {
    const run = ['run', '--rm', '--name', 'one', 'busybox', 'sleep', '0.3'];
    const outcomes = await together([run, run]);
    assert.deepEqual(statuses(outcomes).sort(), [0, 125]);
    assert.match(
      outcomes.find(({ status }) => status === 125)!.stderr,
      /^imago: Conflict\. The container name "one" is already in use: got container [0-9a-f]{12}: remove it with 'imago rm one', or choose another name\n$/,
    );
  });
  test('the very first runs since the machine started', async () => {
    using fresh = new Arena();
    fresh.ok(['import', packBusybox(fresh), 'busybox']);
    const running = [1, 2, 3, 4].map(() => fresh.start(['run', '--rm', 'busybox', 'true']));
    for (const command of running) {
      const { status, stderr } = await command.end();
      assert.equal(status, 0, stderr);
    }
    await fresh.assertSound();
  });
  test('builds with a RUN, one of them without the cache', async () => {
    arena.write('run/Dockerfile', 'FROM busybox\nRUN sleep 0.1; echo hi > /f\nCOPY Dockerfile /\n');
    const build = ['build', '-t', 'built', 'run'];
    assertAllDone(await together([build, [...build, '--no-cache'], ['system', 'prune', '-f'], ['prune', '-f']], 40));
    assert.equal(arena.ok(['run', '--rm', 'built', 'cat', '/f']), 'hi\n');
  });
  test('run, and rmi while it starts: either the one or the other', async () => {
    for (const delay of [0, 40, 60]) {
      arena.ok(['tag', 'busybox', 'doomed']);
      arena.ok(['rmi', 'busybox']);
      const [run, rmi] = await together(
        [
          ['run', '--rm', '--pull', 'never', 'doomed', 'sleep', '0.05'],
          ['rmi', 'doomed'],
        ],
        delay,
      );
      if (rmi!.status === 0) assert.match(run!.stderr, /^(?:imago: No such image: doomed:latest: .*\n)?$/);
      else assert.match(rmi!.stderr, /^imago: conflict: .*container [0-9a-f]{12} is using/);
      assert.ok(run!.status === 0 || rmi!.status === 0);
      if (rmi!.status === 0) arena.ok(['import', 'busybox.tar', 'busybox']);
      else arena.ok(['tag', 'doomed', 'busybox']);
      await arena.assertQuiet();
      arena.imago(['rmi', '-f', 'doomed']);
    }
  });
  test('run, and rmi -f while it runs: the container keeps its files', async () => {
    arena.ok(['tag', 'busybox', 'again']);
    const run = arena.start(['run', '--rm', 'busybox', 'sh', '-c', 'echo ready; sleep 0.4; ls /bin/busybox']);
    await run.until(() => run.stdout === 'ready\n');
    arena.ok(['rmi', '-f', 'busybox', 'again']);
    arena.ok(['prune', '-f', '-a']);
    const { status, stdout, stderr } = await run.end();
    assert.deepEqual([status, stdout, stderr], [0, 'ready\n/bin/busybox\n', '']);
    await arena.assertQuiet();
    for (const name of ['sample', 'busybox']) arena.ok(['import', `${name}.tar`, name]);
    arena.ok(['import', 'large.tar', 'large']);
  });
  test('stop, kill, rm -f and exec of one container', async () => {
    arena.ok(['run', '-d', '--name', 'one', 'busybox', 'sleep', '1000']);
    const outcomes = await together([
      ['exec', 'one', 'sleep', '1'],
      ['kill', 'one'],
      ['stop', 'one'],
      ['rm', '-f', 'one'],
      ['rm', '-f', 'one'],
    ]);
    assert.equal(outcomes[4]!.status, 0, outcomes[4]!.stderr);
    await arena.assertQuiet();
    assert.equal(arena.ok(['ps', '-aq']), '');
  });
  test('commits of one container, and its removal', async () => {
    arena.ok(['run', '--name', 'one', 'busybox', 'touch', '/f']);
    const outcomes = await together(
      [
        ['commit', 'one', 'a'],
        ['commit', 'one', 'b'],
        ['rm', 'one'],
      ],
      20,
    );
    for (const { status, stderr } of outcomes)
      assert.ok(status === 0 || /No such container|was removed meanwhile/.test(stderr), stderr);
    assert.equal(arena.ok(['ps', '-aq']), '');
  });
});
