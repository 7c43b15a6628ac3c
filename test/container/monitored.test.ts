import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { findContainer } from '../../src/container/record.ts';
import { containerState } from '../../src/container/state.ts';
import { monitorPid } from '../../src/runtime/conmon.ts';
import { findProgram } from '../../src/runtime/find-runtime.ts';
import { Lab, skipContainers } from './lab.ts';

const skip = skipContainers();
const skipTerminal = findProgram('script') === undefined ? 'needs script (package bsdutils)' : false;

describe('containers held by conmon', { skip: skip ?? false }, () => {
  let lab: Lab;
  before(async () => {
    lab = new Lab();
    await lab.image('box', { Cmd: ['sh'], Labels: { from: 'image' } });
  });
  after(() => lab[Symbol.dispose]());
  const imago = (...words: string[]): string => {
    const { status, stdout, stderr } = lab.imago(words);
    assert.equal(status, 0, `imago ${words.join(' ')}: ${stderr}`);
    return stdout;
  };
  const state = (name: string): ReturnType<typeof containerState> =>
    containerState(lab.store, findContainer(lab.store, name));
  const LOOP = 'trap "echo bye; exit 3" TERM; echo up; echo wrong >&2; while :; do sleep 0.05; done';

  test('a life: run -d, ps, logs, exec, stop, start, kill, rm', async () => {
    const id = imago('run', '-d', '--name', 'life', '--label', 'my=label', 'box', 'sh', '-c', LOOP).trim();
    assert.match(id, /^[0-9a-f]{64}$/);
    await lab.until('it writes', () => lab.imago(['logs', 'life']).stdout === 'up\n');
    assert.deepEqual(lab.imago(['logs', 'life']), { status: 0, stdout: 'up\n', stderr: 'wrong\n' });
    assert.match(imago('ps'), new RegExp(`^${id.slice(0, 12)} +box +"sh -c trap "echo by…" .* ago +Up .*life\n`, 'm'));
    assert.equal(imago('ps', '-q', '--no-trunc', '-f', 'name=^life$'), `${id}\n`);
    assert.equal(imago('ps', '-q', '--filter', 'label=my=label', '--filter', 'label=from').trim(), id.slice(0, 12));
    assert.equal(imago('ps', '-q', '-f', 'ancestor=box', '-f', 'status=exited'), '');
    assert.equal(imago('ps', '--format', '{{.Names}} {{.State}} {{.Labels}}'), 'life running from=image,my=label\n');

    assert.equal(lab.imago(['exec', '-i', 'life', 'cat'], { input: 'piped' }).stdout, 'piped');
    assert.equal(
      imago('exec', '-u', 'ann', '-w', '/tmp', '-e', 'X=1', 'life', 'sh', '-c', 'id -un; pwd; echo $X'),
      'ann\n/tmp\n1\n',
    );
    assert.equal(lab.imago(['exec', 'life', 'sh', '-c', 'exit 9']).status, 9);
    assert.equal(lab.imago(['exec', 'life', 'no-such']).status, 127);
    assert.equal(lab.imago(['exec', 'life', '/etc']).status, 126);
    imago('exec', '-d', 'life', 'touch', '/tmp/by-exec');
    await lab.until('exec -d runs', () => lab.imago(['exec', 'life', 'ls', '/tmp']).stdout === 'by-exec\n');

    const refused = lab.imago(['rm', 'life']);
    assert.deepEqual([refused.status, refused.stdout], [1, '']);
    assert.match(refused.stderr, /it is running: stop it first with 'imago stop life'/);

    assert.equal(imago('stop', 'life'), 'life\n');
    assert.deepEqual([state('life').status, state('life').exitCode], ['exited', 3]);
    assert.equal(imago('logs', '--tail', '1', 'life'), 'bye\n');
    assert.match(imago('ps', '-a'), /Exited \(3\) .* ago/);
    assert.match(lab.imago(['exec', 'life', 'true']).stderr, /not running: start it with 'imago start life'/);
    assert.equal(imago('stop', 'life'), 'life\n');

    assert.equal(imago('start', id.slice(0, 6)), `${id.slice(0, 6)}\n`);
    await lab.until('its second output', () => lab.imago(['logs', 'life']).stdout === 'up\nbye\nup\n');
    assert.equal(imago('exec', 'life', 'ls', '/tmp'), 'by-exec\n');
    imago('kill', 'life');
    assert.equal(imago('wait', 'life'), '137\n');
    imago('rm', 'life');
    assert.equal(imago('ps', '-aq'), '');
    assert.deepEqual(readdirSync(join(lab.store.run, 'runtime')), []);
  });

  test('run without --rm stays attached, keeps the container, and ends with its status', () => {
    const outcome = lab.imago(['run', '--name', 'kept', '-i', 'box', 'sh', '-c', 'wc -c; echo e >&2; exit 5'], {
      input: 'x'.repeat(100_000),
    });
    assert.deepEqual(outcome, { status: 5, stdout: '100000\n', stderr: 'e\n' });
    assert.deepEqual(state('kept').exitCode, 5);
    assert.deepEqual(lab.imago(['start', '-a', '-i', 'kept'], { input: '12' }), {
      status: 5,
      stdout: '2\n',
      stderr: 'e\n',
    });
    imago('rm', 'kept');
  });

  test('much output arrives whole, and is in the log whole', () => {
    const script =
      'i=0; while [ $i -lt 3000 ]; do echo "$i ................................................................"; i=$((i+1)); done';
    const { stdout } = lab.imago(['run', '--name', 'much', 'box', 'sh', '-c', script]);
    const lines = stdout.split('\n');
    assert.equal(lines.length, 3001);
    assert.match(lines[2999]!, /^2999 /);
    assert.equal(imago('logs', 'much'), stdout);
    assert.equal(imago('logs', '--tail', '2', 'much'), `${lines.slice(2998).join('\n')}`);
    imago('rm', 'much');
  });

  test('logs -f goes on to the end', async () => {
    imago('run', '-d', '--name', 'slow', 'box', 'sh', '-c', 'for i in 1 2 3; do echo $i; sleep 0.3; done; printf end');
    const child = lab.spawn(['logs', '-f', 'slow']);
    let out = '';
    child.stdout!.on('data', (chunk) => {
      out += chunk;
    });
    await once(child, 'close');
    assert.equal(out, '1\n2\n3\nend');
    assert.match(imago('logs', '-t', '--tail', '1', 'slow'), /^\d{4}-\d\d-\d\dT\S+ end$/);
    imago('rm', 'slow');
  });

  test('what cannot start leaves a container without --rm, and none with it', () => {
    assert.equal(lab.imago(['run', '--name', 'bad', 'box', 'no-such']).status, 127);
    assert.equal(state('bad').status, 'created');
    imago('rm', 'bad');
    assert.equal(lab.imago(['run', '-d', '--rm', 'box', '/etc/passwd']).status, 126);
    assert.equal(imago('ps', '-aq'), '');
  });

  test('run -d --rm takes itself away', async () => {
    imago('run', '-d', '--rm', '--name', 'brief', '-v', '/data', 'box', 'sh', '-c', 'touch /data/x; sleep 0.3');
    assert.equal(readdirSync(join(lab.store.root, 'volumes')).length, 1);
    await lab.until('it is gone', () => !existsSync(join(lab.store.root, 'containers/.names/brief')));
    await lab.until('its volume is gone', () => readdirSync(join(lab.store.root, 'volumes')).length === 0);
    await lab.until('its bundle is gone', () => readdirSync(join(lab.store.run, 'containers')).length === 0);
  });

  test('stop kills what does not listen', () => {
    imago('run', '-d', '--name', 'deaf', 'box', 'sh', '-c', 'trap "" TERM; while :; do sleep 0.05; done');
    const before = Date.now();
    imago('stop', '-t', '1', 'deaf');
    assert.ok(Date.now() - before < 25_000);
    assert.equal(state('deaf').exitCode, 137);
    imago('rm', 'deaf');
  });

  test('the stop signal of the container is used', () => {
    imago(
      'run',
      '-d',
      '--name',
      'usr',
      '--stop-signal',
      'USR1',
      'box',
      'sh',
      '-c',
      'trap "exit 21" USR1; while :; do sleep 0.05; done',
    );
    imago('stop', 'usr');
    assert.equal(state('usr').exitCode, 21);
    imago('rm', 'usr');
  });

  test('a name is taken until its container is removed', () => {
    imago('create', '--name', 'mine', 'box', 'true');
    const { status, stderr } = lab.imago(['run', '--name', 'mine', 'box', 'true']);
    assert.equal(status, 125);
    assert.match(stderr, /The container name "mine" is already in use.*imago rm mine/);
    assert.equal(imago('ps', '-a', '--format', '{{.Names}} {{.Status}}'), 'mine Created\n');
    imago('rm', 'mine');
    imago('run', '--name', 'mine', 'box', 'true');
    imago('rm', 'mine');
  });

  test('signals to the attached client reach the container', async () => {
    const child = lab.spawn([
      'run',
      '--name',
      'sig',
      'box',
      'sh',
      '-c',
      'trap "exit 33" INT; echo up; while :; do sleep 0.05; done',
    ]);
    await once(child.stdout!, 'data');
    child.kill('SIGINT');
    assert.deepEqual(await once(child, 'close'), [33, null]);
    imago('rm', 'sig');
  });

  test('a client that is killed leaves the container running', async () => {
    const child = lab.spawn(['run', '--name', 'alone', 'box', 'sh', '-c', 'echo up; sleep 1000']);
    await once(child.stdout!, 'data');
    child.kill('SIGKILL');
    await once(child, 'close');
    assert.equal(state('alone').status, 'running');
    imago('rm', '-f', 'alone');
    assert.equal(imago('ps', '-aq'), '');
  });

  test('without its conmon a container still can be stopped and removed', async () => {
    const id = imago('run', '-d', '--name', 'orphan', 'box', 'sleep', '1000').trim();
    process.kill(monitorPid(join(lab.store.run, 'containers', id))!, 'SIGKILL');
    await sleep(50);
    assert.equal(state('orphan').status, 'running');
    imago('stop', '-t', '0', 'orphan');
    assert.deepEqual([state('orphan').status, state('orphan').exitCode], ['exited', 255]);
    imago('rm', 'orphan');
    assert.deepEqual(readdirSync(join(lab.store.run, 'runtime')), []);
  });

  test('two containers of one image write into layers of their own', () => {
    imago('run', '-d', '--name', 'one', 'box', 'sh', '-c', 'echo a > /f; sleep 1000');
    imago('run', '-d', '--name', 'two', 'box', 'sh', '-c', 'echo b > /f; sleep 1000');
    assert.deepEqual([imago('exec', 'one', 'cat', '/f'), imago('exec', 'two', 'cat', '/f')], ['a\n', 'b\n']);
    assert.equal(imago('rm', '-f', 'one', 'two'), 'one\ntwo\n');
  });

  test('unknown and ambiguous containers', () => {
    for (const words of [
      ['logs', 'nope'],
      ['stop', 'nope'],
      ['rm', 'nope'],
      ['exec', 'nope', 'true'],
      ['commit', 'nope'],
    ]) {
      assert.match(lab.imago(words).stderr, /No such container: nope/, words.join(' '));
    }
    assert.equal(lab.imago(['rm', '-f', 'nope']).status, 0);
    assert.match(lab.imago(['ps', '-f', 'colour=red']).stderr, /invalid filter 'colour=red'/);
  });

  describe('with a terminal', { skip: skipTerminal }, () => {
    test('run --rm -it: size, resizing, line editing, exit status', async () => {
      const terminal = lab.terminal('imago run --rm -it --name tty box sh');
      await terminal.type(/\$ |# /, 'stty size; tty; echo $TERM\n');
      const shown = await terminal.type(/xterm[^$]*# /, 'exit 5\n');
      assert.match(shown, /\r\n30 90\r\n\/dev\/pts\/0\r\n/);
      assert.equal(await terminal.status(), 5);
      assert.equal(lab.imago(['ps', '-aq']).stdout, '');
    });

    test('the detach keys leave the container running; attach comes back to it', async () => {
      const terminal = lab.terminal('imago run -it --name dt box sh; echo left with $?; stty -a');
      await terminal.type(/# /, 'echo here\n');
      await terminal.type(/\r\nhere\r\n[^#]*# /, '\x10\x11');
      assert.match(await terminal.see(/left with 0[\s\S]*icanon/), / icanon/);
      assert.equal(await terminal.status(), 0);
      assert.equal(state('dt').status, 'running');
      const again = lab.terminal('imago attach dt');
      await sleep(700);
      await again.type(/^/, 'echo back\n');
      await again.type(/\r\nback\r\n[^#]*# /, 'exit 4\n');
      assert.equal(await again.status(), 4);
      assert.equal(state('dt').exitCode, 4);
      lab.imago(['rm', 'dt']);
    });

    test('exec -it has a terminal of its own', async () => {
      lab.imago(['run', '-d', '--name', 'ex', 'box', 'sleep', '1000']);
      const terminal = lab.terminal('imago exec -it ex sh');
      await terminal.type(/# /, 'stty size; exit 6\n');
      await terminal.see(/30 90/);
      assert.equal(await terminal.status(), 6);
      lab.imago(['rm', '-f', 'ex']);
    });

    test('-t without a terminal is refused in words', () => {
      const { status, stderr } = lab.imago(['run', '--rm', '-it', 'box', 'sh']);
      assert.equal(status, 1);
      assert.match(stderr, /the input device is not a TTY/);
    });
  });
});
