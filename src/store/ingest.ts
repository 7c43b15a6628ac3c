import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { syncDirectory, uniqueName, writeAll } from '../system/atomic.ts';
import { type FileLock, tryLockFile, tryLockIfThere } from '../system/lock.ts';
import { spawnDetached } from '../system/process.ts';
import { blobDirectory, blobPath, layerDirectory } from './layout.ts';
import { isKeptPartial } from './partials.ts';
import type { Store } from './store.ts';

/**
 * A write in flight: a directory under ingest/ that its holder keeps locked. The crash rule lives here: files are
 * synced, renamed to their names, their directories synced; whatever was not renamed goes when it is disposed, or,
 * after a kill, with the next prune.
 */
export class Ingest implements Disposable {
  readonly #store: Store;
  readonly #lock: FileLock;
  readonly directory: string;
  #handedOver = false;

  private constructor(store: Store, directory: string, lock: FileLock) {
    this.#store = store;
    this.directory = directory;
    this.#lock = lock;
  }

  static create(store: Store, kind: string): Ingest {
    // Under the shared lock, so that prune never sees the directory made but not yet locked.
    using _lock = store.lock('shared');
    const directory = join(store.root, 'ingest', `${kind}-${uniqueName()}`);
    mkdirSync(directory, { mode: 0o700 });
    const lock = tryLockFile(directory, 'exclusive');
    if (lock === undefined) throw new Error(`a new directory is locked: ${directory}`);
    return new Ingest(store, directory, lock);
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** A new file, read-only for everybody but this descriptor: what gets a digest's name is never written to again. */
  openFile(name: string): number {
    return openSync(this.path(name), 'wx+', 0o444);
  }

  /** Writes and syncs a small file. */
  writeFile(name: string, bytes: Uint8Array | string): void {
    const fd = this.openFile(name);
    try {
      writeAll(fd, typeof bytes === 'string' ? Buffer.from(bytes) : bytes);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }

  /** Gives a synced file its name. The digest must have been checked, and be held by a lease. */
  publishBlob(name: string, digest: Digest): void {
    renameSync(this.path(name), blobPath(this.#store.root, digest));
    syncDirectory(blobDirectory(this.#store.root, digest));
  }

  /** Gives a synced directory of synced files the name of its layer. False where somebody else was first. */
  publishLayer(name: string, diffId: Digest): boolean {
    try {
      renameSync(this.path(name), layerDirectory(this.#store.root, diffId));
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'ENOTEMPTY' || code === 'EEXIST') return false;
      throw error;
    }
    syncDirectory(join(this.#store.root, 'layers'));
    return true;
  }

  /**
   * Leaves the removing to a process of its own, which holds the lock until it is done: freeing what is cached of
   * large files takes the kernel a tenth of a second a gigabyte. Where none can be started, `dispose` removes.
   */
  discardLater(): void {
    try {
      spawnDetached('/bin/rm', ['rm', '-rf', '--', this.directory], [], this.#lock.fd);
    } catch {
      return;
    }
    this.#handedOver = true;
  }

  [Symbol.dispose](): void {
    try {
      if (this.#handedOver) return;
      rmSync(this.directory, { recursive: true, force: true });
    } finally {
      this.#lock.release();
    }
  }
}

/** Names under ingest/ that end with prune at once: nobody holds them. Call under the exclusive lock. */
export function listAbandoned(root: string): string[] {
  const out: string[] = [];
  for (const entry of readdirSync(join(root, 'ingest'), { withFileTypes: true })) {
    const path = join(root, 'ingest', entry.name);
    if (!entry.isDirectory()) {
      // tmp-* files are written under the shared lock only, so nobody writes this one now.
      out.push(path);
      continue;
    }
    const lock = tryLockIfThere(path, 'exclusive');
    if (lock === 'held' || lock === 'gone') continue;
    lock.release();
    if (!isKeptPartial(path)) out.push(path);
  }
  return out;
}
