import { createHash } from 'node:crypto';
import { abortable } from '../../core/abortable.ts';
import type { Digest } from '../../core/digest.ts';
import { ImagoError } from '../../core/errors.ts';
import { headBlob } from './blobs.ts';
import type { Place } from './place.ts';
import { type OpenSource, Upload } from './upload.ts';
import type { UploadSession } from './upload-session.ts';

export interface UploadOptions {
  /** Bytes handed over so far; goes back where a connection broke and the registry lost some. */
  onProgress?: (bytes: number) => void;
  signal?: AbortSignal;
}

/** Of a stream: what is sent at once, and is kept until the registry has it. Two of them are in memory. */
const STREAM_CHUNK = 16 * 2 ** 20;

/**
 * Uploads a blob whose digest is known: one PUT; after a break, on from where the registry says it is; in smaller
 * requests where a proxy wants them (413) or where nothing of a large one stays. A failure takes the upload back.
 * Throws `UPLOAD_BROKEN` after six failures in a row without progress, `SIZE_MISMATCH` where the source is too short,
 * `DIGEST_MISMATCH`, `BAD_RESPONSE`, whatever the source throws, and the transport's errors.
 */
export async function uploadBlob(
  place: Place,
  blob: { digest: Digest; size: number },
  open: OpenSource,
  options: UploadOptions & { session?: UploadSession } = {},
): Promise<void> {
  const { onProgress, signal } = options;
  const upload = new Upload(place, options.session, signal);
  try {
    for (;;) {
      try {
        if (upload.offset === 0 && upload.fits(blob.size)) {
          return await upload.finish(blob.digest, { size: blob.size, open, onProgress });
        }
        await upload.push(blob.size, open, onProgress);
        return await upload.finish(blob.digest);
      } catch (error) {
        await upload.recover(error);
        // The answer to the last request may be all that was lost.
        if (upload.offset === 0 && (await headBlob(place, blob.digest, signal)) === blob.size) return;
      }
    }
  } finally {
    await upload.cancel();
  }
}

/**
 * Uploads bytes whose digest is known only at their end, in chunks of 16 MiB; the next one fills while one is sent.
 * Returns sha256 and size. Throws as `uploadBlob`, and `UPLOAD_BROKEN` where the registry lost bytes from before the
 * present chunk.
 */
export async function uploadStream(
  place: Place,
  source: AsyncIterable<Uint8Array>,
  options: UploadOptions = {},
): Promise<{ digest: Digest; size: number }> {
  const upload = new Upload(place, undefined, options.signal);
  const hash = createHash('sha256');
  const chunks = chunked(source, STREAM_CHUNK, options.signal);
  let size = 0;
  try {
    await upload.begin();
    let ahead = chunks.next();
    // A failure of the source while a chunk is sent is met by the next await.
    ahead.catch(() => {});
    for (;;) {
      const step = await abortable(ahead, options.signal);
      if (step.done) break;
      const chunk = step.value;
      hash.update(chunk);
      ahead = chunks.next();
      ahead.catch(() => {});
      await pushChunk(upload, chunk, size, options.onProgress);
      size += chunk.length;
    }
    const digest: Digest = `sha256:${hash.digest('hex')}`;
    await finishStream(place, upload, { digest, size }, options.signal);
    return { digest, size };
  } finally {
    await upload.cancel();
    // Waits for the source, which may take its time.
    chunks.return().catch(() => {});
  }
}

/** Buffers of `size` bytes, the last one shorter; the one that is out is not written to again. */
async function* chunked(
  source: AsyncIterable<Uint8Array>,
  size: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer, void, undefined> {
  let parts: Uint8Array[] = [];
  let held = 0;
  for await (const piece of source) {
    signal?.throwIfAborted();
    let rest = piece;
    while (held + rest.length >= size) {
      const part = rest.subarray(0, size - held);
      yield Buffer.concat([...parts, part], size);
      rest = rest.subarray(part.length);
      parts = [];
      held = 0;
    }
    // The source may use its buffer again.
    if (rest.length > 0) parts.push(Buffer.from(rest));
    held += rest.length;
  }
  if (held > 0) yield Buffer.concat(parts, held);
}

async function pushChunk(
  upload: Upload,
  chunk: Buffer,
  base: number,
  onProgress: UploadOptions['onProgress'],
): Promise<void> {
  const open = (offset: number): AsyncIterable<Uint8Array> => {
    if (offset >= base) return slices(chunk.subarray(offset - base));
    throw lostBytes(base, offset);
  };
  for (;;) {
    try {
      return await upload.push(base + chunk.length, open, onProgress);
    } catch (error) {
      await upload.recover(error);
    }
  }
}

async function* slices(bytes: Buffer): AsyncGenerator<Uint8Array, void, undefined> {
  for (let at = 0; at < bytes.length; at += 256 * 1024) yield bytes.subarray(at, at + 256 * 1024);
}

async function finishStream(
  place: Place,
  upload: Upload,
  blob: { digest: Digest; size: number },
  signal: AbortSignal | undefined,
): Promise<void> {
  for (;;) {
    try {
      if (upload.offset !== blob.size) throw lostBytes(blob.size, upload.offset);
      return await upload.finish(blob.digest);
    } catch (error) {
      await upload.recover(error);
      if (upload.offset === 0 && (await headBlob(place, blob.digest, signal)) === blob.size) return;
    }
  }
}

function lostBytes(want: number, got: number): ImagoError {
  return new ImagoError('UPLOAD_BROKEN', 'the registry lost what it had of the upload', {
    want: `${want} bytes`,
    got,
    remedy: 'push again',
  });
}
