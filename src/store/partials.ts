import { chmodSync, fstatSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type Digest, digestHex } from '../core/digest.ts';
import { type FileLock, tryLockFile } from '../system/lock.ts';
import { explainWrites } from './errors.ts';
import type { Store } from './store.ts';

const PREFIX = 'partial-';
const DATA = 'data';
/** How long the bytes of a download that broke off are worth keeping. */
const KEPT_MS = 6 * 3600_000;
/** Fewer bytes are not worth a request for the rest. */
const SMALLEST = 64 * 1024;

/**
 * What has come of a blob that is being downloaded: ROOT/ingest/partial-<hex>/data, under its holder's flock. It
 * outlives its holder, however that ends, so that the next download goes on where this one broke off; after six hours
 * it is garbage. Nothing vouches for the bytes: a crash of the machine may have torn them, so they are hashed again.
 */
export class Partial implements Disposable {
  readonly #directory: string;
  readonly #lock: FileLock;
  readonly path: string;
  /** Bytes that an earlier download left. */
  readonly length: number;

  private constructor(directory: string, lock: FileLock, size: number) {
    this.#directory = directory;
    this.#lock = lock;
    this.path = join(directory, DATA);
    const kept = sizeOf(this.path);
    // More than there can be is nothing of this blob.
    this.length = kept < SMALLEST || kept > size ? 0 : kept;
  }

  /** Undefined where somebody else is downloading this blob. `size` is the whole blob's, in bytes. */
  static open(store: Store, { digest, size }: { digest: Digest; size: number }): Partial | undefined {
    // Under the shared lock, so that prune never sees the directory made but not yet locked.
    using _lock = store.lock('shared');
    const directory = directoryOf(store, digest);
    return explainWrites(store.root, () => {
      mkdirSync(directory, { recursive: true, mode: 0o700 });
      const lock = tryLockFile(directory, 'exclusive');
      if (lock === undefined) return undefined;
      if (statSync(directory, { throwIfNoEntry: false })?.ino === fstatSync(lock.fd).ino) {
        return new Partial(directory, lock, size);
      }
      // Its holder took it away just now, and so is done.
      lock.release();
      return undefined;
    });
  }

  /** Bytes that there are by now of a blob that somebody is downloading. */
  static lengthOf(store: Store, digest: Digest): number {
    return sizeOf(join(directoryOf(store, digest), DATA));
  }

  /** Gives the file away, whole and synced by the caller. */
  moveTo(path: string): void {
    chmodSync(this.path, 0o444);
    renameSync(this.path, path);
  }

  /** Nobody needs the bytes any more. */
  discard(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** Leaves what is worth it to the next one. */
  [Symbol.dispose](): void {
    try {
      if (sizeOf(this.path) < SMALLEST) this.discard();
    } finally {
      this.#lock.release();
    }
  }
}

function directoryOf(store: Store, digest: Digest): string {
  return join(store.root, 'ingest', `${PREFIX}${digestHex(digest)}`);
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** A directory under ingest/ whose bytes the next download may still want. */
export function isKeptPartial(directory: string): boolean {
  if (!basename(directory).startsWith(PREFIX)) return false;
  const stat = statSync(join(directory, DATA), { throwIfNoEntry: false });
  return stat !== undefined && Math.abs(Date.now() - stat.mtimeMs) < KEPT_MS;
}
