import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { runtimeProcess } from '../../src/runtime/state.ts';
import { isRunning } from '../../src/system/process.ts';
import { Lab, skipContainers } from './lab.ts';

const skip = skipContainers();

describe('run --rm in the foreground', { skip: skip ?? false }, () => {
  let lab: Lab;
  before(async () => {
    lab = new Lab();
    await lab.image('box', { Cmd: ['echo', 'from the image'], Env: ['A=image', 'B=image'], WorkingDir: '/tmp' });
    await lab.image('entry', { Entrypoint: ['echo', 'entry:'], Cmd: ['default'], User: 'ann' });
  });
  after(() => lab[Symbol.dispose]());
  const run = (...words: string[]): ReturnType<Lab['imago']> => lab.imago(['run', '--rm', ...words]);
  const containers = (): string[] =>
    readdirSync(join(lab.store.root, 'containers')).filter((name) => !name.startsWith('.'));
  const gone = (): Promise<void> => lab.until('the container is removed', () => containers().length === 0);

  const OUTPUTS: [words: string[], stdout: string][] = [
    [['box'], 'from the image\n'],
    [['box', 'echo', 'mine'], 'mine\n'],
    [['entry'], 'entry: default\n'],
    [['entry', 'mine'], 'entry: mine\n'],
    [['--entrypoint', 'id', 'entry'], 'uid=1000(ann) gid=1001(ann) groups=10(wheel),44(video),1001(ann)\n'],
    [['--entrypoint', '', 'entry', 'echo', 'bare'], 'bare\n'],
    [['-u', '5:6', 'box', 'id'], 'uid=5 gid=6 groups=6\n'],
    [['-u', 'ann', 'box', 'sh', '-c', 'echo $HOME'], '/home/ann\n'],
    [['-e', 'A=1', '-e', 'MINE', '-e', 'NONE', 'box', 'sh', '-c', 'echo $A $B $MINE $NONE.'], '1 image own .\n'],
    [['box', 'pwd'], '/tmp\n'],
    [['-w', '/made/for/me', 'box', 'pwd'], '/made/for/me\n'],
    [['--hostname', 'here', 'box', 'sh', '-c', 'hostname; cat /etc/hostname; echo $HOSTNAME'], 'here\nhere\nhere\n'],
    [['--network', 'none', 'box', 'sh', '-c', 'ls /sys/class/net'], 'lo\n'],
    [['--network', 'host', 'box', 'readlink', '/proc/self/ns/net'], 'HOST NETWORK'],
    [['--read-only', 'box', 'sh', '-c', 'touch /x 2>/dev/null || echo refused'], 'refused\n'],
    [
      ['--tmpfs', '/t:size=1m,mode=0700', 'box', 'sh', '-c', 'stat -c %a /t; df -k /t | tail -1 | awk "{print \\$2}"'],
      '700\n1024\n',
    ],
    [['--cap-drop', 'ALL', 'box', 'grep', 'CapEff', '/proc/self/status'], 'CapEff:\t0000000000000000\n'],
    [
      ['box', 'grep', '-E', '^(CapEff|Seccomp|NoNewPrivs):', '/proc/self/status'],
      'NoNewPrivs:\t0\nSeccomp:\t2\nCapEff:',
    ],
    [['box', 'grep', '^SigIgn', '/proc/self/status'], 'SigIgn:\t0000000000000000\n'],
    [['box', 'sh', '-c', 'ls /proc/self/fd | wc -l'], '4\n'],
    [
      [
        '-m',
        '200m',
        'box',
        'sh',
        '-c',
        'cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes 2>/dev/null || cat memory.max',
      ],
      `${200 << 20}\n`,
    ],
  ];
  for (const [words, expected] of OUTPUTS) {
    test(`imago run --rm ${words.join(' ').slice(0, 80)}`, () => {
      const { status, stdout, stderr } = lab.imago(['run', '--rm', ...words], { env: { MINE: 'own' } });
      assert.deepEqual([status, stderr], [0, '']);
      if (expected === 'HOST NETWORK') assert.equal(stdout.trim(), readNamespace());
      else if (words.includes('-E')) assert.deepEqual(stdout.split('\n').sort(), sealed());
      else assert.equal(stdout, expected);
    });
  }
  const readNamespace = (): string => readlinkSync('/proc/self/ns/net');
  const sealed = (): string[] => ['', 'CapEff:\t00000000a80425fb', 'NoNewPrivs:\t0', 'Seccomp:\t2'];

  const FAILURES: [words: string[], status: number, says: RegExp][] = [
    [['box', 'sh', '-c', 'exit 7'], 7, /^$/],
    [['box', 'sh', '-c', 'sh -c "kill -SEGV \\$\\$"; exit $?'], 139, /Segmentation/],
    [['box', 'no-such'], 127, /exec: "no-such": executable file not found in \$PATH/],
    [['box', '/bin/no-such'], 127, /exec: "\/bin\/no-such": stat \/bin\/no-such: no such file or directory/],
    [['box', '/etc'], 126, /is a directory/],
    [['box', '/etc/passwd'], 126, /permission denied/],
    [['-u', 'nobody-here', 'box', 'id'], 125, /unable to find user nobody-here/],
    [['--pull', 'never', 'no-image', 'id'], 125, /No such image: no-image:latest/],
    [['--network', 'mine', 'box', 'id'], 125, /network mine not found/],
    [['-v', '/etc/passwd:/tmp', 'box', 'id'], 125, /one is a directory, one is not/],
    [['-m', '1k', 'box', 'id'], 125, /at least 6m/],
    [['-e', '=x', 'box', 'id'], 125, /invalid environment variable/],
    [['-w', 'relative', 'box', 'id'], 125, /needs to be an absolute path/],
    [['--name', '-bad', 'box', 'id'], 125, /Invalid container name/],
    [['--stop-signal', 'SIGFOO', 'box', 'id'], 125, /Invalid signal/],
  ];
  for (const [words, status, says] of FAILURES) {
    test(`imago run --rm ${words.join(' ').slice(0, 80)} ends with ${status}`, async () => {
      const outcome = run(...words);
      assert.equal(outcome.status, status, outcome.stderr);
      assert.match(outcome.stderr, says);
      await gone();
    });
  }

  test('standard input comes with -i and is empty without', () => {
    assert.equal(lab.imago(['run', '--rm', '-i', 'box', 'cat'], { input: 'words' }).stdout, 'words');
    assert.equal(lab.imago(['run', '--rm', 'box', 'cat'], { input: 'words' }).stdout, '');
  });

  test('output and errors stay apart', () => {
    const { stdout, stderr } = run('box', 'sh', '-c', 'echo out; echo err >&2');
    assert.deepEqual([stdout, stderr], ['out\n', 'err\n']);
  });

  test('bind mounts: read and write, read-only, and a missing source is made', () => {
    const source = join(lab.directory, 'bound');
    mkdirSync(source);
    writeFileSync(join(source, 'in'), 'in');
    const script = 'cat /m/in; echo out > /m/out; touch /r/x 2>/dev/null || echo refused';
    const { stdout } = run('-v', `${source}:/m`, '-v', `${source}:/r:ro`, 'box', 'sh', '-c', script);
    assert.equal(stdout, 'inrefused\n');
    assert.equal(readFileSync(join(source, 'out'), 'utf8'), 'out\n');
    assert.equal(run('-v', `${source}/new/dir:/n`, 'box', 'ls', '/n').status, 0);
    assert.ok(existsSync(join(source, 'new/dir')));
  });

  test('a command that a mount brings is found', () => {
    const tools = join(lab.directory, 'tools');
    mkdirSync(tools);
    writeFileSync(join(tools, 'tool'), '#!/bin/sh\necho works\n', { mode: 0o755 });
    assert.equal(run('-v', `${tools}:/tools`, 'box', '/tools/tool').stdout, 'works\n');
    assert.equal(run('-v', `${tools}:/tools`, 'box', '/no/tool').status, 127);
  });

  test('it leaves nothing, and its name is free at once', async () => {
    for (let i = 0; i < 3; i++) assert.equal(run('--name', 'again', 'box', 'touch', '/x').status, 0);
    await gone();
    assert.deepEqual(readdirSync(join(lab.store.root, 'containers/.names')), []);
    await lab.until('bundles are removed', () => readdirSync(join(lab.store.run, 'containers')).length === 0);
    assert.deepEqual(readdirSync(join(lab.store.run, 'runtime')), []);
  });

  test('two at once write into layers of their own', async () => {
    const both = ['one', 'two'].map((word) => {
      const child = lab.spawn(['run', '--rm', 'box', 'sh', '-c', `echo ${word} > /tmp/f; sleep 0.5; cat /tmp/f`]);
      let out = '';
      child.stdout!.on('data', (chunk) => {
        out += chunk;
      });
      return once(child, 'close').then(() => out);
    });
    assert.deepEqual(await Promise.all(both), ['one\n', 'two\n']);
  });

  test('signals reach the container, and the status is its own', async () => {
    const child = lab.spawn([
      'run',
      '--rm',
      'box',
      'sh',
      '-c',
      'trap "exit 9" TERM; echo up; while :; do sleep 0.05; done',
    ]);
    await once(child.stdout!, 'data');
    child.kill('SIGTERM');
    assert.deepEqual(await once(child, 'close'), [9, null]);
  });

  test('kill -9 of the command takes the container with it', async () => {
    const child = lab.spawn(['run', '--rm', '--name', 'doomed', 'box', 'sh', '-c', 'echo up; sleep 1000']);
    await once(child.stdout!, 'data');
    const [id] = containers();
    const first = runtimeProcess(join(lab.store.run, 'runtime'), id!);
    assert.ok(first !== undefined);
    assert.match(lab.imago(['ps']).stdout, /"sh -c echo up; slee…".*Up .*doomed/);
    child.kill('SIGKILL');
    await once(child, 'exit');
    await gone();
    assert.ok(!isRunning(first));
    assert.deepEqual(readdirSync(join(lab.store.run, 'runtime')), []);
  });
});
