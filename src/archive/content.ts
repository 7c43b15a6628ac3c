import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { LayerResult } from '../store/layer-options.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';

/** What is promised of a layer in an archive, and how to follow its coming in. */
export interface LayerWish {
  /** Of the file, compressed or not; its bytes are kept where a manifest names them by it. */
  digest?: Digest;
  size?: number;
  diffId: Digest;
  mediaType?: string;
  signal?: AbortSignal;
  onProgress?: (done: number, total: number | undefined) => void;
}

/** The files of an archive or a layout by their names; what they mean is for its reader to know. */
export interface ArchiveContent extends Disposable {
  /** How errors call the archive. */
  readonly title: string;
  has(name: string): boolean;
  /** A document whole; undefined where there is none. Throws `ARCHIVE_DOCUMENT` for what is too large for one. */
  read(name: string): Uint8Array | undefined;
  /** Brings a file in as a layer. Throws what `ingestLayer` throws. */
  ingest(store: Store, lease: Lease, name: string, wish: LayerWish): Promise<LayerResult>;
}

/** Names what a layer's coming in has put into the store. */
export function tellStored(layer: LayerResult, onStored: ((digest: Digest) => void) | undefined): void {
  if (!layer.existed) onStored?.(layer.diffId);
  if (layer.compressed !== undefined) onStored?.(layer.compressed.digest);
}

/** As other clients bound manifests and configs, and Docker's manifest.json with a thousand images. */
export const MAX_DOCUMENT: number = 4 * 1024 * 1024;

export function documentTooLarge(title: string, name: string, size: number): ImagoError {
  return new ImagoError('ARCHIVE_DOCUMENT', `'${name}' in ${title} is too large`, {
    want: `at most ${MAX_DOCUMENT} bytes`,
    got: size,
  });
}

export function missingFile(title: string, name: string, want?: Digest): ImagoError {
  if (cleanName(name) === undefined) {
    return new ImagoError('PATH_TRAVERSAL', `${title} names a file outside of itself`, {
      got: JSON.stringify(name),
      remedy: 'it is damaged or hostile; nothing was taken from it',
    });
  }
  return new ImagoError('BLOB_MISSING', `${title} lacks '${name}'`, {
    want,
    remedy: 'the archive is incomplete: make it again',
  });
}

/** Where the blob of a digest is in an OCI layout. OCI image-spec v1.1.1, image-layout.md §Blobs. */
export function blobName(digest: Digest): string {
  return `blobs/${digest.replace(':', '/')}`;
}

/**
 * A name inside an archive without "./" and doubled slashes; undefined for what would leave it (absolute, "..") or can
 * be no name at all.
 */
export function cleanName(name: string): string | undefined {
  if (name.startsWith('/') || name.includes('\0')) return undefined;
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  return parts.length === 0 || parts.includes('..') ? undefined : parts.join('/');
}
