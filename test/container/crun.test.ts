import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { findProgram } from '../../src/runtime/find-runtime.ts';
import { Lab, skipContainers } from './lab.ts';

const MAIN = join(import.meta.dirname, '../../src/cli/main.ts');
/** As root, crun refuses a machine whose cgroup v1 has version 2 mounted beside it: what it cannot see is not there. */
const HIDE = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"';
const UNSHARE = ['unshare', '-m', '--propagation', 'private', 'sh', '-c', HIDE, 'sh'];

function skipCrun(): string | undefined {
  const reason = skipContainers();
  if (reason !== undefined) return reason;
  if (findProgram('crun') === undefined) return 'needs crun (package crun)';
  // It looks at the cgroups before it looks for the bundle.
  const { stderr } = spawnSync(UNSHARE[0]!, [...UNSHARE.slice(1), 'crun', 'run', '--bundle', '/nonexistent', 'probe'], {
    encoding: 'utf8',
  });
  return /cgroup/.test(stderr) ? `crun does not work here: ${stderr.trim()}` : undefined;
}

const skip = skipCrun();

describe('containers of crun', { skip: skip ?? false }, () => {
  let lab: Lab;
  before(async () => {
    lab = new Lab();
    await lab.image('box');
  });
  after(() => lab[Symbol.dispose]());
  const imago = (...words: string[]): SpawnSyncReturns<string> =>
    spawnSync(UNSHARE[0]!, [...UNSHARE.slice(1), process.execPath, MAIN, ...words], {
      encoding: 'utf8',
      env: { ...lab.env, IMAGO_RUNTIME: 'crun' },
      timeout: 30_000,
    });

  const ENDS: [words: string[], status: number, text: RegExp][] = [
    [['echo', 'hello'], 0, /^hello\n$/],
    [['sh', '-c', 'exit 7'], 7, /^$/],
    [['sh', '-c', `sh -c 'kill -9 $$'; exit $?`], 137, /^$/],
    [['no-such'], 127, /no-such/],
    [['/etc/passwd'], 126, /permission denied/i],
  ];
  for (const [words, status, text] of ENDS) {
    test(`run ${words.join(' ')} ends with ${status}, in the foreground and with conmon`, async () => {
      for (const mode of [['--rm'], []]) {
        const done = imago('run', ...mode, '--name', 'one', 'box', ...words);
        assert.equal(done.status, status, done.stderr);
        assert.match(status > 124 && status < 128 ? done.stderr : done.stdout, text);
        if (mode.length === 0) assert.equal(imago('rm', 'one').status, 0);
        await lab.until('it is gone', () => imago('ps', '-aq').stdout === '');
      }
    });
  }

  test('run -d, exec, logs, stop, rm', () => {
    assert.equal(imago('run', '-d', '--name', 'long', '-m', '64m', 'box', 'sh', '-c', 'echo up; sleep 60').status, 0);
    assert.equal(imago('exec', 'long', 'echo', 'inside').stdout, 'inside\n');
    assert.equal(imago('logs', 'long').stdout, 'up\n');
    assert.equal(imago('stop', '-t', '1', 'long').status, 0);
    assert.equal(imago('rm', 'long').status, 0);
  });
});
