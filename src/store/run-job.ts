import { createHash, type Hash } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { writeAll } from '../system/atomic.ts';
import { createInflater, type Inflater } from '../system/inflate.ts';
import { readRing } from '../system/ring.ts';
import { packError } from '../system/worker-error.ts';
import {
  FILES,
  type HashJob,
  type HashOutcome,
  type IngestJob,
  type IngestOutcome,
  type JobInput,
  type LayerJob,
  type ReindexJob,
  type ReindexOutcome,
} from './layer-job.ts';
import { LayerReader, LayerWriter, writeLayerFiles } from './layer-writer.ts';

const BUFFER = 256 * 1024;
/** Bytes between two reports of progress. */
const REPORT = 2 * 1024 * 1024;

export type JobOutcome<J extends LayerJob> = J extends IngestJob
  ? IngestOutcome
  : J extends ReindexJob
    ? ReindexOutcome
    : HashOutcome;

/** Does one job on this thread; `onProgress` gets the input's bytes read so far. */
export async function runJob(job: LayerJob, onProgress?: (bytes: number) => void): Promise<JobOutcome<LayerJob>> {
  if (job.kind === 'ingest') return runIngest(job, onProgress);
  if (job.kind === 'reindex') return runReindex(job, onProgress);
  return runHash(job, onProgress);
}

/** The bytes of an input, in views that live until the next one is asked for. */
function* readInput(input: JobInput, onProgress?: (bytes: number) => void): Generator<Uint8Array, void, undefined> {
  let done = 0;
  let reported = 0;
  const chunks =
    input.kind === 'ring' ? readRing(input.ring) : input.kind === 'bytes' ? [input.bytes] : readRegion(input);
  for (const chunk of chunks) {
    yield chunk;
    done += chunk.length;
    if (done - reported >= REPORT) {
      reported = done;
      onProgress?.(done);
    }
  }
  onProgress?.(done);
}

function* readRegion(region: Extract<JobInput, { kind: 'file' }>): Generator<Uint8Array, void, undefined> {
  const fd = openSync(region.path, 'r');
  try {
    const buffer = Buffer.allocUnsafeSlow(Math.max(1, Math.min(BUFFER, region.length)));
    for (let at = 0; at < region.length; ) {
      const count = readSync(fd, buffer, 0, Math.min(buffer.length, region.length - at), region.offset + at);
      if (count === 0) break;
      yield buffer.subarray(0, count);
      at += count;
    }
  } finally {
    closeSync(fd);
  }
}

async function runIngest(job: IngestJob, onProgress?: (bytes: number) => void): Promise<IngestOutcome> {
  using writer = new LayerWriter(job.directory, job.algorithm);
  // A plain tar's digest is its DiffID: hashed once.
  const plain = job.compression === 'none' && job.algorithm === job.sourceAlgorithm;
  const source = new SourceHash(plain ? undefined : createHash(job.sourceAlgorithm), job);
  using kept = job.keep ? new KeptFile(join(job.directory, FILES.compressed)) : undefined;
  const sink = (bytes: Uint8Array): void => writer.push(bytes);
  const inflater: Inflater | undefined = job.compression === 'none' ? undefined : createInflater(job.compression, sink);
  try {
    for (const chunk of readInput(job.input, onProgress)) {
      source.update(chunk);
      kept?.write(chunk);
      if (inflater === undefined) sink(chunk);
      else {
        const pending = inflater.push(chunk);
        if (pending !== undefined) await pending;
      }
    }
    // A wrong source explains a damaged stream, so it is told first.
    const digest = plain ? undefined : source.check();
    await inflater?.finish();
    const diffId = writer.digest();
    if (plain) source.checkAgainst(diffId);
    checkDiffId(diffId, job.expect.diffId);
    kept?.sync();
    const record = await writer.finish(diffId);
    return { ...record, source: { digest: digest ?? diffId, size: source.size } };
  } catch (error) {
    throw source.blame(error);
  } finally {
    inflater?.close();
  }
}

/** Digest and size of the bytes as they come, held against what was promised. */
class SourceHash {
  readonly #hash: Hash | undefined;
  readonly #job: IngestJob;
  size = 0;

  constructor(hash: Hash | undefined, job: IngestJob) {
    this.#hash = hash;
    this.#job = job;
  }

  update(chunk: Uint8Array): void {
    this.size += chunk.length;
    const want = this.#job.expect.size;
    if (want !== undefined && this.size > want) throw this.#wrongSize(`more than ${want} bytes`);
    this.#hash?.update(chunk);
  }

  check(): Digest {
    const digest: Digest = `${this.#job.sourceAlgorithm}:${this.#hash!.digest('hex')}`;
    this.checkAgainst(digest);
    return digest;
  }

  checkAgainst(digest: Digest): void {
    const { expect } = this.#job;
    if (expect.size !== undefined && this.size !== expect.size) throw this.#wrongSize(`${this.size} bytes`);
    if (expect.digest === undefined || digest === expect.digest) return;
    throw new ImagoError('DIGEST_MISMATCH', 'the layer is not what its digest says', {
      want: expect.digest,
      got: digest,
      remedy: 'it was damaged or changed on its way: get it again',
    });
  }

  /** Damage inside of a source whose digest or size is wrong is the source's: tell that instead. */
  blame(error: unknown): unknown {
    if (!(error instanceof ImagoError) || this.#job.input.kind !== 'file') return error;
    if (['DIGEST_MISMATCH', 'SIZE_MISMATCH', 'DIFFID_MISMATCH'].includes(error.code)) return error;
    const { input, expect, sourceAlgorithm } = this.#job;
    if (expect.digest === undefined) return error;
    const whole = hashRegion(input, sourceAlgorithm);
    if (whole.digest === expect.digest) return error;
    return new ImagoError('DIGEST_MISMATCH', `the layer is not what its digest says, and damaged (${error.code})`, {
      want: expect.digest,
      got: whole.digest,
      remedy: 'it was damaged or changed on its way: get it again',
      cause: error,
    });
  }

  #wrongSize(got: string): ImagoError {
    return new ImagoError('SIZE_MISMATCH', 'the layer is not as long as its descriptor says', {
      ref: this.#job.expect.digest,
      want: `${this.#job.expect.size} bytes`,
      got,
      remedy: 'it was cut short or changed: get it again',
    });
  }
}

function checkDiffId(got: Digest, want: Digest | undefined): void {
  if (want === undefined || got === want) return;
  throw new ImagoError('DIFFID_MISMATCH', "the layer's tar is not the one that the image's config names", {
    want,
    got,
    remedy: 'the image is inconsistent: get it again, or ask who made it',
  });
}

class KeptFile implements Disposable {
  readonly #fd: number;

  constructor(path: string) {
    this.#fd = openSync(path, 'wx', 0o444);
  }

  write(chunk: Uint8Array): void {
    writeAll(this.#fd, chunk);
  }

  sync(): void {
    fsyncSync(this.#fd);
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

function runReindex(job: ReindexJob, onProgress?: (bytes: number) => void): ReindexOutcome {
  const input: JobInput = { kind: 'file', path: job.path, offset: 0, length: Number.MAX_SAFE_INTEGER };
  try {
    const reader = new LayerReader(job.algorithm);
    for (const chunk of readInput(input, onProgress)) reader.push(chunk);
    const diffId = reader.digest();
    const { image, facts } = reader.index(diffId);
    const record = { diffId, tarSize: reader.size, facts };
    if (job.directory !== undefined) writeLayerFiles(join(job.directory, FILES.layer), image, record);
    return { ...record, same: job.index !== undefined && hasBytes(job.index, image) };
  } catch (error) {
    if (!(error instanceof ImagoError)) throw error;
    const { digest, size } = hashRegion(input, job.algorithm);
    return { diffId: digest, size, failure: packError(error) };
  }
}

function hasBytes(path: string, bytes: Uint8Array): boolean {
  try {
    return statSync(path).size === bytes.length && Buffer.compare(readFileSync(path), bytes) === 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

function runHash(job: HashJob, onProgress?: (bytes: number) => void): HashOutcome {
  return hashRegion(
    { kind: 'file', path: job.path, offset: 0, length: Number.MAX_SAFE_INTEGER },
    job.algorithm,
    onProgress,
  );
}

function hashRegion(
  input: JobInput,
  algorithm: 'sha256' | 'sha512',
  onProgress?: (bytes: number) => void,
): HashOutcome {
  const hash = createHash(algorithm);
  let size = 0;
  for (const chunk of readInput(input, onProgress)) {
    hash.update(chunk);
    size += chunk.length;
  }
  return { digest: `${algorithm}:${hash.digest('hex')}`, size };
}
