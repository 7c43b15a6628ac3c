import { closeSync, constants, existsSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { chainIds } from '../oci/chain.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import { closeFd, createMount } from '../system/mount.ts';
import type { Backend } from './backend.ts';
import { mountName, openLayerMounts } from './layer-mounts.ts';
import { checkLayerCount, type Lower, mountOverlay } from './overlay.ts';
import { patchCandidates, planPatches, readPatchRecord, storePatch } from './patch.ts';
import { openPin, type Pin } from './pin.ts';
import { needRoot } from './privilege.ts';
import { chooseBackend, type Probe } from './probe.ts';
import { DEFAULT_ROOT, type RootAttributes, readRootAttributes, writeRootAttributes } from './root-attributes.ts';
import { listStack, notPrepared, type Stack, type StackPart } from './stack.ts';
import { UNPACKED, unpackLayers, unpackPatch } from './unpacked.ts';

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY;

export interface RootfsOptions {
  /** Of the image's layers, the lowest first. */
  diffIds: readonly Digest[];
  /** The writable layer, made by `createUpper`, and an empty directory beside it; without them all is read-only. */
  upper?: string | undefined;
  work?: string | undefined;
  /** An existing directory. */
  target: string;
  /** Skip syncing: for writable layers that a crash may take away. */
  volatile?: boolean | undefined;
  /** Mount it read-only although there is an upper. */
  readonly?: boolean | undefined;
  /** What the readers may have, in bytes, where that is limited. */
  memory?: number | undefined;
  /** Directories of the host to stack between the image's layers and `upper`, the uppermost last. */
  extraLowers?: readonly string[] | undefined;
}

export interface SnapshotterOptions {
  /** Overrides IMAGO_BACKEND and probing. */
  backend?: Backend;
}

/** Makes images' layers mountable and mounts them, in one of three ways (`Backend`). */
export class Snapshotter {
  readonly backend: Backend;
  /** What was found out by trying, for `imago info`. */
  readonly probe: Probe;
  readonly #store: Store;
  #pin: Pin | undefined | null = null;

  constructor(store: Store, backend: Backend, probe: Probe) {
    this.#store = store;
    this.backend = backend;
    this.probe = probe;
  }

  /**
   * Readies an image's layers: patches for what an index cannot know, unpacked trees where the backend needs them.
   * Idempotent, quick when all is there. The caller holds the layers by a lease or a container; where no image or
   * container names the stack as a whole (a build step), its patches need `lease` to be held, too.
   */
  async prepare(diffIds: readonly Digest[], lease?: Lease): Promise<void> {
    const store = this.#store;
    const candidates = patchCandidates(store, diffIds);
    if (candidates.length > 0) await this.#preparePatches(diffIds, candidates, lease);
    if (this.backend === 'unpacked') await unpackLayers(store, diffIds);
    checkLayerCount(listStack(store, diffIds).parts.length);
  }

  async #preparePatches(diffIds: readonly Digest[], candidates: readonly number[], lease?: Lease): Promise<void> {
    const store = this.#store;
    const chains = chainIds(diffIds);
    for (const number of candidates) lease?.add(chains[number]!);
    const missing = candidates.filter((number) => {
      const record = readPatchRecord(store, chains[number]!);
      if (record === undefined) return true;
      return (
        this.backend === 'unpacked' &&
        record.needed &&
        !existsSync(join(store.chainDirectory(chains[number]!), UNPACKED))
      );
    });
    if (missing.length === 0) return;
    for (const planned of planPatches(store, diffIds, missing)) {
      if (readPatchRecord(store, planned.chainId) === undefined) await storePatch(store, planned);
      if (this.backend === 'unpacked' && planned.tree !== undefined) {
        await unpackPatch(store, planned.chainId, planned.tree, diffIds);
      }
    }
  }

  /**
   * Mounts a root file system in the calling thread's mount namespace, which should be private
   * (`enterPrivateNamespace`). Synchronous. After `prepare`. Throws `NEEDS_ROOT`, `TOO_MANY_LAYERS` (before anything
   * is made), `LAYER_MISSING`, `MOUNT_FAILED`, `UPPER_ON_OVERLAY`, `NO_OVERLAY`.
   */
  mountRootfs(options: RootfsOptions): void {
    needRoot('mount a root file system');
    const { passing, passingReason } = this.probe;
    if (passing === undefined) throw noOverlay(passingReason);
    const stack = listStack(this.#store, options.diffIds, options.memory);
    const bare = options.upper === undefined;
    const extra = options.extraLowers ?? [];
    checkLayerCount(stack.parts.length + extra.length + (bare ? 1 : 0));
    const opened: number[] = [];
    try {
      const lowers = this.#openParts(stack.parts).reverse();
      opened.push(...lowers.map((lower) => lower.fd));
      for (const path of extra) {
        const fd = openSync(path, DIRECTORY);
        opened.push(fd);
        lowers.unshift({ fd, detached: false });
      }
      // Shows the root's attributes where no upper does, and an overlay wants two directories at least.
      for (let missing = bare ? 1 : 0; missing > 0 || lowers.length + (bare ? 0 : 1) < 2; missing--) {
        const fd = rootLayer(this.#readRoot(stack));
        opened.push(fd);
        lowers.unshift({ fd, detached: true });
      }
      mountOverlay({ ...options, lowers, readonly: options.readonly === true || bare }, options.target, passing);
    } finally {
      for (const fd of opened) closeFd(fd);
    }
  }

  /** The attributes of an image's root directory, after `prepare`. */
  rootAttributes(diffIds: readonly Digest[]): RootAttributes {
    return this.#readRoot(listStack(this.#store, diffIds));
  }

  /** Makes the directory of a writable layer: empty, with the attributes of the image's root. After `prepare`. */
  createUpper(directory: string, diffIds: readonly Digest[]): void {
    needRoot('make a writable layer');
    mkdirSync(directory, { mode: 0o700 });
    writeRootAttributes(directory, this.rootAttributes(diffIds));
  }

  #openPin(): Pin | undefined {
    if (this.#pin === null) this.#pin = openPin(this.#store.run);
    return this.#pin;
  }

  #readRoot({ root }: Stack): RootAttributes {
    if (root === undefined) return DEFAULT_ROOT;
    const [lower] = this.#openParts([root]);
    try {
      return readRootAttributes(`/proc/thread-self/fd/${lower!.fd}/.`);
    } finally {
      closeFd(lower!.fd);
    }
  }

  /** A descriptor for each part; the caller closes them. */
  #openParts(parts: readonly StackPart[]): Lower[] {
    const { backend } = this;
    if (backend === 'unpacked') return openDirectories(parts);
    const layers = parts.map((part) => ({ ...part, name: mountName(backend, part) }));
    return openLayerMounts(layers, backend, this.#openPin()).map((fd) => ({ fd, detached: true }));
  }
}

/** Probes what works here, or takes what an earlier command found out; cheap. Throws as `chooseBackend`. */
export function openSnapshotter(store: Store, options: SnapshotterOptions = {}): Snapshotter {
  const { backend, probe } = chooseBackend(store, options.backend ?? process.env.IMAGO_BACKEND);
  return new Snapshotter(store, backend, probe);
}

function openDirectories(parts: readonly StackPart[]): Lower[] {
  const out: Lower[] = [];
  try {
    for (const part of parts) out.push({ fd: openUnpacked(part), detached: false });
    return out;
  } catch (error) {
    for (const { fd } of out) closeSync(fd);
    throw error;
  }
}

function openUnpacked(part: StackPart): number {
  try {
    return openSync(join(part.directory, UNPACKED), DIRECTORY | constants.O_NOFOLLOW);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw notPrepared(part.name);
    throw error;
  }
}

/** A detached empty directory with these attributes; the caller closes the descriptor. */
function rootLayer(root: RootAttributes): number {
  const fd = createMount('tmpfs', [['size', '64k']]);
  try {
    writeRootAttributes(`/proc/thread-self/fd/${fd}/.`, root);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

function noOverlay(reason: string | undefined): ImagoError {
  return new ImagoError('NO_OVERLAY', 'overlay file systems cannot be mounted here', {
    op: 'mount',
    got: reason,
    remedy: "load the kernel's overlay module, and run outside of containers that forbid mounts",
    exitCode: 125,
  });
}
