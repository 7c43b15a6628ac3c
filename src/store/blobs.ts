import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { type Digest, digestAlgorithm, parseDigest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { explainWriteError } from './errors.ts';
import { Ingest } from './ingest.ts';
import { blobPath } from './layout.ts';
import type { Lease } from './lease.ts';
import { findQuarantined } from './quarantine.ts';
import type { Store } from './store.ts';

export interface ReadBlobOptions {
  /** Largest blob to read, in bytes (default 4 MiB: OCI distribution-spec v1.1.1 §Pushing Manifests). */
  limit?: number;
  /** Hash it again. Loads node:crypto (12 ms). */
  verify?: boolean;
}

/** What must hold before the blob gets its name. */
export interface BlobExpectation {
  digest?: Digest;
  size?: number;
}

export interface IngestedBlob {
  digest: Digest;
  size: number;
}

/** A path, or the bytes themselves as they come. */
export type IngestSource = string | AsyncIterable<Uint8Array>;

export function blobSize(root: string, digest: Digest): number | undefined {
  return statSync(blobPath(root, digest), { throwIfNoEntry: false })?.size;
}

export function missingBlob(root: string, digest: Digest): ImagoError {
  const report = findQuarantined(root, digest);
  if (report === undefined) {
    return new ImagoError('BLOB_MISSING', 'blob not found in the store', {
      want: digest,
      remedy: 'pull or load the image that it belongs to again',
    });
  }
  return new ImagoError('BLOB_MISSING', 'blob is damaged and was set aside by verify', {
    want: digest,
    path: report.path,
    remedy: report.remedy,
  });
}

export function readBlob(root: string, digest: Digest, options: ReadBlobOptions = {}): Buffer {
  const limit = options.limit ?? 4 * 2 ** 20;
  let fd: number;
  try {
    // The name goes into a path: never from a caller's unchecked text.
    fd = openSync(blobPath(root, parseDigest(digest)), 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw missingBlob(root, digest);
    throw error;
  }
  try {
    const size = fstatSync(fd).size;
    if (size > limit) {
      throw new ImagoError('BLOB_TOO_LARGE', 'blob is too large to read as a whole', {
        ref: digest,
        want: `≤ ${limit} bytes`,
        got: `${size} bytes`,
      });
    }
    const bytes = Buffer.allocUnsafeSlow(size);
    let at = 0;
    while (at < size) {
      const n = readSync(fd, bytes, at, size - at, at);
      if (n === 0) break;
      at += n;
    }
    if (options.verify) checkDigest(bytes.subarray(0, at), digest);
    return bytes;
  } finally {
    closeSync(fd);
  }
}

function checkDigest(bytes: Uint8Array, want: Digest): void {
  const got = digestOf(bytes, digestAlgorithm(want));
  if (got === want) return;
  throw new ImagoError('DIGEST_MISMATCH', 'blob is damaged', {
    want,
    got,
    remedy: "'imago verify' says what it belongs to and how to get it back",
  });
}

/** Loads node:crypto on first use only: most commands read blobs and write none. */
export function digestOf(bytes: Uint8Array, algorithm: 'sha256' | 'sha512' = 'sha256'): Digest {
  const { hash } = process.getBuiltinModule('node:crypto');
  return `${algorithm}:${hash(algorithm, bytes, 'hex')}`;
}

export function putBlob(store: Store, lease: Lease, bytes: Uint8Array): Digest {
  const digest = digestOf(bytes);
  lease.add(digest);
  if (store.blobSize(digest) === bytes.length) return digest;
  try {
    using ingest = Ingest.create(store, 'blob');
    ingest.writeFile('data', bytes);
    ingest.publishBlob('data', digest);
  } catch (error) {
    throw explainWriteError(error, store.root);
  }
  return digest;
}

export async function ingestBlob(
  store: Store,
  lease: Lease,
  source: IngestSource,
  expect: BlobExpectation = {},
): Promise<IngestedBlob> {
  if (expect.digest !== undefined) {
    lease.add(parseDigest(expect.digest));
    const size = store.blobSize(expect.digest);
    if (size !== undefined && (expect.size === undefined || expect.size === size)) {
      return { digest: expect.digest, size };
    }
  }
  const { streamBlob } = await import('./stream-blob.ts');
  return streamBlob(store, lease, source, expect);
}
