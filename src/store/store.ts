import { resolve } from 'node:path';
import type { Digest } from '../core/digest.ts';
import type { ImagoError } from '../core/errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { type FileLock, lockFile } from '../system/lock.ts';
import {
  type BlobExpectation,
  blobSize,
  type IngestedBlob,
  type IngestSource,
  ingestBlob,
  putBlob,
  type ReadBlobOptions,
  readBlob,
} from './blobs.ts';
import { explainWrites } from './errors.ts';
import { blobPath, chainDirectory, layerDirectory } from './layout.ts';
import { Lease } from './lease.ts';
import { checkUmask, defaultRoot, defaultRun, prepareRoot, prepareRun } from './open.ts';
import { deleteRef, getRef, listRefs, type RefRecord, setRef } from './refs.ts';

export interface StoreOptions {
  /** Default: IMAGO_ROOT, /var/lib/imago for root, $XDG_DATA_HOME/imago otherwise. */
  root?: string;
  /** Default: IMAGO_RUN, /run/imago for root, $XDG_RUNTIME_DIR/imago otherwise. */
  run?: string;
}

/**
 * A store of images (docs/ARCHITECTURE.md §On disk). There is no daemon: any number of processes use one at a time.
 * Holds no descriptor and no lock between calls, so it need not be closed; leases must be.
 */
export class Store {
  readonly root: string;
  readonly run: string;

  private constructor(root: string, run: string) {
    this.root = root;
    this.run = run;
  }

  /** Opens the store, making an empty one where there is none. Throws `STORE_*` codes and `UMASK_TAKES_OWNERS`. */
  static open(options: StoreOptions = {}): Store {
    // Other programs get these paths, and work in other directories.
    const root = resolve(options.root ?? defaultRoot());
    const run = resolve(options.run ?? defaultRun());
    checkUmask();
    prepareRoot(root);
    prepareRun(run);
    return new Store(root, run);
  }

  /**
   * The lock between all commands on this store: shared for any step that makes something reachable (held for
   * moments), exclusive for prune's mark and rename. Blocks the thread.
   */
  lock(kind: 'shared' | 'exclusive'): FileLock {
    return explainWrites(this.root, () => lockFile(`${this.root}/lock`, kind));
  }

  /** Roots for work in flight: nothing added to it is pruned until it is closed or its process ends. */
  lease(purpose: string): Lease {
    return Lease.create(this, purpose);
  }

  blobPath(digest: Digest): string {
    return blobPath(this.root, digest);
  }

  /** ROOT/layers/<diffid>, where a layer's index and facts are. */
  layerDirectory(diffId: Digest): string {
    return layerDirectory(this.root, diffId);
  }

  /** ROOT/chains/<chainid>, where a patch index is, if one is needed. */
  chainDirectory(chainId: Digest): string {
    return chainDirectory(this.root, chainId);
  }

  hasBlob(digest: Digest): boolean {
    return blobSize(this.root, digest) !== undefined;
  }

  /** Bytes; undefined where the blob is missing. */
  blobSize(digest: Digest): number | undefined {
    return blobSize(this.root, digest);
  }

  /** A small blob whole. Its digest was checked when it was stored, and is again only with `verify`. */
  readBlob(digest: Digest, options?: ReadBlobOptions): Buffer {
    return readBlob(this.root, digest, options);
  }

  /** Stores bytes under their digest; durable when it returns. */
  putBlob(lease: Lease, bytes: Uint8Array): Digest {
    return putBlob(this, lease, bytes);
  }

  /** Stores a stream or a file as a blob; what `expect` names is checked before anything is named. */
  ingestBlob(lease: Lease, source: IngestSource, expect?: BlobExpectation): Promise<IngestedBlob> {
    return ingestBlob(this, lease, source, expect);
  }

  /** Sorted by reference; damaged records are left out, and told. */
  listRefs(onDamaged?: (path: string, error: ImagoError) => void): RefRecord[] {
    return listRefs(this.root, onDamaged);
  }

  getRef(reference: string): Descriptor | undefined {
    return getRef(this.root, reference);
  }

  /** Points a normalised reference at a blob that is in the store, replacing what it pointed at. */
  setRef(reference: string, descriptor: Descriptor): void {
    setRef(this, reference, descriptor);
  }

  /** False where there was none. What it named stays until `prune` or `removeUnreached`. */
  deleteRef(reference: string): boolean {
    return deleteRef(this, reference);
  }
}
