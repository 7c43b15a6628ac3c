import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { ImagoError } from '../core/errors.ts';
import { detectCompression, MAGIC_LENGTH } from '../system/compression.ts';
import type { IngestJob, IngestOutcome, JobInput, LayerCompression } from './layer-job.ts';
import type { IngestLayerOptions, LayerSource } from './layer-options.ts';
import { threads } from './threads.ts';

/** Sources below this are done on the calling thread: starting another one takes longer. */
export const SMALL: number = 512 * 1024;

/** A source whose first bytes were seen. */
export interface OpenedSource {
  compression: LayerCompression;
  /** A tool inflates it on the way: its bytes are not those that were given. */
  translated: boolean;
  run(job: Omit<IngestJob, 'input'>, options: IngestLayerOptions): Promise<IngestOutcome>;
}

export async function openRegion(
  source: Extract<LayerSource, { path: string }>,
  options: IngestLayerOptions,
): Promise<OpenedSource> {
  const offset = source.offset ?? 0;
  const available = Math.max(0, statSync(source.path).size - offset);
  const length = Math.min(source.length ?? available, available);
  const compression = detectCompression(readHead(source.path, offset, length));
  if (compression === 'bzip2' || compression === 'xz') {
    refuseInImage(compression, options);
    const { createReadStream } = await import('node:fs');
    const region = createReadStream(source.path, { start: offset, end: offset + length - 1 });
    return openTranslated(region, compression, options);
  }
  const input: JobInput = { kind: 'file', path: source.path, offset, length };
  return {
    compression,
    translated: false,
    run: (job, { onProgress, signal }) => {
      const report = onProgress && ((done: number) => onProgress(done, length));
      if (length < SMALL) return runHere({ ...job, input }, report);
      return threads().then((pool) => pool.run({ ...job, input }, { weight: length, onProgress: report, signal }));
    },
  };
}

function readHead(path: string, offset: number, length: number): Uint8Array {
  const fd = openSync(path, 'r');
  try {
    const head = new Uint8Array(Math.min(MAGIC_LENGTH, length));
    return head.subarray(0, readSync(fd, head, 0, head.length, offset));
  } finally {
    closeSync(fd);
  }
}

/** Reads on until it is known whether the source is small; that much is kept. */
export async function openStream(
  source: AsyncIterable<Uint8Array>,
  options: IngestLayerOptions,
): Promise<OpenedSource> {
  const input = source[Symbol.asyncIterator]();
  const head: Uint8Array[] = [];
  let length = 0;
  let ended = false;
  while (length < SMALL && !ended) {
    const step = await input.next();
    if (step.done) ended = true;
    else {
      head.push(Buffer.from(step.value));
      length += step.value.length;
    }
  }
  const bytes = Buffer.concat(head);
  const compression = detectCompression(bytes.subarray(0, MAGIC_LENGTH));
  const whole = resume(bytes, input);
  if (compression === 'bzip2' || compression === 'xz') {
    try {
      refuseInImage(compression, options);
    } catch (error) {
      await input.return?.();
      throw error;
    }
    return openTranslated(whole, compression, options);
  }
  return {
    compression,
    translated: false,
    run: (job, options) => (ended ? runBytes(job, bytes) : runStream(job, { bytes: whole, before: 0 }, options)),
  };
}

async function* resume(head: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield head;
    for (;;) {
      const step = await rest.next();
      if (step.done) return;
      yield step.value;
    }
  } finally {
    await rest.return?.();
  }
}

async function openTranslated(
  source: AsyncIterable<Uint8Array>,
  tool: 'bzip2' | 'xz',
  options: IngestLayerOptions,
): Promise<OpenedSource> {
  const { decompressByTool } = await import('../system/compression.ts');
  return { ...(await openStream(decompressByTool(source, tool), options)), translated: true };
}

/** Only what no digest is promised of can be an archive of any kind, for `import`. */
function refuseInImage(tool: 'bzip2' | 'xz', options: IngestLayerOptions): void {
  if (options.expect?.digest === undefined) return;
  throw new ImagoError('BAD_LAYER_COMPRESSION', `an image's layer is compressed by ${tool}, which no image may use`, {
    want: 'gzip, zstd or none',
    remedy: "the image is not valid; a plain archive can be brought in with 'imago import'",
  });
}

/** On the calling thread. */
export async function runHere(job: IngestJob, onProgress?: (done: number) => void): Promise<IngestOutcome> {
  const { runJob } = await import('./run-job.ts');
  return (await runJob(job, onProgress)) as IngestOutcome;
}

async function runBytes(job: Omit<IngestJob, 'input'>, bytes: Uint8Array): Promise<IngestOutcome> {
  return runHere({ ...job, input: { kind: 'bytes', bytes } });
}

/** The bytes for a thread as they come, and who is told what becomes of them. */
export interface Feed {
  bytes: AsyncIterable<Uint8Array>;
  /** Bytes that the thread has from elsewhere, counted in the progress. */
  before: number;
  /** The source failed with this error, and `runStream` will. */
  onBroken?: (error: unknown) => void;
  /** The thread failed: it takes no more. */
  onRefused?: (error: unknown) => void;
}

/** Bytes between two reports of progress. */
const REPORT = 128 * 1024;

/** Feeds a thread through shared memory, no faster than it takes. */
export async function runStream(
  job: Omit<IngestJob, 'input'>,
  { bytes, before, onBroken, onRefused }: Feed,
  { onProgress, onTaken, signal }: IngestLayerOptions,
): Promise<IngestOutcome> {
  const { createRing, RingWriter } = await import('../system/ring.ts');
  const ring = createRing();
  const writer = new RingWriter(ring);
  const pool = await threads();
  const feedFailure = new AbortController();
  const outcome = pool.run<IngestOutcome>(
    { ...job, input: { kind: 'ring', ring } },
    {
      waits: true,
      weight: job.expect.size ?? 0,
      signal: signal === undefined ? feedFailure.signal : AbortSignal.any([signal, feedFailure.signal]),
    },
  );
  // Awaited at the end; until then its failure only stops the feeding.
  let refused = false;
  outcome.catch((error) => {
    refused = true;
    writer.cancel();
    onRefused?.(error);
  });
  let done = before;
  let reported = 0;
  try {
    for await (const chunk of bytes) {
      if (!(await writer.write(chunk))) break;
      done += chunk.length;
      if (done - reported < REPORT) continue;
      reported = done;
      onProgress?.(done, job.expect.size);
    }
    onProgress?.(done, job.expect.size);
    await writer.end();
    onTaken?.();
  } catch (error) {
    // Nobody wants the bytes any more, and that is why.
    if (refused) return outcome;
    onBroken?.(error);
    if (job.partial === undefined || signal?.aborted) feedFailure.abort(error);
    else {
      // What has come goes into the file; then it is too short.
      await writer.end();
      await outcome.catch(() => {});
      throw error;
    }
  }
  return outcome;
}
