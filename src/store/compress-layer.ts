import { statSync } from 'node:fs';
import { combineCrc32 } from '../core/crc32.ts';
import { workerUrl } from '../system/worker-url.ts';
import type { CompressedBlock, CompressJob } from './compress-job.ts';
import type { CompressionForm } from './compression-form.ts';

type Pool = import('../system/worker-pool.ts').WorkerPool;
let pool: Promise<Pool> | undefined;

/** Compressing forms: the others are no work. */
export type PackedForm = CompressionForm & { kind: 'gzip' | 'zstd' };

/** Bytes of the tar in a block. They are part of the format: other sizes make other bytes. */
const BLOCK = { gzip: 1024 * 1024, zstd: 4 * 1024 * 1024 } as const;
/** Blocks of one layer being made or waiting to be taken. Bounds the memory. */
const AHEAD = 4;

/** RFC 1952 §2.3: deflate, no name, no time, no level told, OS 255 (unknown). */
const GZIP_HEADER: Uint8Array = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255);

export interface CompressOptions {
  /** Bytes of the tar that are done. */
  onProgress?: (done: number) => void;
  signal?: AbortSignal;
}

/**
 * The bytes of a file compressed: one gzip member, or zstd frames (several layers' blocks share the threads, and
 * one layer's use them all). A pure function of the bytes, the form and Node's codec: neither the number of threads
 * nor time shows. Memory is bounded. Fails with what reading the file fails with.
 */
export async function* compressFile(
  path: string,
  form: PackedForm,
  { onProgress, signal }: CompressOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  const { size } = statSync(path);
  const stop = new AbortController();
  const ended = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  // A file without a byte is a block too: it has an end to be read.
  const count = Math.max(1, Math.ceil(size / BLOCK[form.kind]));
  const waiting: Promise<CompressedBlock>[] = [];
  const threads = await startThreads();
  const start = (index: number): void => {
    const offset = index * BLOCK[form.kind];
    const length = Math.min(BLOCK[form.kind], size - offset);
    const job: CompressJob = { path, offset, length, last: index === count - 1, form };
    const block = threads.run<CompressedBlock>(job, { signal: ended });
    // Awaited in its turn; until then its failure must not count as unhandled.
    block.catch(() => {});
    waiting.push(block);
  };
  let crc = 0;
  let done = 0;
  try {
    if (form.kind === 'gzip') yield GZIP_HEADER;
    for (let index = 0; index < Math.min(AHEAD, count); index++) start(index);
    for (let index = 0; index < count; index++) {
      const block = await waiting.shift()!;
      if (index + AHEAD < count) start(index + AHEAD);
      const length = Math.min(BLOCK[form.kind], size - done);
      crc = combineCrc32(crc, block.crc, length);
      done += length;
      yield block.bytes;
      onProgress?.(done);
    }
    if (form.kind === 'gzip') yield gzipTrailer(crc, size);
  } finally {
    stop.abort(new Error('nobody takes the compressed bytes any more'));
  }
}

/** RFC 1952 §2.3.1: CRC-32 and length modulo 2³², little-endian. */
function gzipTrailer(crc: number, size: number): Uint8Array {
  const trailer = new DataView(new ArrayBuffer(8));
  trailer.setUint32(0, crc, true);
  trailer.setUint32(4, size % 2 ** 32, true);
  return new Uint8Array(trailer.buffer);
}

function startThreads(): Promise<Pool> {
  pool ??= import('../system/worker-pool.ts').then(
    ({ WorkerPool }) => new WorkerPool(workerUrl('store/compress-worker')),
  );
  return pool;
}
