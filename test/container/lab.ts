import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ImagoError } from '../../src/core/errors.ts';
import { appendLayer, editConfig, emptyDraft, tarLayer, writeImage } from '../../src/image/draft.ts';
import { defaultPlatform } from '../../src/image/image.ts';
import type { RunConfig } from '../../src/oci/config.ts';
import { findProgram, findRuntime } from '../../src/runtime/find-runtime.ts';
import { ingestLayer } from '../../src/store/ingest-layer.ts';
import { Store } from '../../src/store/store.ts';

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

  /** Nothing of ours may be left running or mounted: throws if something is. */
  [Symbol.dispose](): void {
    const left = processesNaming(this.directory);
    for (const pid of left) process.kill(pid, 'SIGKILL');
    for (const path of mountsBelow(this.directory).reverse()) spawnSync('umount', ['-l', path]);
    rmSync(this.directory, { recursive: true, force: true });
    if (left.length > 0) throw new ImagoError('LEFT_RUNNING', `processes left: ${left.join(', ')}`);
  }
}

export async function runtimeWorks(lab: Lab): Promise<boolean> {
  return (await findRuntime(lab.store.run)).path !== '';
}

export function mountsBelow(directory: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${directory}/`));
}

/** Processes whose command line names the directory, other than this one. */
export function processesNaming(directory: string): number[] {
  const found = spawnSync('grep', ['-lsaF', directory, ...procFiles()], { encoding: 'utf8' });
  return found.stdout
    .split('\n')
    .map((path) => Number(/^\/proc\/(\d+)\//.exec(path)?.[1]))
    .filter((pid) => pid > 0 && pid !== process.pid);
}

function procFiles(): string[] {
  return spawnSync('sh', ['-c', 'ls -d /proc/[0-9]*/cmdline'], { encoding: 'utf8' }).stdout.trim().split('\n');
}
