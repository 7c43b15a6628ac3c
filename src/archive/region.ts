import { closeSync, openSync, readSync } from 'node:fs';
import { ImagoError } from '../core/errors.ts';
import { ingestLayer } from '../store/ingest-layer.ts';
import type { LayerResult } from '../store/layer-options.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import { documentTooLarge, type LayerWish, MAX_DOCUMENT, missingFile } from './content.ts';

/** A stretch of a file: a whole one in a directory, a member of a tar. Bytes. */
export interface Region {
  path: string;
  offset: number;
  length: number;
}

/** Throws `ARCHIVE_DOCUMENT`, `ARCHIVE_TRUNCATED`. */
export function readRegion(title: string, name: string, region: Region): Uint8Array {
  if (region.length > MAX_DOCUMENT) throw documentTooLarge(title, name, region.length);
  const bytes = Buffer.allocUnsafeSlow(region.length);
  const fd = openSync(region.path, 'r');
  try {
    let done = 0;
    while (done < bytes.length) {
      const count = readSync(fd, bytes, done, bytes.length - done, region.offset + done);
      if (count === 0) throw new ImagoError('ARCHIVE_TRUNCATED', `'${name}' in ${title} is cut short`);
      done += count;
    }
  } finally {
    closeSync(fd);
  }
  return bytes;
}

/** Brings a layer in straight from where it lies: nothing is extracted first. */
export async function ingestRegion(
  store: Store,
  lease: Lease,
  title: string,
  name: string,
  region: Region | undefined,
  wish: LayerWish,
): Promise<LayerResult> {
  if (region === undefined) throw missingFile(title, name, wish.digest ?? wish.diffId);
  const { digest, size, diffId, mediaType, signal, onProgress } = wish;
  // Told from the file's length, before a byte of it is read.
  if (size !== undefined && size !== region.length) {
    throw new ImagoError('SIZE_MISMATCH', `'${name}' in ${title} is not as long as its descriptor says`, {
      want: `${size} bytes`,
      got: region.length,
      remedy: 'the archive is damaged: get it again',
    });
  }
  const expect = { digest, size, diffId };
  const keepBlob = digest !== undefined;
  return ingestLayer(store, lease, region, { expect, keepBlob, mediaType, signal, onProgress });
}
