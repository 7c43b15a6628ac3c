import { ImagoError, isImagoError } from '../../core/errors.ts';
import { randomHex } from '../../system/random.ts';
import { composeStorage } from './compose.ts';
import { S3Blobs } from './s3-blobs.ts';
import { S3Bucket } from './s3-bucket.ts';
import { S3Documents } from './s3-documents.ts';
import { PartBuffers } from './s3-part-writer.ts';
import { sweepBucket } from './s3-sweep.ts';
import { S3Uploads } from './s3-uploads.ts';
import { parseS3Url } from './s3-url.ts';
import type { RegistryStorage } from './storage.ts';

const FORMAT = Buffer.from('imago registry 1\n');
/** Parts of all uploads on their way at a time: 48 MiB of memory, beside 4 MiB for each upload. */
const PARTS_UNDERWAY = 12;

/**
 * A storage in a bucket that any number of replicas share; its keys come from where the AWS SDK finds them.
 *
 * ```
 * PREFIX/version           format
 * PREFIX/documents/KEY     a line of its own, then the document: links, tags, records; or deleted
 * PREFIX/blobs/ALG/HEX     pointer: size, and the names of the parts or, up to 64 KiB, the bytes; or 'gone'
 * PREFIX/data/ID/PART      bytes of a blob, 4 MiB each, written once; ID is the upload's
 * PREFIX/uploads/ID        record of an upload: parts so far, and the last bytes
 * ```
 *
 * Needs strong consistency and conditional PUT; DELETE needs no condition. Both are tried here. Throws
 * `STORAGE_NO_BUCKET`, `STORAGE_DENIED`, `STORAGE_NO_KEYS`, `STORAGE_UNAVAILABLE`, `STORAGE_NO_CONDITIONS`.
 */
export async function openS3Storage(url: string): Promise<RegistryStorage> {
  const bucket = new S3Bucket(parseS3Url(url));
  try {
    await checkFormat(bucket);
    await probeConditions(bucket);
  } catch (error) {
    bucket.close();
    throw error;
  }
  const buffers = new PartBuffers(PARTS_UNDERWAY);
  const blobs = new S3Blobs(bucket, buffers);
  return composeStorage({
    title: bucket.title,
    documents: new S3Documents(bucket),
    blobs,
    uploads: new S3Uploads(bucket, buffers, blobs),
    sweep: (options) => sweepBucket(bucket, options),
    check: async () => {
      await bucket.write('check', FORMAT);
      await checkFormat(bucket);
    },
    close: async () => bucket.close(),
  });
}

async function checkFormat(bucket: S3Bucket): Promise<void> {
  const found = await bucket.read('version');
  if (found === undefined) {
    await bucket.write('version', FORMAT);
  } else if (!found.bytes.equals(FORMAT)) {
    throw new ImagoError('STORAGE_VERSION', "the registry's storage is of another format", {
      ref: `${bucket.title}version`,
      want: JSON.stringify(FORMAT.toString()),
      got: JSON.stringify(found.bytes.toString('utf8', 0, 60)),
      remedy: 'use the version of Imago that wrote it, or another prefix',
    });
  }
}

/** Some servers ignore conditions, and tags would tear; others want ETags without quotes. */
async function probeConditions(bucket: S3Bucket): Promise<void> {
  const key = `probe/${randomHex(8)}`;
  const etag = await bucket.write(key, Buffer.from('1'), 'absent');
  try {
    const holds =
      !(await isWritten(bucket, key, 'absent')) &&
      !(await isWritten(bucket, key, '0'.repeat(32))) &&
      ((await isWritten(bucket, key, etag)) || (await isWrittenUnquoted(bucket, key, etag)));
    if (holds) return;
  } finally {
    await bucket.remove(key);
  }
  const where = bucket.location.endpoint ?? 'Amazon S3';
  throw new ImagoError('STORAGE_NO_CONDITIONS', `${where} does not honour If-Match and If-None-Match on PUT`, {
    ref: bucket.title,
    remedy: 'use a server that does: Amazon S3, Ceph, MinIO, Cloudflare R2, …',
  });
}

async function isWrittenUnquoted(bucket: S3Bucket, key: string, etag: string): Promise<boolean> {
  bucket.quoted = false;
  return isWritten(bucket, key, etag);
}

async function isWritten(bucket: S3Bucket, key: string, expect: string): Promise<boolean> {
  try {
    await bucket.write(key, Buffer.from(randomHex(4)), expect);
    return true;
  } catch (error) {
    if (isImagoError(error, 'STORAGE_CONFLICT')) return false;
    throw error;
  }
}
