import { existsSync, readFileSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Digest, digestAlgorithm } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { syncDirectory } from '../system/atomic.ts';
import { unpackError } from '../system/worker-error.ts';
import { explainWriteError } from './errors.ts';
import { Ingest } from './ingest.ts';
import { FILES, formatRecord, type LayerRecord, type ReindexJob, type ReindexOutcome } from './layer-job.ts';
import type { Store } from './store.ts';
import { threads } from './threads.ts';

/** What reading a layer's tar and making its index anew showed. */
export interface LayerCheck {
  /** Of the bytes as they are. */
  diffId: Digest;
  size: number;
  /** What is not as it must be, given that the tar is good. */
  differs: ('index' | 'facts')[];
  /** The tar cannot be indexed. */
  failure?: Error;
}

/** Reads a layer's tar on a thread: hashes it, indexes it, compares. Changes nothing. */
export async function checkLayer(
  store: Store,
  diffId: Digest,
  onProgress?: (bytes: number) => void,
): Promise<LayerCheck> {
  const directory = store.layerDirectory(diffId);
  const outcome = await run({ ...jobFor(store, diffId), index: join(directory, FILES.index) }, onProgress);
  if ('failure' in outcome) return { ...outcome, differs: [], failure: unpackError(outcome.failure) };
  const differs: LayerCheck['differs'] = outcome.same ? [] : ['index'];
  const { tarSize, facts } = outcome;
  if (!sameRecord(join(directory, FILES.record), { diffId, tarSize, facts })) differs.push('facts');
  return { diffId: outcome.diffId, size: tarSize, differs };
}

/**
 * Makes the index and the facts of a layer anew from its tar, and puts them in place of what is there. Throws
 * `DIGEST_MISMATCH` where the tar is damaged.
 */
export async function reindexLayer(store: Store, diffId: Digest): Promise<void> {
  try {
    // Or it might be pruned in between, and an index left without its tar.
    using lease = store.lease('reindex');
    lease.add(diffId);
    using ingest = Ingest.create(store, 'reindex');
    const outcome = await run({ ...jobFor(store, diffId), directory: ingest.directory });
    if ('failure' in outcome) throw unpackError(outcome.failure);
    if (outcome.diffId !== diffId) {
      throw new ImagoError('DIGEST_MISMATCH', "the layer's tar is damaged", {
        want: diffId,
        got: outcome.diffId,
        remedy: "'imago verify' says what it belongs to and how to get it back",
      });
    }
    publishLayerFiles(store, ingest, diffId);
  } catch (error) {
    throw explainWriteError(error, store.root);
  }
}

/** Gives a layer its directory, or its directory these files. */
export function publishLayerFiles(store: Store, ingest: Ingest, diffId: Digest): void {
  if (ingest.publishLayer(FILES.layer, diffId)) return;
  // The index before the record that tells of it; both are the same bytes whoever makes them.
  for (const name of [FILES.index, FILES.record]) {
    renameSync(join(ingest.path(FILES.layer), name), join(store.layerDirectory(diffId), name));
  }
  syncDirectory(store.layerDirectory(diffId));
}

function jobFor(store: Store, diffId: Digest): ReindexJob {
  return { kind: 'reindex', path: store.blobPath(diffId), algorithm: digestAlgorithm(diffId) };
}

async function run(job: ReindexJob, onProgress?: (bytes: number) => void): Promise<ReindexOutcome> {
  const pool = await threads();
  return pool.run<ReindexOutcome>(job, { weight: statSync(job.path).size, onProgress });
}

function sameRecord(path: string, want: LayerRecord): boolean {
  return existsSync(path) && readFileSync(path, 'utf8') === formatRecord(want);
}
