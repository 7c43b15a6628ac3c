import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { BuildLab, type Files } from './lab.ts';

const noGit =
  spawnSync('git', ['daemon', '--help'], { stdio: 'ignore' }).error === undefined ? false : 'git is not installed';
const ENV = {
  ...process.env,
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_AUTHOR_NAME: 'a',
  GIT_AUTHOR_EMAIL: 'a@b',
  GIT_COMMITTER_NAME: 'a',
  GIT_COMMITTER_EMAIL: 'a@b',
  GIT_AUTHOR_DATE: '@1000000000 +0000',
  GIT_COMMITTER_DATE: '@1000000000 +0000',
};

describe('ADD of a git repository', { skip: noGit }, () => {
  let directory: string;
  let work: string;
  let daemon: ChildProcess;
  let url: string;
  let first: string;

  const git = (...args: string[]): string =>
    execFileSync('git', ['-C', work, ...args], {
      env: ENV,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  const commit = (files: Files, message: string): string => {
    using lab = new BuildLab();
    lab.write(files, work);
    git('add', '-A');
    git('commit', '-q', '-m', message);
    return git('rev-parse', 'HEAD');
  };

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'imago-git-'));
    work = join(directory, 'repo');
    mkdirSync(work);
    git('init', '-q', '-b', 'main');
    first = commit({ 'a.txt': 'one', 'bin/run': '#!/bin/sh', 'd/x.log': 'x', 'd/link': '->../a.txt' }, 'first');
    execFileSync('chmod', ['755', join(work, 'bin/run')]);
    commit({}, 'modes');
    git('tag', 'v1');
    first = git('rev-parse', 'HEAD');
    const port = await freePort();
    daemon = spawn(
      'git',
      [
        'daemon',
        '--listen=127.0.0.1',
        `--port=${port}`,
        '--export-all',
        '--reuseaddr',
        `--base-path=${directory}`,
        directory,
      ],
      { stdio: 'ignore' },
    );
    await listening(port);
    url = `git://127.0.0.1:${port}/repo/.git`;
  });

  after(async () => {
    daemon.kill();
    await once(daemon, 'exit');
    rmSync(directory, { recursive: true, force: true });
  });

  it('gives the files of a commit, owned by root', async () => {
    using lab = new BuildLab();
    const { image } = await lab.build(`FROM scratch\nADD ${url}#v1 /x`);
    assert.deepEqual(lab.list(image), [
      'd 0755 0:0 x',
      'f 0644 0:0 x/a.txt 3',
      'd 0755 0:0 x/bin',
      'f 0755 0:0 x/bin/run 9',
      'd 0755 0:0 x/d',
      'l 0777 0:0 x/d/link -> ../a.txt',
      'f 0644 0:0 x/d/x.log 1',
    ]);
    assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
    assert.match(image.config.history?.at(-1)?.created_by ?? '', /^ADD git:\/\/127\.0\.0\.1:\d+\/repo\/\.git#v1 \/x$/);
  });

  it('the same layer on another machine', async () => {
    const umask = process.umask(0o077);
    try {
      const [one, other] = await Promise.all(
        [1, 2].map(async () => {
          using lab = new BuildLab();
          return (await lab.build(`FROM scratch\nADD ${url}#v1 /`, { epoch: new Date(0) })).image.diffIds;
        }),
      );
      assert.deepEqual(one, other);
    } finally {
      process.umask(umask);
    }
  });

  it('a directory of it, with flags', async () => {
    using lab = new BuildLab();
    const { image } = await lab.build(`FROM scratch\nADD --link --chown=7:8 --exclude=*.log ${url}#v1:d /x/`);
    assert.deepEqual(lab.list(image), ['d 0755 7:8 x', 'l 0777 7:8 x/link -> ../a.txt']);
  });

  it('--keep-git-dir, by flag or by query', async () => {
    using lab = new BuildLab();
    for (const line of [`ADD --keep-git-dir=true ${url}#v1 /x`, `ADD ${url}?keep-git-dir=1&ref=v1 /x`]) {
      const { image } = await lab.build(`FROM scratch\n${line}`);
      assert.match(lab.read(image, 'x/.git/HEAD') ?? '', new RegExp(`^${first}\\s*$`));
    }
  });

  it('beside a file of the context', async () => {
    using lab = new BuildLab();
    lab.write({ 'a.txt': 'mine' });
    const { image } = await lab.build(`FROM scratch\nADD ${url}#v1 a.txt /x/`);
    assert.equal(lab.read(image, 'x/a.txt'), 'mine');
  });

  for (const [name, line, code] of [
    ['another commit than --checksum', `ADD --checksum=${'1'.repeat(40)} URL#v1 /x`, 'GIT_CHECKSUM'],
    ['no commit hash', 'ADD --checksum=foobar URL#v1 /x', 'BAD_FLAG_VALUE'],
    ['two words on .git', 'ADD --keep-git-dir=false URL?keep-git-dir=true /x', 'BAD_FLAG_VALUE'],
    ['two checksums', `ADD --checksum=${'1'.repeat(40)} URL?checksum=${'2'.repeat(40)} /x`, 'BAD_FLAG_VALUE'],
    ['a ref that is not there', 'ADD URL#nosuch /x', 'GIT_FAILED'],
    ['a directory that is not there', 'ADD URL#v1:nosuch /x', 'GIT_SUBDIR'],
    ['COPY', 'COPY URL /x', 'BAD_SOURCE'],
  ] as const) {
    it(`fails for ${name}`, async () => {
      using lab = new BuildLab();
      await assert.rejects(lab.build(`FROM scratch\n${line.replaceAll('URL', url)}`), { code, line: 2 });
      assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
    });
  }

  it('the commit is the key', async () => {
    using lab = new BuildLab();
    const build = (line: string) => lab.build(`FROM scratch\n${line}`);
    await build(`ADD ${url}#main /x`);
    assert.equal((await build(`ADD ${url}#main /x`)).cached.length, 1);
    assert.equal((await build(`ADD ${url}#v1 /x`)).cached.length, 1, 'another name of the commit');
    assert.equal((await build(`ADD --checksum=${first} ${url}#main /x`)).cached.length, 1, 'a checksum');
    assert.equal((await build(`ADD --checksum=${first} git://127.0.0.1:1/x /x`)).cached.length, 1, 'no network');
    assert.equal((await build(`ADD ${url}#main:d /x`)).cached.length, 0, 'a directory');
    assert.equal((await build(`ADD --keep-git-dir=true ${url}#main /x`)).cached.length, 0, 'with .git');
    assert.equal((await build(`ADD --exclude=d ${url}#main /x`)).cached.length, 0, '--exclude');
    const second = commit({ 'b.txt': 'two' }, 'second');
    const moved = await build(`ADD ${url}#main /x`);
    assert.deepEqual([moved.cached.length, lab.read(moved.image, 'x/b.txt')], [0, 'two']);
    assert.equal((await build(`ADD ${url}#${second} /x`)).cached.length, 1);
    assert.equal((await build(`ADD ${url}#v1 /x`)).cached.length, 1);
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}

async function listening(port: number): Promise<void> {
  for (let tried = 0; tried < 100; tried++) {
    const socket = connect(port, '127.0.0.1');
    try {
      await once(socket, 'connect');
      return;
    } catch {
      await setTimeout(50);
    } finally {
      socket.destroy();
    }
  }
  throw new Error('git daemon does not listen');
}
