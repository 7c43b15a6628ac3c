import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, symlinkSync } from 'node:fs';
import { join, relative } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { findProgram } from '../../src/runtime/find-runtime.ts';
import { Arena, assertForPeople, PROGRAM } from './arena.ts';
import { needsContainers, needsRoot, needsTools, packBusybox, packSample } from './samples.ts';

const containers = needsContainers();
const NOBODY = 65534;

let arena: Arena;
before(() => {
  arena = new Arena();
  arena.ok(['import', packSample(arena), 'sample']);
  if (containers === undefined) arena.ok(['import', packBusybox(arena), 'busybox']);
});
after(() => arena.finish());

describe('without root', { skip: needsRoot() ?? needsTools('setpriv') ?? false }, () => {
  const through = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
  let own: { through: string[]; env: NodeJS.ProcessEnv };
  before(() => {
    const home = arena.path('home');
    mkdirSync(home);
    chownSync(home, NOBODY, NOBODY);
    chmodSync(arena.directory, 0o755);
    own = { through, env: { HOME: home, IMAGO_ROOT: join(home, 'store'), IMAGO_RUN: join(home, 'run') } };
  });
  const needs = (what: string): RegExp =>
    new RegExp(`only root can ${what}.*: run it with sudo; without root, .* work\n$`);

  test("a store of one's own: import, build without RUN, save, load, verify, prune", async () => {
    arena.ok(['import', arena.path('sample.tar'), 'sample'], own);
    arena.write('context/Dockerfile', 'FROM sample\nCOPY . /\nWORKDIR /there\n');
    chmodSync(arena.path('context'), 0o755);
    arena.ok(['build', '-t', 'built', arena.path('context')], own);
    arena.ok(['save', '-o', join(arena.path('home'), 'out.tar'), 'built'], own);
    arena.ok(['rmi', 'built'], own);
    arena.ok(['load', '-i', join(arena.path('home'), 'out.tar')], own);
    for (const words of [
      ['images'],
      ['history', 'built'],
      ['inspect', 'built'],
      ['diff', 'sample', 'built'],
      ['info'],
      ['ps', '-a'],
      ['system', 'df'],
      ['prune', '-f'],
    ]) {
      assertForPeople(arena.imago(words, own).stderr);
      arena.ok(words, own);
    }
    assert.match(arena.ok(['verify', '--all'], own), /all as it was stored/);
  });
  test('run, and build with RUN, say that they cannot', () => {
    arena.ok(['import', arena.path('sample.tar'), 'sample'], own);
    for (const words of [['run', '--rm'], ['run'], ['run', '-d'], ['create']]) {
      arena.fails([...words, 'sample', 'true'], { ...own, status: 125, says: needs('make a container') });
    }
    arena.fails(['build', '-'], { ...own, input: 'FROM sample\nRUN true\n', says: needs('run a step of a build') });
    assert.equal(arena.ok(['ps', '-aq'], own), '');
    arena.ok(['rmi', 'sample'], own);
  });
  test("another user's store", () => {
    for (const words of [
      ['images'],
      ['history', 'sample'],
      ['import', arena.path('sample.tar'), 'x'],
      ['rmi', 'sample'],
      ['prune', '-f'],
      ['verify'],
    ]) {
      arena.refuses(words, {
        through,
        says: /no permission to (?:read|change) the store \(.*\): run as the user who owns it, or choose another with --root or IMAGO_ROOT\n$/,
      });
    }
  });
  test('a place that one may not write to', () => {
    const env = { IMAGO_ROOT: '/proc/imago', IMAGO_RUN: arena.path('home/run') };
    arena.fails(['images'], { through, env, says: /^imago: / });
    arena.fails(['images'], {
      through,
      env: { ...env, IMAGO_ROOT: '/usr/imago-faults' },
      says: /no permission to change the store \(\/usr\/imago-faults\): /,
    });
  });
  test("another user's files", () => {
    arena.write('secret.tar', 'x');
    chmodSync(arena.path('secret.tar'), 0o600);
    arena.fails(['import', arena.path('secret.tar'), 'x'], {
      ...own,
      says: /EACCES: permission denied, open '.*secret\.tar'\n$/,
    });
    arena.fails(['load', '-i', arena.path('secret.tar')], {
      ...own,
      says: /EACCES: permission denied, open '.*secret\.tar'\n$/,
    });
    arena.fails(['save', '-o', arena.path('out.tar'), 'built'], {
      ...own,
      says: /cannot write '.*out\.tar': got EACCES: choose another place with -o\n$/,
    });
  });
});

describe('without a program', { skip: containers ?? needsTools('unshare') ?? false }, () => {
  /** In a mount namespace where these programs are no programs. */
  const without = (...names: string[]): string[] => {
    const hide = names.flatMap((name) => [findProgram(name)]).filter((path) => path !== undefined);
    return [
      'unshare',
      '-m',
      'sh',
      '-c',
      `${hide.map((path) => `mount --bind /dev/null ${path} && `).join('')}exec "$@"`,
      'sh',
    ];
  };
  const noRuntime = /imago: runc not found: install it with 'apt-get install runc'\n$/;

  test('runc: run and build say which package to install', () => {
    const through = without('runc', 'crun');
    const env = { IMAGO_RUN: arena.path('fresh') };
    for (const words of [['run', '--rm'], ['run'], ['run', '-d']]) {
      arena.fails([...words, 'busybox', 'true'], { through, env, status: 125, says: noRuntime });
    }
    arena.refuses(['build', '-'], { through, env, input: 'FROM busybox\nRUN true\n', says: noRuntime });
    arena.imago(['rm', '-f', ...arena.ok(['ps', '-aq']).split('\n').filter(Boolean)]);
  });
  test('runc, known from before', () => {
    arena.ok(['run', '--rm', 'busybox', 'true']);
    arena.fails(['run', '--rm', 'busybox', 'true'], { through: without('runc', 'crun'), status: 125, says: noRuntime });
  });
  test('conmon: what needs it says so, what does not works', () => {
    const through = without('conmon');
    const noMonitor =
      /imago: conmon not found: install it with 'apt-get install conmon'; without it only 'run --rm' in the foreground, without -t, works\n$/;
    arena.ok(['run', '--rm', 'busybox', 'true'], { through });
    for (const words of [['run'], ['run', '-d'], ['run', '--rm', '-d']]) {
      arena.fails([...words, 'busybox', 'true'], { through, status: 125, says: noMonitor });
    }
    arena.imago(['rm', '-f', ...arena.ok(['ps', '-aq']).split('\n').filter(Boolean)]);
  });
  test('the one that IMAGO_RUNTIME names', () => {
    arena.refuses(['run', '--rm', 'busybox', 'true'], {
      env: { IMAGO_RUNTIME: 'nonexistent' },
      status: 125,
      says: /^imago: nonexistent not found: IMAGO_RUNTIME names runc, crun or the path of one\n$/,
    });
  });
  test('xz', () => {
    const xz = arena.write('sample.xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 0]));
    const through = without('xz');
    arena.refuses(['import', xz, 'x'], {
      through,
      says: /xz is needed to unpack this archive, and cannot be run \(EACCES\): install it with 'apt-get install xz-utils'\n$/,
    });
  });
});

describe('a place for the store', () => {
  const places: [name: string, root: string][] = [
    ['with blanks, quotes and umlauts', 'a "böse" $PATH \'dir\' \\x'],
    ['with a newline', 'a\nb'],
    ['with a comma and a colon, which mount options separate', 'a,b:c=d'],
    ['deep below', `${'d/'.repeat(60)}root`],
  ];
  for (const [name, root] of places) {
    test(name, async () => {
      using elsewhere = new Arena({ root: `${root}/root`, run: `${root}/run` });
      elsewhere.ok(['import', arena.path('sample.tar'), 'sample']);
      if (containers === undefined) {
        elsewhere.ok(['import', arena.path('busybox.tar'), 'busybox']);
        assert.equal(elsewhere.ok(['run', '--rm', 'busybox', 'echo', 'hi']), 'hi\n');
        elsewhere.ok(['build', '-t', 'built', '-'], { input: 'FROM busybox\nRUN touch /f\n' });
        elsewhere.ok(['run', '--name', 'one', 'built', 'ls', '/f']);
        elsewhere.ok(['rm', 'one']);
      }
      elsewhere.ok(['rmi', 'sample']);
      await elsewhere.assertSound();
    });
  }
  test('by a relative path', () => {
    const root = relative(arena.path('sample'), arena.root);
    assert.match(arena.ok(['--root', root, 'images'], { cwd: arena.path('sample') }), /^sample /m);
    if (containers !== undefined) return;
    assert.equal(
      arena.ok(['--root', root, 'run', '--rm', 'busybox', 'echo', 'hi'], { cwd: arena.path('sample') }),
      'hi\n',
    );
    arena.ok(['--root', root, 'run', '-d', '--name', 'one', 'busybox', 'sleep', '1000'], { cwd: arena.path('sample') });
    arena.ok(['exec', 'one', 'true']);
    arena.ok(['rm', '-f', 'one']);
  });
  test('by a link', async () => {
    mkdirSync(arena.path('real'));
    symlinkSync(arena.path('real'), arena.path('link'));
    const env = { IMAGO_ROOT: arena.path('link') };
    arena.ok(['import', arena.path('sample.tar'), 'sample'], { env });
    if (containers === undefined) {
      arena.ok(['import', arena.path('busybox.tar'), 'busybox'], { env });
      arena.ok(['run', '--rm', 'busybox', 'true'], { env });
      arena.ok(['run', '--rm', 'busybox', 'true'], { env: { IMAGO_ROOT: arena.path('real') } });
    }
    assert.match(arena.ok(['verify', '--all'], { env }), /all as it was stored/);
    await arena.assertQuiet();
  });
});

describe('an environment', () => {
  const bare = (env: NodeJS.ProcessEnv, ...words: string[]): ReturnType<typeof spawnSync> =>
    spawnSync(PROGRAM, words, {
      env: { PATH: process.env.PATH, IMAGO_ROOT: arena.root, IMAGO_RUN: arena.run, ...env },
      encoding: 'utf8',
    });

  test('without HOME', () => {
    assert.deepEqual([bare({}, 'images', '-q').status, String(bare({}, 'images', '-q').stderr)], [0, '']);
    if (containers === undefined) assert.equal(bare({}, 'run', '--rm', 'busybox', 'echo', 'hi').stdout, 'hi\n');
  });
  test('in another language and time zone', () => {
    const told = (env: NodeJS.ProcessEnv): unknown =>
      bare(env, 'images', '--format', '{{.ID}} {{.Repository}} {{.Size}}').stdout;
    assert.equal(told({ LANG: 'C', LC_ALL: 'C', TZ: 'Pacific/Kiritimati' }), told({ LANG: 'de_DE.UTF-8', TZ: 'UTC' }));
    const { stderr } = bare({ LANG: 'C', LC_ALL: 'C' }, 'history', 'nö');
    assert.match(String(stderr), /^imago: invalid reference format: got "nö"/);
  });
  test('with a umask of 077: what is in images does not notice', { skip: containers ?? false }, () => {
    const through = ['sh', '-c', 'umask 077; exec "$@"', 'sh'];
    const build = 'FROM busybox\nRUN touch /f\nWORKDIR /made/there\nCOPY <<EOF /e\nx\nEOF\n';
    arena.ok(['build', '-t', 'masked', '-'], { through, input: build });
    assert.equal(
      arena.ok(['run', '--rm', '-u', '1000', 'masked', 'sh', '-c', 'cd /made/there && ls -d /f && cat /e'], {
        through,
      }),
      '/f\nx\n',
    );
    const { stdout } = arena.imago(['run', '--rm', 'masked', 'ls', '-ld', '/f', '/made', '/made/there', '/e']);
    assert.doesNotMatch(stdout, /^.{4}---/m);
    arena.ok(['rmi', 'masked']);
    arena.ok(['system', 'prune', '-f']);
  });
  test('with few open files', () => {
    const { status, stderr } = arena.imago(['import', arena.path('sample.tar'), 'few'], {
      through: ['sh', '-c', 'ulimit -n 40; exec "$@"', 'sh'],
    });
    if (status === 0) arena.ok(['rmi', 'few']);
    else assert.match(stderr, /^imago: .*EMFILE/);
  });
});
