import { type ChildProcess, spawn } from 'node:child_process';
import { lstatSync, lutimesSync, mkdirSync, readdirSync, realpathSync, renameSync, rmSync } from 'node:fs';
import { join, sep } from 'node:path';
import { ImagoError } from '../core/errors.ts';
import { type GitSource, hideCredentials } from './git-url.ts';

const KEPT_COMPLAINT = 4096;
const SHA256: readonly string[] = ['--object-format=sha256'];
const COMMIT = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;

/** Nothing of the user's or the machine's configuration: no hooks, no helpers, no prompts. */
const SETTINGS: readonly string[] = [
  'core.hooksPath=/dev/null',
  'core.fsmonitor=false',
  'core.autocrlf=false',
  'core.symlinks=true',
  'core.attributesFile=/dev/null',
  'credential.helper=',
  'gc.auto=0',
  'init.defaultBranch=main',
  'advice.detachedHead=false',
].flatMap((setting) => ['-c', setting]);

const PASSED = /^(?:https?_proxy|no_proxy|all_proxy|SSH_AUTH_SOCK|SSL_CERT_(?:FILE|DIR)|GIT_SSL_CAINFO)$/i;

export interface GitOptions {
  signal?: AbortSignal | undefined;
  /** Of the header for the URL's own scheme, host and port. Shown and kept nowhere. */
  authorization?: string | undefined;
}

export interface FetchedCommit {
  /** In full. */
  commit: string;
  /** When it was committed, in seconds since 1970. */
  time: number;
}

/**
 * Fetches one commit of a repository, no deeper than the remote allows, into `into`, a directory that is made if it
 * is missing and must be empty, and its submodules. Files have the commit's time and modes that no umask shapes.
 * Without `keepGitDir`, and always where a subdir is asked for, there is no `.git`.
 * Throws `GIT_MISSING`, `GIT_FAILED`, `GIT_CHECKSUM`, `GIT_SUBDIR` and the signal's reason.
 */
export async function fetchGit(source: GitSource, into: string, options: GitOptions = {}): Promise<FetchedCommit> {
  const tree = source.subdir === undefined ? into : `${into}.git-tree`;
  mkdirSync(tree, { recursive: true });
  try {
    const git = new GitCommands(tree, source, options);
    const commit = await initAndFetch(git, source, tree);
    checkCommit(source, commit.tips);
    await git.run('checkout', '-q', '--detach', commit.id);
    if (source.submodules !== false) {
      await git.run('submodule', '--quiet', 'update', '--init', '--recursive', '--depth=1');
    }
    const time = Number(await git.run('log', '-1', '--format=%ct', commit.id));
    if (source.keepGitDir === true && source.subdir === undefined) {
      await git.run('remote', 'add', 'origin', withoutCredentials(source.url));
      rmSync(join(tree, '.git', 'FETCH_HEAD'), { force: true });
    } else removeGitDirs(tree);
    if (source.subdir !== undefined) takeSubdir(tree, source.subdir, into);
    setTimes(into, time);
    return { commit: commit.id, time };
  } finally {
    if (tree !== into) rmSync(tree, { recursive: true, force: true });
  }
}

/**
 * A repository of either kind of names, SHA-1 or SHA-256 (gitformat-hash-function-transition(5)): git fetches into
 * one of the same kind only, and which one it is shows in what is asked for, or in what git says.
 */
async function initAndFetch(git: GitCommands, source: GitSource, tree: string): Promise<FoundCommit> {
  const long = [source.ref, source.checksum].some((text) => /^[0-9a-f]{64}$/i.test(text ?? ''));
  await git.run('init', '-q', ...(long ? SHA256 : []), '.');
  try {
    return await fetchCommit(git, source);
  } catch (error) {
    const other =
      error instanceof ImagoError && /mismatched algorithms|bad revision '[0-9a-f]{64}'/.test(error.message);
    if (long || !other || git.aborted) throw error;
    rmSync(join(tree, '.git'), { recursive: true });
    await git.run('init', '-q', ...SHA256, '.');
    return await fetchCommit(git, source);
  }
}

interface FoundCommit {
  id: string;
  tips: string[];
}

/** The commit, and what its ref points to: an annotated tag has a hash of its own. */
async function fetchCommit(git: GitCommands, { url, ref, checksum, fetchByCommit }: GitSource): Promise<FoundCommit> {
  const wanted = (fetchByCommit === true ? checksum : undefined) ?? ref ?? 'HEAD';
  try {
    await git.run('fetch', '-q', '--depth=1', '--no-tags', '--', url, wanted);
    return await resolve(git, 'FETCH_HEAD');
  } catch (error) {
    if (!(error instanceof ImagoError) || error.code !== 'GIT_FAILED' || git.aborted) throw error;
    // Old servers know no shallow fetches and give no commit by its hash, and none takes a short one.
    const all = ['+refs/heads/*:refs/remotes/origin/*', '+refs/tags/*:refs/tags/*'];
    if (!/shallow|depth|not our ref|unadvertised|couldn't find remote ref/.test(error.message)) throw error;
    const hash = /^[0-9a-f]{4,64}$/.test(wanted);
    if (/couldn't find remote ref/.test(error.message) && !hash) throw error;
    await git.run('fetch', '-q', '--no-tags', '--', url, ...(hash ? all : [wanted]));
    return resolve(git, hash ? wanted : 'FETCH_HEAD');
  }
}

async function resolve(git: GitCommands, name: string): Promise<FoundCommit> {
  const tip = await git.run('rev-parse', '--verify', '-q', '--end-of-options', name);
  const id = await git.run('rev-parse', '--verify', '-q', '--end-of-options', `${name}^{commit}`);
  if (!COMMIT.test(id)) throw new ImagoError('GIT_FAILED', 'git named no commit', { got: id.slice(0, 100) });
  return { id, tips: [id, tip] };
}

function checkCommit({ url, checksum }: GitSource, tips: readonly string[]): void {
  if (checksum === undefined) return;
  const wanted = checksum.toLowerCase();
  if (/^[0-9a-f]{7,64}$/.test(wanted) && tips.some((tip) => tip.startsWith(wanted))) return;
  throw new ImagoError('GIT_CHECKSUM', 'the repository has another commit there', {
    ref: hideCredentials(url),
    want: checksum,
    got: tips[0],
    remedy: 'name the commit itself as the ref, or give the checksum of what is there now',
  });
}

/** Runs git in one directory, with one environment. */
class GitCommands {
  readonly #directory: string;
  readonly #source: GitSource;
  readonly #signal: AbortSignal | undefined;
  readonly #env: Record<string, string>;
  readonly #authorization: string | undefined;

  constructor(directory: string, source: GitSource, { signal, authorization }: GitOptions) {
    this.#directory = directory;
    this.#source = source;
    this.#signal = signal;
    this.#authorization = authorization;
    this.#env = { ...gitEnvironment(), ...headerEnvironment(source.url, authorization) };
  }

  get aborted(): boolean {
    return this.#signal?.aborted === true;
  }

  async run(...args: string[]): Promise<string> {
    this.#signal?.throwIfAborted();
    // The umask shapes the modes of what is checked out.
    const script = 'umask 022; exec git "$@"';
    const child = spawn('/bin/sh', ['-c', script, 'sh', ...SETTINGS, ...args], {
      cwd: this.#directory,
      env: this.#env,
      stdio: ['ignore', 'pipe', 'pipe'],
      // Its helpers end with it, and a terminal's Ctrl-C is for this process.
      detached: true,
    });
    const { status, output, complaint } = await ended(child, this.#signal);
    this.#signal?.throwIfAborted();
    if (status === 0) return output.trim();
    if (status === 127) {
      throw new ImagoError('GIT_MISSING', 'git is needed for this repository, and not installed', {
        ref: hideCredentials(this.#source.url),
        remedy: "install it with 'apt-get install git'",
      });
    }
    const why = this.#hide(complaint.trim()).replace(/\s*\n\s*/g, '; ');
    throw new ImagoError('GIT_FAILED', `git ${args[0]} failed: ${why || `exit status ${status}`}`, {
      ref: hideCredentials(this.#source.url),
      remedy: 'check the URL and the ref, and that the repository can be read without a prompt',
    });
  }

  /** What a server says of the header may be the header. */
  #hide(text: string): string {
    const shown = hideCredentials(text);
    const words = this.#authorization?.split(' ').slice(-1) ?? [];
    return words.reduce((all, word) => all.replaceAll(word, 'xxxxx'), shown);
  }
}

/** In the environment: everybody sees the arguments of a command. */
function headerEnvironment(url: string, authorization: string | undefined): Record<string, string> {
  if (authorization === undefined) return {};
  return {
    GIT_CONFIG_COUNT: '1',
    GIT_CONFIG_KEY_0: `http.${new URL(url).origin}/.extraHeader`,
    GIT_CONFIG_VALUE_0: `Authorization: ${authorization}`,
  };
}

function gitEnvironment(): Record<string, string> {
  const passed = Object.entries(process.env).filter(([name, value]) => PASSED.test(name) && value !== undefined);
  return {
    ...(Object.fromEntries(passed) as Record<string, string>),
    PATH: process.env.PATH ?? '/usr/local/bin:/usr/bin:/bin',
    HOME: '/dev/null',
    LC_ALL: 'C',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '/bin/false',
    GIT_ALLOW_PROTOCOL: 'http:https:git:ssh',
    GIT_PROTOCOL_FROM_USER: '0',
    // The user's own keys and known hosts; whatever would ask fails instead.
    GIT_SSH_COMMAND: 'ssh -o BatchMode=yes',
    // A repository around the directory is none of ours.
    GIT_CEILING_DIRECTORIES: '/',
    GIT_LFS_SKIP_SMUDGE: '1',
  };
}

async function ended(
  child: ChildProcess,
  signal: AbortSignal | undefined,
): Promise<{ status: number; output: string; complaint: string }> {
  let output = '';
  let complaint = '';
  child.stdout!.setEncoding('utf8').on('data', (text: string) => {
    output = (output + text).slice(0, KEPT_COMPLAINT);
  });
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-KEPT_COMPLAINT);
  });
  const abort = (): void => {
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {
      // It has ended.
    }
  };
  signal?.addEventListener('abort', abort, { once: true });
  try {
    const status = await new Promise<number>((settle, reject) => {
      child.once('error', reject);
      child.once('close', (code) => settle(code ?? 255));
    });
    return { status, output, complaint };
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

function withoutCredentials(url: string): string {
  return url.replace(/^([a-z]+:\/\/)[^/@]*@/i, (all, scheme: string) => (/^ssh/i.test(scheme) ? all : scheme));
}

/** Its own, and those of submodules: git itself takes no other file of that name into a repository. */
function removeGitDirs(directory: string | Buffer): void {
  for (const entry of readdirSync(directory, { withFileTypes: true, encoding: 'buffer' })) {
    const path = joinBytes(directory, entry.name);
    if (entry.name.toString('latin1') === '.git') rmSync(path, { recursive: true, force: true });
    else if (entry.isDirectory()) removeGitDirs(path);
  }
}

function joinBytes(directory: string | Buffer, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(directory as string), Buffer.from('/'), name]);
}

function takeSubdir(tree: string, subdir: string, into: string): void {
  let found: string | undefined;
  try {
    found = realpathSync(join(tree, subdir));
  } catch {
    // Told below.
  }
  const root = realpathSync(tree);
  const inside = found?.startsWith(root + sep);
  if (inside !== true || !lstatSync(found!).isDirectory()) {
    throw new ImagoError('GIT_SUBDIR', 'the repository has no such directory', { path: subdir });
  }
  rmSync(into, { recursive: true, force: true });
  renameSync(found!, into);
}

/** Of everything: when it was checked out means nothing. */
function setTimes(directory: string | Buffer, time: number): void {
  for (const entry of readdirSync(directory, { withFileTypes: true, encoding: 'buffer' })) {
    const path = joinBytes(directory, entry.name);
    if (entry.isDirectory()) setTimes(path, time);
    lutimesSync(path, time, time);
  }
  lutimesSync(directory, time, time);
}
