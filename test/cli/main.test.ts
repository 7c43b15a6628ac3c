import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { sleep } from '../../src/system/sleep.ts';

const MAIN: string = join(import.meta.dirname, '../../src/cli/main.ts');

let root: string;
before(() => {
  root = mkdtempSync(join(tmpdir(), 'imago-main-'));
});
after(() => rmSync(root, { recursive: true, force: true }));

interface Outcome {
  status: number | null;
  stdout: string;
  stderr: string;
}

function imago(words: string[], env: NodeJS.ProcessEnv = {}): Outcome {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...words], {
    encoding: 'utf8',
    env: { ...process.env, IMAGO_ROOT: join(root, 'store'), IMAGO_RUN: join(root, 'run'), ...env },
  });
  return { status, stdout, stderr };
}

describe('help', () => {
  test('imago, imago --help and imago help are one and fit a screen', () => {
    const { status, stdout, stderr } = imago([]);
    assert.deepEqual([status, stderr], [0, '']);
    assert.match(stdout, /^Usage: {2}imago \[OPTIONS\] COMMAND\n/);
    assert.deepEqual(imago(['--help']).stdout, stdout);
    assert.deepEqual(imago(['help']).stdout, stdout);
    assert.deepEqual(imago(['-h']).stdout, stdout);
  });
  test('imago help COMMAND is imago COMMAND --help', () => {
    const { status, stdout } = imago(['help', 'version']);
    assert.equal(status, 0);
    assert.match(stdout, /^\nUsage: {2}imago version \[OPTIONS\]\n/);
    assert.equal(imago(['version', '--help']).stdout, stdout);
  });
});

describe('version', () => {
  test('--version and -v', () => {
    assert.deepEqual(imago(['--version']), imago(['-v']));
    assert.match(imago(['--version']).stdout, /^imago version \d+\.\d+\.\d+\n$/);
  });
  test('by a template and as JSON', () => {
    assert.equal(imago(['version', '--format', '{{.NodeVersion}}']).stdout, `${process.versions.node}\n`);
    assert.equal(JSON.parse(imago(['version', '-f', 'json']).stdout).Os, 'linux');
  });
});

describe('mistakes', () => {
  const cases: [words: string[], status: number, stderr: string][] = [
    [['versoin'], 1, "imago: 'versoin' is not an imago command. Did you mean 'version'?\nSee 'imago --help'.\n"],
    [['frobnicate', 'x'], 1, "imago: 'frobnicate' is not an imago command.\nSee 'imago --help'.\n"],
    [['help', 'frobnicate'], 1, "imago: 'frobnicate' is not an imago command.\nSee 'imago --help'.\n"],
    [['--rot', '/x', 'version'], 125, "imago: unknown flag: --rot: did you mean --root?\nSee 'imago --help'.\n"],
    [
      ['version', '--formt', 'x'],
      125,
      "imago: unknown flag: --formt: did you mean --format?\nSee 'imago version --help'.\n",
    ],
    [
      ['version', 'x'],
      1,
      "imago: 'imago version' accepts no arguments\n\nUsage:  imago version [OPTIONS]\n\nSee 'imago version --help'.\n",
    ],
    [['version', '-f', '{{.X'], 1, 'imago: --format, at 1:1: unclosed action\n'],
    [['completion', 'csh'], 1, 'imago: no completion for this shell: wanted bash, zsh or fish, got "csh"\n'],
    [['a\x1b[31mb'], 1, "imago: 'a\\x1b[31mb' is not an imago command.\nSee 'imago --help'.\n"],
  ];
  for (const [words, status, stderr] of cases) {
    test(`imago ${JSON.stringify(words.join(' '))}`, () => {
      assert.deepEqual(imago(words), { status, stdout: '', stderr });
    });
  }

  test('--debug adds the stack', () => {
    const { status, stderr } = imago(['--debug', 'completion', 'csh']);
    assert.equal(status, 1);
    assert.match(stderr, /\n {4}at .*completion\.ts/);
  });
});

test('a reader that goes away ends the command quietly', async () => {
  const child = spawn(
    'bash',
    ['-c', `"$@" | true; exit "\${PIPESTATUS[0]}"`, 'bash', process.execPath, MAIN, 'completion', 'bash'],
    {
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  const [status] = await once(child, 'close');
  assert.equal(stderr, '');
  assert.equal(status, 141);
});

describe('Ctrl-C', () => {
  /** Starts a command that waits for its input, and sends it a signal once it has begun. */
  async function interrupt(words: string[], signal: NodeJS.Signals, begun: (stdout: string) => boolean) {
    const child = spawn(process.execPath, [MAIN, ...words], {
      env: { ...process.env, IMAGO_ROOT: join(root, 'store'), IMAGO_RUN: join(root, 'run') },
    });
    let [stdout, stderr] = ['', ''];
    child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
    child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
    child.stdin.write('x');
    for (let tries = 0; !begun(stdout) && tries < 200; tries++) await sleep(50);
    child.kill(signal);
    const [status, killedBy] = await once(child, 'close');
    return { status, killedBy, stderr };
  }
  const ingesting = () => existsSync(join(root, 'store/ingest')) && readdirSync(join(root, 'store/ingest')).length > 0;

  test('a command with something to undo undoes it, and ends with 130', async () => {
    const outcome = await interrupt(['import', '-', 'interrupted'], 'SIGINT', ingesting);
    assert.deepEqual(outcome, { status: 130, killedBy: null, stderr: '' });
    assert.deepEqual(readdirSync(join(root, 'store/ingest')), []);
  });
  test('SIGTERM likewise, with 143', async () => {
    const outcome = await interrupt(['import', '-', 'interrupted'], 'SIGTERM', ingesting);
    assert.deepEqual(outcome, { status: 143, killedBy: null, stderr: '' });
  });
  test('any other command simply dies of it', async () => {
    const outcome = await interrupt(['prune'], 'SIGINT', (stdout) => stdout.endsWith('[y/N] '));
    assert.deepEqual(outcome, { status: null, killedBy: 'SIGINT', stderr: '' });
  });
});

test('prune asks, and takes anything but yes for no', () => {
  const env = { ...process.env, IMAGO_ROOT: join(root, 'store'), IMAGO_RUN: join(root, 'run') };
  const answer = (input: string) =>
    spawnSync(process.execPath, [MAIN, 'prune', '--all'], { encoding: 'utf8', input, env });
  for (const input of ['n\n', '', '\n', 'nyes\n']) {
    const { status, stdout } = answer(input);
    assert.equal(status, 0);
    assert.doesNotMatch(stdout, /reclaimed/, JSON.stringify(input));
  }
  for (const input of ['y\n', 'YES\n', 'y']) assert.match(answer(input).stdout, /Total reclaimed space: 0B\n$/);
});
