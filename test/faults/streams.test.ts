import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { Arena, PROGRAM } from './arena.ts';
import { needsContainers, packBusybox, packSample } from './samples.ts';

const containers = needsContainers();

let arena: Arena;
before(() => {
  arena = new Arena();
  arena.ok(['import', packSample(arena), 'sample']);
  if (containers === undefined) arena.ok(['import', packBusybox(arena), 'busybox']);
});
after(() => arena.finish());

describe('standard streams', () => {
  const shell = (script: string): [status: number | null, stdout: string, stderr: string] => {
    const { status, stdout, stderr } = spawnSync('bash', ['-c', script], {
      env: { ...arena.env, I: PROGRAM },
      cwd: arena.directory,
      encoding: 'utf8',
      timeout: 30_000,
    });
    return [status, stdout, stderr];
  };

  test('whose reader goes away', () => {
    for (const words of [
      'images',
      'inspect sample',
      '--help',
      'save sample',
      'completion bash',
      'import sample.tar gone',
    ]) {
      const [, stdout, stderr] = shell(`$I ${words} | true; echo "\${PIPESTATUS[0]}"`);
      assert.match(stdout, /^(?:0|141)\n$/, words);
      assert.equal(stderr, '', words);
    }
    assert.deepEqual(shell(`$I save sample | head -c 10000 | wc -c; echo "\${PIPESTATUS[0]}"`).slice(1), [
      '10000\n141\n',
      '',
    ]);
    arena.imago(['rmi', 'gone']);
    assert.deepEqual(arena.state().unfinished, []);
  });
  test('that are closed', () => {
    for (const words of ['images', 'version', 'history sample', 'nosuch']) {
      const [status] = shell(`$I ${words} <&- >&- 2>&-`);
      assert.equal(status, words === 'nosuch' ? 1 : 0, words);
    }
    assert.equal(shell('$I import - closed <&-')[0], 1);
    assert.equal(shell('$I load <&-')[0], 1);
    assert.equal(shell('$I import sample.tar closed >&-')[0], 0);
    arena.ok(['rmi', 'closed']);
  });
  test('that are closed, of containers', { skip: containers ?? false }, async () => {
    for (const words of ['run --rm', 'run', 'run -i', 'run --rm -i'])
      assert.equal(shell(`$I ${words} busybox true <&- >&- 2>&-`)[0], 0, words);
    assert.deepEqual(shell('$I run --rm busybox cat < /dev/null'), [0, '', '']);
    assert.deepEqual(shell('echo hi | $I run --rm -i busybox cat'), [0, 'hi\n', '']);
    assert.deepEqual(shell('echo hi | $I run -i busybox cat'), [0, 'hi\n', '']);
    assert.deepEqual(shell('$I run --rm busybox yes | head -1').slice(0, 2), [0, 'y\n']);
    await arena.assertQuiet();
    arena.ok(['rm', ...arena.ok(['ps', '-aq']).split('\n').filter(Boolean)]);
  });
  test('a terminal that is none', { skip: containers ?? false }, () =>
    arena.refuses(['run', '-it', '--rm', 'busybox', 'true'], {
      status: 1,
      says: /the input device is not a TTY: leave out -t, or run it in a terminal\n$/,
    }),
  );
});
