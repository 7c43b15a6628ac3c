import type { Digest } from '../core/digest.ts';
import { ImagoError, isImagoError } from '../core/errors.ts';
import { sleep } from '../system/sleep.ts';
import { Ingest } from './ingest.ts';
import { FILES, type IngestJob } from './layer-job.ts';
import type { IngestLayerOptions, LayerDownload, LayerResult } from './layer-options.ts';
import { runHere, runStream } from './layer-source.ts';
import type { Lease } from './lease.ts';
import { Partial } from './partials.ts';
import { composeJob, findIngested, publishLayer } from './publish-layer.ts';
import type { Store } from './store.ts';

/** Smaller ones are quicker fetched again than kept account of. */
const LARGE = 512 * 1024;
/** A tar up to this size may be packed as tightly as can be; beyond, `MOST_RATIO` times its compressed size is enough. */
const HARMLESS = 2 ** 30;
/** gzip ends at 1032. Gigabytes of nothing but zeros exist in no image that somebody made on purpose. */
const MOST_RATIO = 250;
/** How often to look whether somebody else's download of the same is done. */
const LOOK_MS = 100;
/** One that stands still for so long is not waited for. */
const PATIENCE_MS = 10_000;

/**
 * Brings in a layer whose source can begin anywhere. What came of it before a process was interrupted is taken first;
 * where that turns out to be damaged, the whole is fetched once more. What somebody else is downloading is waited for, as
 * long as it gets on; where it breaks off, this goes on from there.
 */
export async function ingestDownload(
  store: Store,
  lease: Lease,
  source: LayerDownload,
  given: IngestLayerOptions,
): Promise<LayerResult> {
  const { digest, size } = given.expect ?? {};
  if (digest === undefined || size === undefined) throw new Error('a download needs its digest and its size');
  const options = { ...given, largest: largestTar(size) };
  if (size < LARGE) return await ingestSmall(store, lease, source, options);
  using partial = await awaitPartial(store, { digest, size }, options);
  const here = findIngested(store, lease, options);
  if (here !== undefined) return here;
  for (let kept = partial?.length ?? 0; ; kept = 0) {
    const attempt = new Attempt(store, lease, source, options);
    try {
      const result = await attempt.run(partial, kept);
      partial?.discard();
      return result;
    } catch (error) {
      if (attempt.interrupted(error)) throw error;
      // What came is not what was promised. Perhaps it is only what was kept.
      if (kept > 0 && error instanceof ImagoError) continue;
      partial?.discard();
      throw error;
    }
  }
}

/** Undefined where somebody else has it and stands still: this download does without keeping what comes. */
async function awaitPartial(
  store: Store,
  blob: { digest: Digest; size: number },
  { signal, onProgress }: IngestLayerOptions,
): Promise<Partial | undefined> {
  let length = -1;
  for (let since = performance.now(); performance.now() - since < PATIENCE_MS; await sleep(LOOK_MS, signal)) {
    const partial = Partial.open(store, blob);
    if (partial !== undefined) return partial;
    const now = Partial.lengthOf(store, blob.digest);
    if (now === length) continue;
    [length, since] = [now, performance.now()];
    // The last byte is told once the layer is here.
    onProgress?.(Math.min(length, blob.size - 1), blob.size);
  }
  return undefined;
}

/** In memory, and on this thread: starting another one takes longer. */
async function ingestSmall(
  store: Store,
  lease: Lease,
  source: LayerDownload,
  options: IngestLayerOptions,
): Promise<LayerResult> {
  const { signal, onProgress } = options;
  const parts: Uint8Array[] = [];
  for await (const part of source.openAt(0, signal)) parts.push(part);
  const bytes = Buffer.concat(parts);
  onProgress?.(bytes.length, bytes.length);
  using ingest = Ingest.create(store, 'layer');
  const job = composeJob(ingest, options);
  const outcome = await runHere({ ...job, input: { kind: 'bytes', bytes } });
  return publishLayer(store, lease, ingest, { keep: job.keep && outcome.compression !== 'none', ...outcome }, options);
}

function largestTar(size: number): number {
  const allowed = Number(process.env.IMAGO_LARGEST_LAYER);
  return Math.max(HARMLESS, size * MOST_RATIO, Number.isFinite(allowed) ? allowed : 0);
}

class Attempt {
  readonly #store: Store;
  readonly #lease: Lease;
  readonly #source: LayerDownload;
  readonly #options: IngestLayerOptions;
  #broken: { error: unknown } | undefined;

  constructor(store: Store, lease: Lease, source: LayerDownload, options: IngestLayerOptions) {
    this.#store = store;
    this.#lease = lease;
    this.#source = source;
    this.#options = options;
  }

  async run(partial: Partial | undefined, kept: number): Promise<LayerResult> {
    using ingest = Ingest.create(this.#store, 'layer');
    const job: Omit<IngestJob, 'input'> = composeJob(ingest, this.#options);
    if (partial !== undefined) job.partial = { path: partial.path, length: kept };
    const stop = new AbortController();
    const outcome = await runStream(
      job,
      {
        bytes: kept === this.#options.expect?.size ? nothing() : this.#source.openAt(kept, stop.signal),
        before: kept,
        onBroken: (error) => {
          this.#broken = { error };
        },
        onRefused: (error) => stop.abort(error),
      },
      this.#options,
    );
    const keep = job.keep && outcome.compression !== 'none';
    if (keep) partial?.moveTo(ingest.path(FILES.compressed));
    return publishLayer(this.#store, this.#lease, ingest, { keep, ...outcome }, this.#options);
  }

  /** The error says nothing of the bytes that have come so far. */
  interrupted(error: unknown): boolean {
    if (this.#options.signal?.aborted) return true;
    return this.#broken !== undefined && this.#broken.error === error && !isImagoError(error, 'SIZE_MISMATCH');
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
