import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';

const REPO: string = join(import.meta.dirname, '../..');

/** An installed package: bin/ and dist/, whose cli.cjs tells which Node runs it with which words. */
let dir: string;
before(() => {
  dir = mkdtempSync(join(tmpdir(), 'imago-bin-'));
  mkdirSync(join(dir, 'package/bin'), { recursive: true });
  mkdirSync(join(dir, 'package/dist'));
  copyFileSync(join(REPO, 'bin/imago'), join(dir, 'package/bin/imago'));
  writeFileSync(join(dir, 'package/dist/cli.cjs'), '');
  // A link of a link, one relative and one absolute, as package managers make them.
  mkdirSync(join(dir, 'links'));
  symlinkSync('../package/bin/imago', join(dir, 'links/relative'));
  symlinkSync(join(dir, 'links/relative'), join(dir, 'links/imago'));
});
after(() => rmSync(dir, { recursive: true, force: true }));

/** A directory with a `node` that says which one it is. */
function fakeNode(name: string, version: string): string {
  const bin = join(dir, name);
  mkdirSync(bin, { recursive: true });
  writeFileSync(
    join(bin, 'node'),
    `#!/bin/sh\n[ "$1" = --version ] && echo ${version} && exit\nshift\necho "${name}: $*"\n`,
  );
  chmodSync(join(bin, 'node'), 0o755);
  return bin;
}

/** Programs that the script may call, and no node among them. */
function emptyPath(): string {
  const bin = join(dir, 'tools');
  mkdirSync(bin, { recursive: true });
  for (const tool of ['readlink', 'find']) {
    if (!existsSync(join(bin, tool))) symlinkSync(join('/usr/bin', tool), join(bin, tool));
  }
  return bin;
}

function run(script: string, path: string[], env: NodeJS.ProcessEnv = {}): { status: number | null; text: string } {
  const { status, stdout, stderr } = spawnSync('/bin/sh', [script, 'a', 'b c'], {
    encoding: 'utf8',
    env: { PATH: path.join(':'), ...env },
  });
  return { status, text: stdout + stderr };
}

describe('picking a Node', () => {
  const installed = () => join(dir, 'package/bin/imago');
  const systemNode = existsSync('/usr/local/bin/node') ? 'there is a node in /usr/local/bin' : false;

  test('the one in PATH, with the words as they are', { skip: systemNode }, () => {
    assert.deepEqual(run(installed(), [emptyPath(), fakeNode('new', 'v26.1.0')]), { status: 0, text: 'new: a b c\n' });
  });
  test('through symbolic links', { skip: systemNode }, () => {
    const path = [emptyPath(), fakeNode('new', 'v26.1.0')];
    assert.deepEqual(run(join(dir, 'links/imago'), path), { status: 0, text: 'new: a b c\n' });
    const found = spawnSync('imago', ['x'], {
      encoding: 'utf8',
      env: { PATH: [...path, join(dir, 'links')].join(':') },
    });
    assert.equal(found.stdout, 'new: x\n');
  });
  test('of several, the first that is new enough', { skip: systemNode }, () => {
    const path = [
      emptyPath(),
      fakeNode('old', 'v20.20.2'),
      fakeNode('odd', 'who knows'),
      fakeNode('almost', 'v24.4.9'),
      fakeNode('new', 'v24.5.0'),
    ];
    assert.deepEqual(run(installed(), path), { status: 0, text: 'new: a b c\n' });
  });
  test('IMAGO_NODE goes first', () => {
    const env = { IMAGO_NODE: join(fakeNode('mine', 'v26.0.0'), 'node') };
    assert.deepEqual(run(installed(), [emptyPath(), fakeNode('new', 'v26.1.0')], env), {
      status: 0,
      text: 'mine: a b c\n',
    });
  });
  test('none: one line', { skip: systemNode }, () => {
    assert.deepEqual(run(installed(), [emptyPath()]), {
      status: 1,
      text: 'imago: needs Node 24.5 or newer, and there is no node in PATH: install one, or name one in IMAGO_NODE\n',
    });
    assert.deepEqual(run(installed(), [emptyPath()], { IMAGO_NODE: '/no/such/node' }), {
      status: 1,
      text: 'imago: IMAGO_NODE names no program: /no/such/node\n',
    });
  });
});

describe('in a checkout', { timeout: 120_000 }, () => {
  let checkout: string;
  before(() => {
    checkout = join(dir, 'checkout');
    mkdirSync(checkout);
    for (const name of ['bin', 'src', 'scripts', 'package.json']) {
      cpSync(join(REPO, name), join(checkout, name), { recursive: true });
    }
    symlinkSync(join(REPO, 'node_modules'), join(checkout, 'node_modules'));
  });

  function imago(...words: string[]): { status: number | null; stdout: string; stderr: string } {
    const { status, stdout, stderr } = spawnSync(join(checkout, 'bin/imago'), words, {
      encoding: 'utf8',
      env: { ...process.env, XDG_CACHE_HOME: '/dev/null', NODE_COMPILE_CACHE: '/dev/null/nowhere' },
    });
    return { status, stdout, stderr };
  }
  const version = (JSON.parse(readFileSync(join(REPO, 'package.json'), 'utf8')) as { version: string }).version;
  const builtAt = () => statSync(join(checkout, 'dist/.stamp')).mtimeMs;

  test('what was never built is built; an unwritable compile cache is no matter', () => {
    assert.deepEqual(imago('--version'), { status: 0, stdout: `imago version ${version}\n`, stderr: '' });
    assert.equal(imago('version', '--format', '{{.Version}}').stdout, `${version}\n`);
  });
  test('quick commands load none of the modules that cost milliseconds', () => {
    const probe = join(dir, 'probe.cjs');
    writeFileSync(
      probe,
      "process.on('exit', () => require('fs').writeSync(2, process.moduleLoadList.filter((m) => m.startsWith('NativeModule ')).join('\\n')));",
    );
    const heavy = [
      'crypto',
      'http',
      'https',
      'tls',
      'net',
      'zlib',
      'dns',
      'child_process',
      'worker_threads',
      'readline',
      'stream',
      'internal/fs/promises',
    ];
    const env = { ...process.env, IMAGO_ROOT: join(dir, 'store'), IMAGO_RUN: join(dir, 'run') };
    for (const command of ['images', 'ps', 'rm', 'run']) {
      // To a file, since the stream of a pipe is a socket's; a file's has node:stream, too.
      const { stderr } = spawnSync(process.execPath, ['-r', probe, join(checkout, 'dist/cli.cjs'), command], {
        encoding: 'utf8',
        env,
        stdio: ['ignore', openSync(join(dir, 'out'), 'w'), 'pipe'],
      });
      const loaded = stderr.split('\n').map((line) => line.replace('NativeModule ', ''));
      assert.ok(loaded.includes('fs'), stderr);
      // These two have too few arguments, and say so to standard error, which is a pipe.
      const allowed = command === 'rm' || command === 'run' ? ['net', 'stream'] : ['stream'];
      assert.deepEqual(
        heavy.filter((name) => loaded.includes(name) && !allowed.includes(name)),
        [],
        command,
      );
    }
  });
  test('what is fresh is left alone', () => {
    const before = builtAt();
    imago('--version');
    assert.equal(builtAt(), before);
  });
  test('what is stale is built again', () => {
    const before = builtAt();
    const soon = new Date(Date.now() + 5);
    const manifest = join(checkout, 'package.json');
    writeFileSync(manifest, readFileSync(manifest, 'utf8').replace(`"${version}"`, '"9.8.7"'));
    utimesSync(manifest, soon, soon);
    assert.equal(imago('--version').stdout, 'imago version 9.8.7\n');
    assert.ok(builtAt() > before);
  });
  test('a build that fails leaves the one before, and is told', () => {
    const file = join(checkout, 'src/cli/commands/version.ts');
    const good = readFileSync(file, 'utf8');
    const before = builtAt();
    const soon = new Date(Date.now() + 5);
    writeFileSync(file, `${good}\nimport { nothing } from './nowhere.ts';\nnothing();\n`);
    utimesSync(file, soon, soon);
    const { status, stdout, stderr } = imago('--version');
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(stderr, /build: .*nowhere\.ts/s);
    assert.equal(builtAt(), before);
    writeFileSync(file, good);
  });
  test('two at once build once after the other, and both run', async () => {
    rmSync(join(checkout, 'dist'), { recursive: true });
    const children = [0, 1, 2].map(() =>
      spawn(join(checkout, 'bin/imago'), ['version', '-f', '{{.Version}}'], { stdio: ['ignore', 'pipe', 'inherit'] }),
    );
    const outputs = await Promise.all(
      children.map(async (child) => {
        let text = '';
        child.stdout.setEncoding('utf8').on('data', (chunk) => (text += chunk));
        const [status] = await once(child, 'close');
        return `${status} ${text}`;
      }),
    );
    assert.deepEqual(outputs, ['0 9.8.7\n', '0 9.8.7\n', '0 9.8.7\n']);
    assert.deepEqual(
      readdirSync(join(checkout, 'dist')).filter((name) => name.startsWith('.build-')),
      [],
    );
  });
});

test('a Node that is too old says so in one line', () => {
  const old = ['/usr/bin/node', '/usr/local/bin/node'].find((path) => {
    const { stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' });
    return stdout !== null && Number.parseInt(stdout.slice(1), 10) < 24;
  });
  // Where the machine has only new ones, the check is run on this one, told to be older.
  const source = spawnSync(
    process.execPath,
    [
      '-e',
      'process.stdout.write(require("node:module").stripTypeScriptTypes(require("node:fs").readFileSync(process.argv[1], "utf8")))',
      join(REPO, 'src/cli/start.ts'),
    ],
    { encoding: 'utf8' },
  ).stdout;
  const file = join(dir, 'start.cjs');
  const check = (program: string, pretend?: string) => {
    const versions = pretend && `Object.defineProperty(process.versions, 'node', { value: '${pretend}' });`;
    writeFileSync(file, `${versions ?? ''}${source}`);
    return spawnSync(program, [file, '--version'], { encoding: 'utf8' });
  };
  const refused =
    /^imago: needs Node 24\.5 or newer, and \S+ is v[\d.]+: install a newer one, or name one in IMAGO_NODE\n$/;
  const pretended = ['20.1.0', '24.0.0', '24.4.1'].map((version) => check(process.execPath, version));
  for (const { status, stdout, stderr } of old === undefined ? pretended : [check(old), ...pretended]) {
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(stderr, refused);
  }
  for (const version of ['24.5.0', '24.10.0', '25.0.0']) {
    assert.doesNotMatch(check(process.execPath, version).stderr, refused, version);
  }
});
