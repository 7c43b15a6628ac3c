import { pipeline, Readable } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { ImagoError } from '../core/errors.ts';
import { type Compression, corrupt, decompressByTool, detectCompression, MAGIC_LENGTH } from '../system/compression.ts';

/** Inflates a whole archive on its way, by its first bytes; a plain one passes. zlib works on threads of its own. */
export async function inflateArchive(source: AsyncIterable<Uint8Array>): Promise<AsyncIterable<Uint8Array>> {
  const input = source[Symbol.asyncIterator]();
  let head: Uint8Array = new Uint8Array(0);
  while (head.length < MAGIC_LENGTH) {
    const step = await input.next();
    if (step.done) break;
    head = head.length === 0 ? step.value : Buffer.concat([head, step.value]);
  }
  return inflateFrom(detectCompression(head), resume(head, input));
}

function inflateFrom(kind: Compression, source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  if (kind === 'none') return source;
  if (kind === 'bzip2' || kind === 'xz') return decompressByTool(source, kind);
  return inflateByZlib(kind, source);
}

async function* inflateByZlib(
  kind: 'gzip' | 'zstd',
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const options = { chunkSize: 256 * 1024 };
  const inflater = kind === 'gzip' ? createGunzip(options) : createZstdDecompress(options);
  // The error reaches the reader of `inflater`.
  pipeline(Readable.from(source), inflater, () => {});
  try {
    for await (const chunk of inflater as AsyncIterable<Buffer>) yield chunk;
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code === 'Z_BUF_ERROR' || code === 'ZSTD_error_srcSize_wrong') {
      throw new ImagoError('TRUNCATED_COMPRESSED', `the ${kind} data ends too early`, {
        remedy: 'it was cut short: get the archive again from where it came',
        cause: error,
      });
    }
    if (code?.startsWith('Z_') || code?.startsWith('ZSTD_')) throw corrupt(kind, message);
    throw error;
  }
}

async function* resume(head: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    if (head.length > 0) yield head;
    for (let step = await rest.next(); !step.done; step = await rest.next()) yield step.value;
  } finally {
    await rest.return?.();
  }
}
