/** Files over HTTP, and repositories as git's dumb protocol has them. */
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BuildLab, Files } from './lab.ts';

export interface Answer {
  body: Uint8Array | string;
  headers?: Record<string, string>;
}

export class FileServer implements AsyncDisposable {
  readonly answers: Map<string, Answer> = new Map();
  /** Paths, in the order in which they were asked for. */
  readonly asked: string[] = [];
  readonly #server = createServer(({ url }, response) => {
    const path = decodeURI(url!.replace(/\?.*/, ''));
    this.asked.push(path);
    const answer = this.answers.get(path) ?? this.#file(path);
    if (answer === undefined) return void response.writeHead(404).end();
    response.writeHead(200, answer.headers).end(answer.body);
  });
  #directory: string | undefined;

  static async start(directory?: string): Promise<FileServer> {
    const server = new FileServer();
    server.#directory = directory;
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  #file(path: string): Answer | undefined {
    if (this.#directory === undefined) return undefined;
    try {
      return { body: readFileSync(join(this.#directory, path)) };
    } catch {
      return undefined;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }
}

export const noGit: string | false =
  spawnSync('git', ['--version'], { stdio: 'ignore' }).status === 0 ? false : 'git is not installed';

export interface RepositoryOptions {
  format?: 'sha1' | 'sha256';
  /** Of the commit, in seconds since 1970. */
  time?: number;
  tag?: string;
}

/** Why there can be no repository with names of SHA-256: git has them since 2.29. */
export function whyNoSha256(): string | false {
  if (noGit) return noGit;
  const directory = mkdtempSync(join(tmpdir(), 'imago-sha256-'));
  try {
    const { status } = spawnSync('git', ['init', '-q', '--object-format=sha256', directory], { stdio: 'ignore' });
    return status === 0 ? false : "git has no '--object-format=sha256'";
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/**
 * A repository with one commit below `directory`, to be fetched by its `.git`; gives the commit. Called again, it adds
 * one; `tag` names it.
 */
export function makeRepository(
  lab: BuildLab,
  directory: string,
  files: Files,
  { format = 'sha1', time = 1_000_000_000, tag }: RepositoryOptions = {},
): string {
  mkdirSync(directory, { recursive: true });
  lab.write(files, directory);
  const date = `@${time} +0200`;
  const env = {
    ...process.env,
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_AUTHOR_NAME: 'a',
    GIT_AUTHOR_EMAIL: 'a@b',
    GIT_COMMITTER_NAME: 'a',
    GIT_COMMITTER_EMAIL: 'a@b',
    // The author's time is another one: the committer's counts.
    GIT_AUTHOR_DATE: '@5 +0000',
    GIT_COMMITTER_DATE: date,
  };
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: directory, env, encoding: 'utf8' }).trim();
  git('init', '-q', '-b', 'main', `--object-format=${format}`);
  git('add', '-A');
  git('commit', '-q', '-m', 'first');
  if (tag !== undefined) git('tag', tag);
  git('update-server-info');
  return git('rev-parse', 'HEAD');
}
