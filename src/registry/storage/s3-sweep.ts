import type { S3Bucket } from './s3-bucket.ts';
import { BLOBS, DATA, isPointerSize, readPointer } from './s3-pointer.ts';
import { UPLOADS } from './s3-upload-state.ts';

/** Pointers read at a time. */
const PARALLEL = 16;

/**
 * Removes objects of data that neither an upload nor a pointer names. Uploads are listed before the pointers are read:
 * one that is published meanwhile is in the first list or in the second. Data that is younger than the sweep belongs to
 * nothing that either list could know, and is not touched.
 */
export async function sweepBucket(
  bucket: S3Bucket,
  options: { maxAgeMs: number; dryRun?: boolean; signal?: AbortSignal },
): Promise<{ bytes: number; count: number }> {
  const oldest = Date.now() - options.maxAgeMs;
  const live = new Set<string>();
  for await (const { key } of bucket.walk(UPLOADS)) live.add(key.slice(UPLOADS.length));
  await addPointed(bucket, live, options.signal);
  const found = { bytes: 0, count: 0 };
  for await (const { key, size, modified } of bucket.walk(DATA)) {
    options.signal?.throwIfAborted();
    const id = key.slice(DATA.length, key.indexOf('/', DATA.length));
    if (live.has(id) || modified > oldest) continue;
    found.count++;
    found.bytes += size;
    if (options.dryRun !== true) await bucket.remove(key);
  }
  return found;
}

async function addPointed(bucket: S3Bucket, live: Set<string>, signal: AbortSignal | undefined): Promise<void> {
  let batch: Promise<void>[] = [];
  for await (const { key, size } of bucket.walk(BLOBS)) {
    signal?.throwIfAborted();
    if (!isPointerSize(size)) continue;
    batch.push(
      readPointer(bucket, key, { head: true }).then((read) => {
        if (read?.blob !== undefined) live.add(read.blob.id);
      }),
    );
    if (batch.length < PARALLEL) continue;
    await Promise.all(batch);
    batch = [];
  }
  await Promise.all(batch);
}
