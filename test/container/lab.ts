import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { appendLayer, editConfig, emptyDraft, tarLayer, writeImage } from '../../src/image/draft.ts';
import { defaultPlatform } from '../../src/image/image.ts';
import type { RunConfig } from '../../src/oci/config.ts';
import { findProgram } from '../../src/runtime/find-runtime.ts';
import { ingestLayer } from '../../src/store/ingest-layer.ts';
import { Store } from '../../src/store/store.ts';

const MAIN = join(import.meta.dirname, '../../src/cli/main.ts');

export interface Outcome {
  status: number | string;
  stdout: string;
  stderr: string;
}

/** What a person at a terminal does: read until something shows up, then type. */
export class Terminal {
  readonly #child: ChildProcess;
  #shown = '';
  #ended: number | null | undefined;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout!.on('data', (chunk) => {
      this.#shown += chunk;
    });
    child.once('close', (code) => {
      this.#ended = code;
    });
  }

  /** Types `keys` as soon as `pattern` is on the screen; what was there is then forgotten. */
  async type(pattern: RegExp, keys: string): Promise<string> {
    const shown = await this.see(pattern);
    this.#child.stdin!.write(keys);
    return shown;
  }

  async see(pattern: RegExp): Promise<string> {
    await this.#wait(String(pattern), () => pattern.test(this.#shown));
    const shown = this.#shown;
    this.#shown = '';
    return shown;
  }

  /** What the shell line ended with. */
  async status(): Promise<number | null> {
    await this.#wait('the end', () => this.#ended !== undefined);
    return this.#ended!;
  }

  async #wait(what: string, check: () => boolean): Promise<void> {
    for (let waited = 0; !check(); waited += 20) {
      if (waited > 15_000) {
        this.#child.kill('SIGKILL');
        throw new Error(`waited in vain for ${what}; on the screen: ${JSON.stringify(this.#shown)}`);
      }
      await sleep(20);
    }
  }
}

/** Why containers cannot be run here, or undefined. */
export function skipContainers(): string | undefined {
  if (process.geteuid?.() !== 0) return 'needs root';
  if (findProgram('runc') === undefined && findProgram('crun') === undefined) return 'needs runc or crun';
  if (findProgram('conmon') === undefined) return 'needs conmon';
  return busyboxPath() === undefined ? 'needs a static busybox (package busybox-static)' : undefined;
}

function busyboxPath(): string | undefined {
  const path = findProgram('busybox');
  if (path === undefined) return undefined;
  // A dynamic one would need its libraries in the image.
  return readFileSync(path).includes('/ld-linux') || readFileSync(path).includes('/ld-musl') ? undefined : path;
}

/** A store of its own in a temporary directory, with images made of the host's busybox. */
export class Lab implements Disposable {
  readonly directory: string;
  readonly store: Store;

  constructor() {
    this.directory = mkdtempSync(join(tmpdir(), 'imago-container-'));
    this.store = Store.open({ root: join(this.directory, 'root'), run: join(this.directory, 'run') });
  }

  /** An image with busybox, /etc/passwd and whatever `fill` puts into its root. */
  async image(name: string, config: RunConfig = {}, fill?: (root: string) => void): Promise<void> {
    const root = join(this.directory, `image-${name.replace(/\W/g, '-')}`);
    for (const path of ['bin', 'etc', 'tmp', 'root', 'dev', 'proc', 'sys'])
      mkdirSync(join(root, path), { recursive: true });
    spawnSync('cp', [busyboxPath()!, join(root, 'bin/busybox')]);
    const list = spawnSync(join(root, 'bin/busybox'), ['--list'], { encoding: 'utf8' });
    for (const applet of list.stdout.trim().split('\n')) {
      if (applet !== 'busybox') symlinkSync('busybox', join(root, 'bin', applet));
    }
    writeFileSync(join(root, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\nann:x:1000:1001:Ann:/home/ann:/bin/sh\n');
    writeFileSync(join(root, 'etc/group'), 'root:x:0:\nann:x:1001:\nwheel:x:10:ann,root\nvideo:x:44:ann\n');
    for (const file of ['hosts', 'hostname', 'resolv.conf']) writeFileSync(join(root, 'etc', file), '');
    fill?.(root);
    await this.imageOf(name, root, config);
    rmSync(root, { recursive: true });
  }

  /** An image of one layer with what is in a directory. */
  async imageOf(name: string, root: string, config: RunConfig): Promise<void> {
    const tar = join(this.directory, 'layer.tar');
    const made = spawnSync('tar', ['-C', root, '--numeric-owner', '--owner=0', '--group=0', '-cf', tar, '.']);
    if (made.status !== 0) throw new Error(String(made.stderr));
    using lease = this.store.lease('test');
    const layer = await ingestLayer(this.store, lease, { path: tar });
    rmSync(tar);
    const step = { created: '2026-01-02T03:04:05Z', created_by: 'test' };
    const draft = editConfig(appendLayer(emptyDraft(defaultPlatform()), tarLayer(layer), step), config);
    const reference = `docker.io/library/${name.includes(':') ? name : `${name}:latest`}`;
    this.store.setRef(reference, writeImage(this.store, lease, draft).descriptor);
  }

  /** Runs `imago WORDS` on this store to its end. */
  imago(words: string[], options: { input?: string; env?: NodeJS.ProcessEnv } = {}): Outcome {
    const { status, signal, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...words], {
      encoding: 'utf8',
      input: options.input ?? '',
      env: { ...this.env, ...options.env },
      timeout: 30_000,
    });
    return { status: status ?? `killed by ${signal}`, stdout, stderr };
  }

  /** Starts `imago WORDS`, with pipes. */
  spawn(words: string[]): ChildProcess {
    return spawn(process.execPath, [MAIN, ...words], { env: this.env, stdio: ['pipe', 'pipe', 'pipe'] });
  }

  /** Starts a shell line in a terminal of its own, of 30 rows and 90 columns; `imago` is the program in it. */
  terminal(line: string): Terminal {
    const command = `stty rows 30 cols 90; imago() { '${process.execPath}' '${MAIN}' "$@"; }; ${line}`;
    return new Terminal(spawn('script', ['-qefc', command, '/dev/null'], { env: this.env }));
  }

  get env(): NodeJS.ProcessEnv {
    return { ...process.env, IMAGO_ROOT: this.store.root, IMAGO_RUN: this.store.run, SHELL: '/bin/sh' };
  }

  /** Waits until `check` holds. */
  async until(what: string, check: () => boolean): Promise<void> {
    for (let waited = 0; !check(); waited += 20) {
      if (waited > 15_000) throw new Error(`waited in vain: ${what}`);
      await sleep(20);
    }
  }

  /** Nothing of ours may be left running or mounted, the pinned namespace aside: throws if something is. */
  [Symbol.dispose](): void {
    // What cleans up after a container may still be at it.
    for (let waited = 0; processesNaming(this.directory).length > 0 && waited < 5000; waited += 50) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
    }
    const left = processesNaming(this.directory);
    for (const { pid } of left) process.kill(pid, 'SIGKILL');
    const mounts = mountsBelow(this.directory);
    for (const path of mounts.toReversed()) spawnSync('umount', ['-l', path]);
    rmSync(this.directory, { recursive: true, force: true });
    const foreign = mounts.filter((path) => !path.startsWith(join(this.store.run, 'mnt')));
    if (left.length > 0 || foreign.length > 0) {
      throw new Error(`left behind: ${[...left.map(({ command }) => command), ...foreign].join(', ')}`);
    }
  }
}

export function mountsBelow(directory: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${directory}/`));
}

/** Processes whose command line names the directory. */
function processesNaming(directory: string): { pid: number; command: string }[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^[0-9]+$/.test(name) || Number(name) === process.pid) return [];
    try {
      const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ');
      return command.includes(directory) ? [{ pid: Number(name), command }] : [];
    } catch {
      return [];
    }
  });
}
