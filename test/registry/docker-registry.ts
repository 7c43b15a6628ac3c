import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Why Debian's docker-registry cannot be used; undefined where it can. */
export const dockerRegistryMissing: string | undefined =
  spawnSync('docker-registry', ['--version'], { stdio: 'ignore' }).status === 0
    ? undefined
    : 'docker-registry is not installed';

/** A docker-registry on a port of its own, with its files in a temporary directory. */
export class DockerRegistry implements AsyncDisposable {
  readonly host: string;
  readonly #child: ChildProcess;
  readonly #directory: string;

  private constructor(child: ChildProcess, directory: string, host: string) {
    this.#child = child;
    this.#directory = directory;
    this.host = host;
  }

  static async start(): Promise<DockerRegistry> {
    const directory = mkdtempSync(join(tmpdir(), 'imago-docker-registry-'));
    const config = join(directory, 'config.yml');
    writeFileSync(
      config,
      `version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: ${directory}/data}, delete: {enabled: true}}\nhttp: {addr: '127.0.0.1:0'}\n`,
    );
    const child = spawn('docker-registry', ['serve', config], { stdio: ['ignore', 'ignore', 'pipe'] });
    let text = '';
    child.stderr.on('data', (chunk: Buffer) => {
      if (text.length < 100_000) text += chunk.toString();
    });
    for (;;) {
      const port = /listening on 127\.0\.0\.1:(\d+)/.exec(text)?.[1];
      if (port !== undefined) return new DockerRegistry(child, directory, `127.0.0.1:${port}`);
      if (child.exitCode !== null) throw new Error(`docker-registry ended: ${text}`);
      await Promise.race([once(child.stderr, 'data'), once(child, 'exit')]);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
