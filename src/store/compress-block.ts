import { closeSync, openSync, readSync } from 'node:fs';
import { crc32, deflateRawSync, constants as z, zstdCompressSync } from 'node:zlib';
import { ImagoError } from '../core/errors.ts';
import { unbroken } from '../system/unbroken.ts';
import type { CompressedBlock, CompressJob } from './compress-job.ts';

/** How far back deflate looks (RFC 1951 §2). */
const WINDOW = 32 * 1024;

/**
 * gzip: deflate blocks that end at a byte (RFC 1951 §3.2.4), their dictionary the tar right before them, so that
 * joined they are one stream, nearly as small as one made in a piece. zstd: a frame (RFC 8878 §3.1.1).
 */
export function compressBlock({ path, offset, length, last, form }: CompressJob): CompressedBlock {
  const before = form.kind === 'gzip' ? Math.min(WINDOW, offset) : 0;
  const bytes = readExactly(path, offset - before, before + length);
  const block = bytes.subarray(before);
  if (form.kind === 'zstd') return { bytes: unbroken(() => makeFrame(block, form.level)), crc: 0 };
  const deflated = unbroken(() =>
    deflateRawSync(block, {
      level: form.level,
      // Room for the whole answer, so that it is made in a piece.
      chunkSize: Math.max(64, length),
      ...(before === 0 ? {} : { dictionary: bytes.subarray(0, before) }),
      finishFlush: last ? z.Z_FINISH : z.Z_SYNC_FLUSH,
    }),
  );
  return { bytes: deflated, crc: crc32(block) };
}

function makeFrame(block: Uint8Array, level: number): Uint8Array {
  return zstdCompressSync(block, {
    params: { [z.ZSTD_c_compressionLevel]: level, [z.ZSTD_c_checksumFlag]: 1 },
    pledgedSrcSize: block.length,
  });
}

/** For reading, again and again: a thread has one block at a time. */
let buffer: Buffer = Buffer.alloc(0);

function readExactly(path: string, offset: number, length: number): Buffer {
  if (buffer.length < length) buffer = Buffer.allocUnsafeSlow(length);
  const bytes = buffer.subarray(0, length);
  const fd = openSync(path, 'r');
  try {
    for (let done = 0; done < length; ) {
      const count = readSync(fd, bytes, done, length - done, offset + done);
      if (count === 0) throw new ImagoError('BLOB_TRUNCATED', 'a layer grew shorter while it was read', { path });
      done += count;
    }
  } finally {
    closeSync(fd);
  }
  return bytes;
}
