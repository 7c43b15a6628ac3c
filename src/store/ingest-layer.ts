import { explainWriteError } from './errors.ts';
import { Ingest } from './ingest.ts';
import type { IngestJob } from './layer-job.ts';
import type { IngestLayerOptions, LayerDownload, LayerResult, LayerSource } from './layer-options.ts';
import { openRegion, openStream } from './layer-source.ts';
import type { Lease } from './lease.ts';
import { collectLeftovers } from './leftovers.ts';
import { composeJob, findIngested, publishLayer } from './publish-layer.ts';
import type { Store } from './store.ts';

/**
 * Brings a layer into the store, ready to be mounted: inflates it, checks every digest that is promised, keeps the
 * tar under its DiffID and makes its index, in one pass on a thread of its own. On any error nothing is left but what
 * came of a download that broke off: the next one goes on from there.
 *
 * Throws `DIGEST_MISMATCH`, `SIZE_MISMATCH`, `DIFFID_MISMATCH`, `CORRUPT_COMPRESSED`, `TRUNCATED_COMPRESSED`,
 * `LAYER_TOO_LARGE`, `TOOL_MISSING`, `DISK_FULL`, and what the tar reader (`TAR_*`) and the index builder throw.
 */
export async function ingestLayer(
  store: Store,
  lease: Lease,
  source: LayerSource,
  options: IngestLayerOptions = {},
): Promise<LayerResult> {
  const here = findIngested(store, lease, options);
  if (here !== undefined) {
    if (Symbol.asyncIterator in source) await source[Symbol.asyncIterator]().return?.();
    return here;
  }
  try {
    collectLeftovers(store);
    if (!('openAt' in source)) return await ingestOnce(store, lease, source, options);
    const { ingestDownload } = await import('./ingest-download.ts');
    return await ingestDownload(store, lease, source, options);
  } catch (error) {
    throw explainWriteError(error, store.root);
  }
}

/** From a source that is there for one reading. */
async function ingestOnce(
  store: Store,
  lease: Lease,
  source: Exclude<LayerSource, LayerDownload>,
  options: IngestLayerOptions,
): Promise<LayerResult> {
  using ingest = Ingest.create(store, 'layer');
  const opened = await (Symbol.asyncIterator in source ? openStream(source, options) : openRegion(source, options));
  const job: Omit<IngestJob, 'input'> = {
    ...composeJob(ingest, options),
    compression: opened.compression,
    keep: (options.keepBlob ?? false) && opened.compression !== 'none',
  };
  if (opened.translated) job.expect = { diffId: options.expect?.diffId };
  const outcome = await opened.run(job, options);
  return publishLayer(store, lease, ingest, { ...job, ...outcome }, options);
}
