import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fetchGit } from '../../src/system/git.ts';
import { hideCredentials, parseGitUrl } from '../../src/system/git-url.ts';

describe('git URLs', () => {
  const cases: [text: string, want: object | undefined][] = [
    ['https://host/x.git', { url: 'https://host/x.git' }],
    ['https://host/x.git#main', { url: 'https://host/x.git', ref: 'main' }],
    ['https://host/x.git#main:a/b', { url: 'https://host/x.git', ref: 'main', subdir: 'a/b' }],
    ['https://host/x.git#:../../a/./b/', { url: 'https://host/x.git', subdir: 'a/b' }],
    ['https://host/x.git#v1:/', { url: 'https://host/x.git', ref: 'v1' }],
    ['git@host:x/y.git', { url: 'git@host:x/y.git' }],
    ['git@host:x/y#pull/1/head:d', { url: 'git@host:x/y', ref: 'pull/1/head', subdir: 'd' }],
    ['git://host/x#r', { url: 'git://host/x', ref: 'r' }],
    ['ssh://git@host:22/x', { url: 'ssh://git@host:22/x' }],
    ['http://u:p@host/x.git', { url: 'http://u:p@host/x.git' }],
    [
      'https://host/x.git?ref=v1&subdir=d&checksum=abc1234&keep-git-dir=1&submodules=false',
      { url: 'https://host/x.git', ref: 'v1', subdir: 'd', checksum: 'abc1234', keepGitDir: true, submodules: false },
    ],
    ['https://host/x.git?tag=v1', { url: 'https://host/x.git', ref: 'refs/tags/v1' }],
    ['https://host/x.git?branch=b&keep-git-dir', { url: 'https://host/x.git', ref: 'refs/heads/b', keepGitDir: true }],
    [
      'https://host/x.git?fetch-by-commit&mtime=commit&checksum=0123456789012345678901234567890123456789#main',
      { url: 'https://host/x.git', ref: 'main', checksum: '0123456789'.repeat(4), fetchByCommit: true },
    ],
    ['https://host/x', undefined],
    ['https://host/x.tar.gz', undefined],
    ['file:///x.git', undefined],
    ['./x.git', undefined],
    ['/a/b@c:d', undefined],
    ['ext::sh -c true', undefined],
    ['-x@h:y', undefined],
  ];
  for (const [text, want] of cases) {
    it(text, () => {
      const got = parseGitUrl(text);
      assert.deepEqual(got && Object.fromEntries(Object.entries(got).filter(([, value]) => value !== undefined)), want);
    });
  }
  for (const text of [
    'https://host/x.git?nosuch=1',
    'https://host/x.git?ref=',
    'https://host/x.git?ref=a&ref=b',
    'https://host/x.git?ref=a#b',
    'https://host/x.git?submodules=maybe',
    'https://host/x.git?mtime=now',
    'https://host/x.git?fetch-by-commit=1&checksum=abcdef0',
    'https://host/x.git?tag=a&branch=b',
    'https://host/x.git#a..b c',
    'https://host/x.git#--upload-pack=x',
    'https://host/x.git#+refs/heads/*',
  ]) {
    it(`refuses ${text}`, () => assert.throws(() => parseGitUrl(text), { code: 'BAD_GIT_URL' }));
  }
  it('credentials are not repeated', () => {
    assert.equal(
      hideCredentials('https://u:secret@host/x.git and http://t@h'),
      'https://***@host/x.git and http://***@h',
    );
    assert.throws(
      () => parseGitUrl('https://u:secret@host/x.git?no=1'),
      (error: Error) => !error.message.includes('secret'),
    );
  });
});

const noGit =
  spawnSync('git', ['daemon', '--help'], { stdio: 'ignore' }).error === undefined ? false : 'git is not installed';

describe('fetching from git', { skip: noGit }, () => {
  let directory: string;
  let daemon: ChildProcess;
  let base: string;
  let first: string;
  let second: string;
  const env = {
    ...process.env,
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_AUTHOR_NAME: 'a',
    GIT_AUTHOR_EMAIL: 'a@b',
    GIT_COMMITTER_NAME: 'a',
    GIT_COMMITTER_EMAIL: 'a@b',
    GIT_AUTHOR_DATE: '2001-02-03T04:05:06Z',
    GIT_COMMITTER_DATE: '2001-02-03T04:05:06Z',
  };
  const git = (cwd: string, ...args: string[]): string =>
    execFileSync('git', ['-c', 'protocol.file.allow=always', ...args], {
      cwd,
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  let count = 0;
  const fetch = async (text: string, options = {}): Promise<{ commit: string; path: string }> => {
    const path = join(directory, `out${count++}`);
    return { ...(await fetchGit(parseGitUrl(`${base}${text}`)!, path, options)), path };
  };

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'imago-git-'));
    const sub = join(directory, 'srv/sub');
    const repo = join(directory, 'srv/repo');
    for (const path of [sub, join(repo, 'd/e')]) mkdirSync(path, { recursive: true });
    git(sub, 'init', '-q', '-b', 'main');
    writeFileSync(join(sub, 'inner'), 'inner');
    git(sub, 'add', '.');
    git(sub, 'commit', '-q', '-m', 's');
    git(repo, 'init', '-q', '-b', 'main');
    writeFileSync(join(repo, 'a'), 'one');
    writeFileSync(join(repo, 'd/e/run'), '#!');
    chmodSync(join(repo, 'd/e/run'), 0o755);
    symlinkSync('/etc', join(repo, 'out'));
    git(repo, 'add', '.');
    git(repo, 'commit', '-q', '-m', '1');
    first = git(repo, 'rev-parse', 'HEAD');
    git(repo, 'tag', '-a', 'v1', '-m', 'annotated');
    writeFileSync(join(repo, 'a'), 'two');
    git(repo, 'commit', '-q', '-a', '-m', '2');
    second = git(repo, 'rev-parse', 'HEAD');
    const port = await freePort();
    base = `git://127.0.0.1:${port}/`;
    git(repo, 'checkout', '-q', '-b', 'with-sub');
    git(repo, 'submodule', 'add', '-q', sub, 'mod');
    writeFileSync(join(repo, '.gitmodules'), `[submodule "mod"]\n\tpath = mod\n\turl = ${base}sub\n`);
    git(repo, 'commit', '-q', '-a', '-m', '3');
    git(repo, 'checkout', '-q', '-b', 'evil', 'main');
    git(repo, 'checkout', '-q', 'with-sub', '--', 'mod', '.gitmodules');
    writeFileSync(join(repo, '.gitmodules'), `[submodule "mod"]\n\tpath = mod\n\turl = ${sub}\n`);
    git(repo, 'commit', '-q', '-a', '-m', '4');
    git(repo, 'checkout', '-q', '-f', 'main');
    daemon = spawn(
      'git',
      [
        'daemon',
        '--export-all',
        '--reuseaddr',
        '--listen=127.0.0.1',
        `--port=${port}`,
        `--base-path=${join(directory, 'srv')}`,
      ],
      { env, stdio: 'ignore', detached: true },
    );
    await listening(port);
  });
  after(async () => {
    if (daemon !== undefined) {
      process.kill(-daemon.pid!, 'SIGKILL');
      await once(daemon, 'close');
    }
    rmSync(directory, { recursive: true, force: true });
  });

  it("the remote's HEAD, without .git, with the commit's time", async () => {
    const old = process.umask(0o077);
    try {
      const { commit, path } = await fetch('repo');
      assert.equal(commit, second);
      assert.deepEqual(readdirSync(path).sort(), ['a', 'd', 'out']);
      assert.equal(readFileSync(join(path, 'a'), 'utf8'), 'two');
      for (const [name, mode] of [
        ['a', 0o644],
        ['d/e', 0o755],
        ['d/e/run', 0o755],
      ] as const) {
        const stat = lstatSync(join(path, name));
        assert.equal(stat.mode & 0o777, mode, name);
        assert.equal(stat.mtimeMs, Date.parse('2001-02-03T04:05:06Z'), name);
      }
    } finally {
      process.umask(old);
    }
  });
  it('a tag, a commit, the start of a commit, a ref in full', async () => {
    for (const ref of ['v1', first, first.slice(0, 10), 'refs/tags/v1']) {
      const { commit, path } = await fetch(`repo#${ref}`);
      assert.equal(commit, first, ref);
      assert.equal(readFileSync(join(path, 'a'), 'utf8'), 'one');
    }
  });
  it('a subdirectory becomes the root', async () => {
    const { path } = await fetch('repo#main:d');
    assert.deepEqual(readdirSync(path), ['e']);
    assert.ok(!existsSync(`${path}.git-tree`));
  });
  it('keeps .git where asked', async () => {
    const { path } = await fetch('repo?keep-git-dir=1');
    assert.equal(git(path, 'rev-parse', 'HEAD'), second);
    assert.equal(git(path, 'status', '--porcelain'), '');
  });
  it('submodules, or none', async () => {
    const { path } = await fetch('repo#with-sub');
    assert.equal(readFileSync(join(path, 'mod/inner'), 'utf8'), 'inner');
    assert.ok(!existsSync(join(path, 'mod/.git')));
    const without = await fetch('repo?ref=with-sub&submodules=0');
    assert.deepEqual(readdirSync(join(without.path, 'mod')), []);
  });
  it('a submodule from a path on this machine is refused', async () => {
    await assert.rejects(fetch('repo#evil'), { code: 'GIT_FAILED', message: /transport 'file' not allowed/ });
  });
  it('checks a checksum, of the commit or of an annotated tag', async () => {
    const tag = git(join(directory, 'srv/repo'), 'rev-parse', 'v1');
    assert.equal((await fetch(`repo?ref=v1&checksum=${first}`)).commit, first);
    assert.equal((await fetch(`repo?ref=v1&checksum=${tag.slice(0, 12)}`)).commit, first);
    await assert.rejects(fetch(`repo?ref=main&checksum=${first}`), { code: 'GIT_CHECKSUM' });
  });
  it('a ref, a directory or a repository that is not there', async () => {
    await assert.rejects(fetch('repo#nosuch'), { code: 'GIT_FAILED', message: /couldn't find remote ref nosuch/ });
    await assert.rejects(fetch('repo#:nosuch'), { code: 'GIT_SUBDIR' });
    await assert.rejects(fetch('repo#:out'), { code: 'GIT_SUBDIR' });
    await assert.rejects(fetch('nosuch'), { code: 'GIT_FAILED', message: /check the URL/ });
  });
  it('ends with its signal', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const stop = new AbortController();
    server.on('connection', () => stop.abort(new Error('enough')));
    await assert.rejects(
      fetchGit({ url: `git://127.0.0.1:${port}/x` }, join(directory, 'never'), { signal: stop.signal }),
      /enough/,
    );
    server.close();
  });
  it('says which package brings git', async () => {
    const { PATH } = process.env;
    process.env.PATH = '/nowhere';
    try {
      await assert.rejects(fetch('repo'), { code: 'GIT_MISSING', message: /apt-get install git/ });
    } finally {
      process.env.PATH = PATH;
    }
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
  const { connect } = await import('node:net');
  for (let i = 0; i < 200; i++) {
    const socket = connect(port, '127.0.0.1');
    const open = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    socket.destroy();
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  assert.fail('git daemon does not listen');
}
