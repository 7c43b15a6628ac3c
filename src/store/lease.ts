import { closeSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { uniqueName } from '../system/atomic.ts';
import { bootId } from '../system/boot.ts';
import { tryLock } from '../system/files.ts';
import { explainWrites } from './errors.ts';
import type { Store } from './store.ts';

/**
 * What a piece of work needs until it is done. A file under leases/ that its holder keeps locked: the first line says
 * who, each further line is a digest. Ends with its process, however that ends.
 */
export class Lease implements Disposable {
  readonly #store: Store;
  readonly #path: string;
  readonly #held: Set<Digest> = new Set();
  #fd: number;

  private constructor(store: Store, path: string, fd: number) {
    this.#store = store;
    this.#path = path;
    this.#fd = fd;
  }

  static create(store: Store, purpose: string): Lease {
    // Under the shared lock, so that prune never sees the file made but not yet locked.
    using _lock = store.lock('shared');
    const path = join(store.root, 'leases', `${purpose.replace(/[^a-z0-9]+/gi, '-').slice(0, 40)}-${uniqueName()}`);
    return explainWrites(store.root, () => {
      const fd = openSync(path, 'ax', 0o600);
      const lease = new Lease(store, path, fd);
      try {
        tryLock(fd, 'exclusive');
        writeSync(fd, `${JSON.stringify({ purpose, pid: process.pid, boot: bootId(), started: Date.now() })}\n`);
        return lease;
      } catch (error) {
        lease.close();
        throw error;
      }
    });
  }

  /**
   * From here on, the blob or layer is kept, and all that it names where it is a manifest, an index or a config,
   * whether it is in the store already or comes later. Add first, then look whether it is there.
   */
  add(digest: Digest): void {
    if (this.#fd < 0) throw new Error('the lease is closed');
    if (this.#held.has(digest)) return;
    using _lock = this.#store.lock('shared');
    explainWrites(this.#store.root, () => writeSync(this.#fd, `${JSON.stringify(digest)}\n`));
    this.#held.add(digest);
  }

  /** Idempotent. What nothing else reaches by now is garbage. */
  close(): void {
    if (this.#fd < 0) return;
    const fd = this.#fd;
    this.#fd = -1;
    try {
      unlinkSync(this.#path);
    } catch {
      // Unlocked it counts for nothing; the next prune takes it away.
    }
    closeSync(fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
