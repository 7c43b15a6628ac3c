import { digestAlgorithm } from '../core/digest.ts';
import { MEDIA_TYPES } from '../oci/media-types.ts';
import type { Ingest } from './ingest.ts';
import { FILES, type IngestJob, type IngestOutcome } from './layer-job.ts';
import type { IngestLayerOptions, LayerResult } from './layer-options.ts';
import { hasLayer, layerRecord } from './layers.ts';
import type { Lease } from './lease.ts';
import { addOrigin } from './origins.ts';
import { publishLayerFiles } from './reindex.ts';
import type { Store } from './store.ts';

/** The layer that is promised, where the store has all of it that is wanted. */
export function findIngested(store: Store, lease: Lease, options: IngestLayerOptions): LayerResult | undefined {
  const diffId = options.expect?.diffId;
  if (diffId === undefined) return undefined;
  lease.add(diffId);
  if (!hasLayer(store, diffId) || mustKeep(store, lease, options)) return undefined;
  const { tarSize, facts } = layerRecord(store, diffId);
  return { diffId, tarSize, facts, existed: true };
}

/** The layer is here, but its compressed bytes are wanted too and are not. */
function mustKeep(store: Store, lease: Lease, options: IngestLayerOptions): boolean {
  const digest = options.expect?.digest;
  if (!options.keepBlob || digest === undefined || digest === options.expect?.diffId) return false;
  lease.add(digest);
  return !store.hasBlob(digest);
}

export function composeJob(
  ingest: Ingest,
  { expect = {}, keepBlob = false, largest }: IngestLayerOptions,
): Omit<IngestJob, 'input'> {
  return {
    kind: 'ingest',
    directory: ingest.directory,
    keep: keepBlob,
    algorithm: expect.diffId === undefined ? 'sha256' : digestAlgorithm(expect.diffId),
    sourceAlgorithm: expect.digest === undefined ? 'sha256' : digestAlgorithm(expect.digest),
    expect,
    largest,
  };
}

/** Names first, record after: what `layer.json` tells of is there before it is. */
export function publishLayer(
  store: Store,
  lease: Lease,
  ingest: Ingest,
  done: Pick<IngestJob, 'keep'> & IngestOutcome,
  options: IngestLayerOptions,
): LayerResult {
  const { diffId, tarSize, facts } = done;
  lease.add(diffId);
  const existed = hasLayer(store, diffId);
  if (!store.hasBlob(diffId)) ingest.publishBlob(FILES.tar, diffId);
  if (!existed) publishLayerFiles(store, ingest, diffId);
  const result: LayerResult = { diffId, tarSize, facts, existed };
  const { digest, size } = done.source;
  if (done.compression === 'none') {
    // That a registry has the tar as it is tells a push to leave it so.
    const { mediaType = MEDIA_TYPES.layer, repository } = options;
    if (repository !== undefined) addOrigin(store, diffId, { digest, size, mediaType, repository });
    return result;
  }
  const mediaType = options.mediaType ?? (done.compression === 'gzip' ? MEDIA_TYPES.layerGzip : MEDIA_TYPES.layerZstd);
  if (done.keep) {
    lease.add(digest);
    if (!store.hasBlob(digest)) ingest.publishBlob(FILES.compressed, digest);
  }
  addOrigin(store, diffId, { digest, size, mediaType, repository: options.repository });
  return { ...result, compressed: { digest, size, mediaType } };
}
