import { ImagoError } from '../core/errors.ts';
import { Ingest } from './ingest.ts';
import {
  composeJob,
  type IngestLayerOptions,
  ingestOnce,
  type LayerDownload,
  type LayerResult,
  publishLayer,
} from './ingest-layer.ts';
import { FILES, type IngestJob } from './layer-job.ts';
import { runStream } from './layer-source.ts';
import type { Lease } from './lease.ts';
import { Partial } from './partials.ts';
import type { Store } from './store.ts';

/** Smaller ones are quicker fetched again than kept account of. */
const LARGE = 1024 * 1024;
/** A tar up to this size may be packed as tightly as can be; beyond, `MOST_RATIO` times its compressed size is enough. */
const HARMLESS = 2 ** 30;
/** gzip ends at 1032. Gigabytes of nothing but zeros exist in no image that somebody made on purpose. */
const MOST_RATIO = 250;

/**
 * Brings in a layer whose source can begin anywhere. What came of it before a process was interrupted is taken first;
 * where that turns out to be damaged, the whole is fetched once more.
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
  if (size < LARGE) return await ingestOnce(store, lease, source.openAt(0), options);
  // Somebody else who downloads the same keeps what comes; this one does without.
  using partial = Partial.open(store, { digest, size });
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
    return this.#options.signal?.aborted === true || (this.#broken !== undefined && this.#broken.error === error);
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
