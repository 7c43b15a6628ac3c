import { createHash } from 'node:crypto';
import { close, createReadStream, fdatasync, write } from 'node:fs';
import { promisify } from 'node:util';
import { type Digest, digestAlgorithm } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { BlobExpectation, IngestedBlob, IngestSource } from './blobs.ts';
import { explainWriteError } from './errors.ts';
import { Ingest } from './ingest.ts';
import type { Lease } from './lease.ts';
import type { Store } from './store.ts';

const writeAsync: (fd: number, bytes: Uint8Array, at: number, length: number) => Promise<number> = async (
  fd,
  bytes,
  at,
  length,
) => (await promisify(write)(fd, bytes, at, length, null)).bytesWritten;

/** The slow half of `ingestBlob`: hashes while it writes, bounded memory. */
export async function streamBlob(
  store: Store,
  lease: Lease,
  source: IngestSource,
  expect: BlobExpectation,
): Promise<IngestedBlob> {
  const algorithm = expect.digest === undefined ? 'sha256' : digestAlgorithm(expect.digest);
  const hash = createHash(algorithm);
  const stream = typeof source === 'string' ? createReadStream(source, { highWaterMark: 2 ** 20 }) : source;
  try {
    using ingest = Ingest.create(store, 'blob');
    const fd = ingest.openFile('data');
    let size = 0;
    try {
      for await (const chunk of stream) {
        size += chunk.length;
        if (expect.size !== undefined && size > expect.size) throw wrongSize(expect, size);
        const written = writeWhole(fd, chunk);
        hash.update(chunk);
        await written;
      }
      if (expect.size !== undefined && size !== expect.size) throw wrongSize(expect, size);
      await promisify(fdatasync)(fd);
    } finally {
      await promisify(close)(fd);
    }
    const digest: Digest = `${algorithm}:${hash.digest('hex')}`;
    if (expect.digest !== undefined && digest !== expect.digest) {
      throw new ImagoError('DIGEST_MISMATCH', 'the bytes are not what their digest says', {
        want: expect.digest,
        got: digest,
        remedy: 'the source is damaged or was changed: get it again',
      });
    }
    lease.add(digest);
    ingest.publishBlob('data', digest);
    return { digest, size };
  } catch (error) {
    throw explainWriteError(error, store.root);
  }
}

async function writeWhole(fd: number, chunk: Uint8Array): Promise<void> {
  let done = 0;
  while (done < chunk.length) done += await writeAsync(fd, chunk, done, chunk.length - done);
}

function wrongSize(expect: BlobExpectation, got: number): ImagoError {
  return new ImagoError('SIZE_MISMATCH', 'the blob is not as long as its descriptor says', {
    ref: expect.digest,
    want: `${expect.size} bytes`,
    got: got > (expect.size ?? 0) ? `more than ${expect.size}` : `${got}`,
    remedy: 'the source is damaged or was cut short: get it again',
  });
}
