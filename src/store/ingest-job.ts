import { createHash, type Hash } from 'node:crypto';
import { closeSync, fsyncSync, ftruncateSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { writeAll } from '../system/atomic.ts';
import { detectCompression, MAGIC_LENGTH } from '../system/compression.ts';
import { createInflater, type Inflater } from '../system/inflate.ts';
import { hashRegion, readInput } from './job-input.ts';
import { FILES, type IngestJob, type IngestOutcome, type LayerCompression } from './layer-job.ts';
import { LayerWriter } from './layer-writer.ts';

/** Does an `IngestJob` on this thread. */
export async function runIngest(job: IngestJob, onProgress?: (bytes: number) => void): Promise<IngestOutcome> {
  using writer = new LayerWriter(job.directory, job.algorithm, job.largest);
  using kept = openKept(job);
  const source = new SourceHash(job);
  const chunks = readChunks(job, kept, onProgress);
  let inflater: Inflater | undefined;
  try {
    for (let step = chunks.next(); !step.done; step = chunks.next()) {
      const chunk = step.value;
      if (source.compression === undefined) {
        const compression = source.begin(chunk);
        if (compression !== 'none') inflater = createInflater(compression, (bytes) => writer.push(bytes));
      }
      source.update(chunk);
      if (inflater === undefined) writer.push(chunk);
      else {
        const pending = inflater.push(chunk);
        if (pending !== undefined) await pending;
      }
    }
    // A wrong source explains a damaged stream, so it is told first.
    const digest = source.check();
    await inflater?.finish();
    const diffId = writer.digest();
    if (digest === undefined) source.checkAgainst(diffId);
    checkDiffId(diffId, job.expect.diffId);
    if (job.keep) kept?.sync();
    const record = await writer.finish(diffId);
    const { size, compression = 'none' } = source;
    return { ...record, source: { digest: digest ?? diffId, size }, compression };
  } catch (error) {
    throw source.blame(error, chunks);
  } finally {
    chunks.return();
    inflater?.close();
  }
}

/** What came of the source before, then what comes; the latter is kept where it is to be. */
function* readChunks(
  { partial, input }: IngestJob,
  kept: KeptFile | undefined,
  onProgress?: (bytes: number) => void,
): Generator<Uint8Array, void, undefined> {
  if (partial !== undefined && partial.length > 0) {
    yield* readInput({ kind: 'file', path: partial.path, offset: 0, length: partial.length });
  }
  for (const chunk of readInput(input, onProgress)) {
    kept?.write(chunk);
    yield chunk;
  }
}

function openKept({ partial, keep, directory }: IngestJob): KeptFile | undefined {
  if (partial !== undefined) return new KeptFile(partial.path, partial.length);
  return keep ? new KeptFile(join(directory, FILES.compressed)) : undefined;
}

/** An image's layer is compressed by what Docker takes, whatever its media type says. */
function detectLayerCompression(head: Uint8Array): LayerCompression {
  const kind = detectCompression(head.subarray(0, MAGIC_LENGTH));
  if (kind !== 'bzip2' && kind !== 'xz') return kind;
  throw new ImagoError('BAD_LAYER_COMPRESSION', `an image's layer is compressed by ${kind}, which no image may use`, {
    want: 'gzip, zstd or none',
    remedy: 'the image is not valid: ask who made it',
  });
}

/** Errors that need no other explanation. */
const CONCLUSIVE: ReadonlySet<string> = new Set([
  'BAD_LAYER_COMPRESSION',
  'DIFFID_MISMATCH',
  'DIGEST_MISMATCH',
  'LAYER_TOO_LARGE',
  'SIZE_MISMATCH',
]);

/** Digest and size of the bytes as they come, held against what was promised. */
class SourceHash {
  readonly #job: IngestJob;
  #hash: Hash | undefined;
  size = 0;
  compression: LayerCompression | undefined;

  constructor(job: IngestJob) {
    this.#job = job;
  }

  /** Call with the first bytes: they tell how they are compressed. */
  begin(head: Uint8Array): LayerCompression {
    const { compression, algorithm, sourceAlgorithm, expect } = this.#job;
    this.compression = compression ?? detectLayerCompression(head);
    // A plain tar's digest is its DiffID: hashed once. What should have been compressed is likely no tar.
    const plain = this.compression === 'none' && algorithm === sourceAlgorithm;
    if (!plain || (compression === undefined && expect.digest !== expect.diffId)) {
      this.#hash = createHash(sourceAlgorithm);
    }
    return this.compression;
  }

  update(chunk: Uint8Array): void {
    this.size += chunk.length;
    const want = this.#job.expect.size;
    if (want !== undefined && this.size > want) throw this.#wrongSize(`more than ${want} bytes`);
    this.#hash?.update(chunk);
  }

  /** Undefined where the tar's digest is the source's: check against that. */
  check(): Digest | undefined {
    if (this.#hash === undefined) {
      this.#checkSize();
      return undefined;
    }
    const digest: Digest = `${this.#job.sourceAlgorithm}:${this.#hash.digest('hex')}`;
    this.checkAgainst(digest);
    return digest;
  }

  checkAgainst(digest: Digest): void {
    const { expect } = this.#job;
    this.#checkSize();
    if (expect.digest === undefined || digest === expect.digest) return;
    throw new ImagoError('DIGEST_MISMATCH', 'the layer is not what its digest says', {
      want: expect.digest,
      got: digest,
      remedy: 'it was damaged or changed on its way: get it again',
    });
  }

  /**
   * Damage inside of a source whose digest or size is wrong is the source's: tell that instead. `rest` is read to its
   * end for it.
   */
  blame(error: unknown, rest: Iterable<Uint8Array>): unknown {
    if (!(error instanceof ImagoError) || CONCLUSIVE.has(error.code)) return error;
    const { digest: want } = this.#job.expect;
    if (want === undefined) return error;
    const got = this.#finishDigest(rest);
    if (got instanceof ImagoError) return got;
    if (got === undefined || got === want) return error;
    return new ImagoError('DIGEST_MISMATCH', `the layer is not what its digest says, and damaged (${error.code})`, {
      want,
      got,
      remedy: 'it was damaged or changed on its way: get it again',
      cause: error,
    });
  }

  /** Or what is wrong with its size. Undefined where nothing can be said. */
  #finishDigest(rest: Iterable<Uint8Array>): Digest | ImagoError | undefined {
    const { input, sourceAlgorithm } = this.#job;
    if (input.kind === 'file') return hashRegion(input, sourceAlgorithm).digest;
    try {
      for (const chunk of rest) this.update(chunk);
      this.#checkSize();
      return this.#hash && `${sourceAlgorithm}:${this.#hash.digest('hex')}`;
    } catch (error) {
      return error instanceof ImagoError ? error : undefined;
    }
  }

  #checkSize(): void {
    const { size } = this.#job.expect;
    if (size !== undefined && this.size !== size) throw this.#wrongSize(`${this.size} bytes`);
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

/** A file that gets the compressed bytes as they come. */
class KeptFile implements Disposable {
  readonly #fd: number;

  /** Without `length` it is a new one; with it, what comes goes behind that many bytes. */
  constructor(path: string, length?: number) {
    if (length === undefined) this.#fd = openSync(path, 'wx', 0o444);
    else {
      this.#fd = openSync(path, 'a', 0o600);
      ftruncateSync(this.#fd, length);
    }
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
