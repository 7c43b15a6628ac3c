import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { bindMount } from '../runtime/default-mounts.ts';
import type { SpecMount } from '../runtime/spec-types.ts';
import { openSnapshotter } from '../snapshot/snapshotter.ts';
import type { Store } from '../store/store.ts';
import { SystemError } from '../system/call.ts';
import { openConfined } from '../system/confined.ts';
import { attachMount, cloneMount, closeFd, createMount, MNT_DETACH, umount } from '../system/mount.ts';
import { type AgentProxy, startAgentProxy } from './agent-proxy.ts';
import type { MountPoint } from './mountpoints.ts';

interface Ownership {
  uid: number;
  gid: number;
  mode: number;
}

/** A mount of a step. `target` is absolute and cleaned; outer ones come before inner ones. */
export type StepMount = { target: string; readonly: boolean } & (
  | {
      type: 'layers';
      diffIds: readonly Digest[];
      /** Absolute, in the layers. */
      source: string;
      /** Takes what is written, where anything may be: two paths beside the step's own `upper`. */
      scratch?: { upper: string; work: string };
    }
  | {
      type: 'directory';
      path: string;
      /** Absolute, in the directory. */
      source: string;
      /** Where `path` is not there: what it is made of. */
      initial?: { diffIds: readonly Digest[]; source: string; owner: Partial<Ownership> };
    }
  | { type: 'tmpfs'; size: number }
  | ({ type: 'secret'; content: Uint8Array } & Ownership)
  | ({ type: 'agent'; socket: string } & Ownership)
);

const O_PATH = 0o10000000;

/** The step's mounts for the runtime, their sources mounted below `directory`. */
export class StepMounts {
  readonly mounts: SpecMount[] = [];
  readonly points: MountPoint[] = [];
  readonly #store: Store;
  readonly #directory: string;
  readonly #mounted: string[] = [];
  readonly #proxies: AgentProxy[] = [];
  #count = 0;

  constructor(store: Store, directory: string) {
    this.#store = store;
    this.#directory = directory;
  }

  /** Readies the layers; to be awaited before `add`. */
  static async prepare(store: Store, mounts: readonly StepMount[]): Promise<void> {
    for (const mount of mounts) {
      const layers = mount.type === 'layers' ? mount : mount.type === 'directory' ? mount.initial : undefined;
      if (layers !== undefined) await openSnapshotter(store).prepare(layers.diffIds);
    }
  }

  /** In the step's own mount namespace. Throws `MOUNT_SOURCE_NOT_FOUND`, and what `mountRootfs` throws. */
  async add(mounts: readonly StepMount[]): Promise<void> {
    for (const mount of mounts) await this.#add(mount);
  }

  /** Nothing of it stays in this thread's namespace. */
  release(): void {
    for (const proxy of this.#proxies) proxy.close();
    for (const place of this.#mounted.reverse()) detach(place);
    this.#mounted.length = 0;
  }

  async #add(mount: StepMount): Promise<void> {
    const { target, readonly } = mount;
    switch (mount.type) {
      case 'tmpfs': {
        const size = mount.size > 0 ? [`size=${mount.size}`] : [];
        const options = ['nosuid', ...size, ...(readonly ? ['ro'] : [])];
        this.mounts.push({ destination: target, type: 'tmpfs', source: 'tmpfs', options });
        // The runtime gives a tmpfs the mode of its mount point.
        this.points.push({ path: target, directory: true, mode: 0o1777 });
        return;
      }
      case 'layers': {
        const root = this.#mountLayers(mount.diffIds, mount.scratch);
        this.#bind(mount, this.#below(root, mount.source, mount.target));
        return;
      }
      case 'directory':
        if (mount.initial !== undefined) await this.#fill(mount.path, mount.initial);
        this.#bind(mount, this.#below(mount.path, mount.source, mount.target));
        return;
      case 'secret':
        this.#bind(mount, { path: this.#writeSecret(mount), directory: false }, ['nosuid', 'nodev', 'noexec']);
        return;
      case 'agent': {
        const path = join(this.#place(), 's');
        this.#proxies.push(await startAgentProxy(path, mount.socket, mount));
        this.#bind(mount, { path, directory: false });
      }
    }
  }

  #bind({ target, readonly }: StepMount, source: MountPoint, options: readonly string[] = []): void {
    this.mounts.push(bindMount(source.path, target, [...(readonly ? ['ro'] : []), ...options]));
    this.points.push({ path: target, directory: source.directory });
  }

  #place(): string {
    const place = join(this.#directory, String(this.#count++));
    mkdirSync(place, { recursive: true, mode: 0o711 });
    return place;
  }

  #mountLayers(diffIds: readonly Digest[], scratch?: { upper: string; work: string }): string {
    const place = this.#place();
    const snapshotter = openSnapshotter(this.#store);
    if (scratch !== undefined) {
      snapshotter.createUpper(scratch.upper, diffIds);
      mkdirSync(scratch.work, { mode: 0o700 });
    }
    snapshotter.mountRootfs({ diffIds, target: place, ...scratch, volatile: scratch !== undefined });
    this.#mounted.push(place);
    return place;
  }

  /** A mount of what `source` leads to inside of `root`, whatever others make of the path meanwhile. */
  #below(root: string, source: string, target: string): MountPoint {
    if (source === '/') return { path: root, directory: true };
    const found = openBelow(root, source, target);
    try {
      const directory = fstatSync(found).isDirectory();
      const place = directory ? this.#place() : join(this.#place(), 'file');
      if (!directory) writeFileSync(place, '');
      const clone = cloneMount(`/proc/thread-self/fd/${found}`);
      try {
        attachMount(clone, place);
      } finally {
        closeFd(clone);
      }
      this.#mounted.push(place);
      return { path: place, directory };
    } finally {
      closeSync(found);
    }
  }

  #writeSecret({ content, uid, gid, mode }: { content: Uint8Array } & Ownership): string {
    const path = join(this.#place(), 'secret');
    writeFileSync(path, content, { mode: 0o600 });
    chownSync(path, uid, gid);
    chmodSync(path, mode);
    return path;
  }

  /** Copies a directory of layers to `path`, all of it or nothing; another step may do the same. */
  async #fill(path: string, initial: NonNullable<Extract<StepMount, { type: 'directory' }>['initial']>): Promise<void> {
    if (existsSync(path)) return;
    const { spawnSync } = await import('node:child_process');
    const { path: source, directory } = this.#below(this.#mountLayers(initial.diffIds), initial.source, path);
    if (!directory) throw notFound(initial.source, 'is no directory');
    const made = mkdtempSync(join(dirname(path), 'data-'));
    try {
      const { status, stderr } = spawnSync('cp', ['-a', '--', `${source}/.`, made], { encoding: 'utf8' });
      if (status !== 0) {
        const got = stderr.trim().split('\n')[0];
        throw new ImagoError('CACHE_NOT_MADE', 'cannot copy what a cache mount starts with', {
          path: initial.source,
          got,
        });
      }
      const { uid = -1, gid = -1, mode } = initial.owner;
      if (uid !== -1 || gid !== -1) chownSync(made, uid, gid);
      if (mode !== undefined) chmodSync(made, mode);
      renameSync(made, path);
    } catch (error) {
      rmSync(made, { recursive: true, force: true });
      if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
}

/**
 * A tmpfs over `directory` in this thread's namespace: what is written there is on no disk, and gone with the last
 * process of the namespace. Not even in swap, where the kernel knows how (Linux 6.4).
 */
export function hideDirectory(directory: string): void {
  const make = (options: string[]): number => createMount('tmpfs', [['mode', '0700'], ...options]);
  let fd: number;
  try {
    fd = make(['noswap']);
  } catch {
    fd = make([]);
  }
  try {
    attachMount(fd, directory);
  } finally {
    closeFd(fd);
  }
}

/** Takes a mount off this thread's namespace; nothing happens where there is none. */
export function detach(place: string): void {
  try {
    umount(place, MNT_DETACH);
  } catch (error) {
    if (!(error instanceof SystemError && ['EINVAL', 'ENOENT'].includes(error.code))) throw error;
  }
}

function openBelow(root: string, source: string, target: string): number {
  const fd = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return openConfined(fd, source, O_PATH);
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    throw notFound(source, `is not there to be mounted at ${target}: ${error.code}`);
  } finally {
    closeSync(fd);
  }
}

function notFound(source: string, problem: string): ImagoError {
  return new ImagoError('MOUNT_SOURCE_NOT_FOUND', `${JSON.stringify(source)} ${problem}`);
}
