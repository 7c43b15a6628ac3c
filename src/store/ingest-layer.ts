import { type Digest, digestAlgorithm } from '../core/digest.ts';
import type { LayerFacts } from '../formats/erofs/facts.ts';
import { MEDIA_TYPES } from '../oci/media-types.ts';
import { explainWriteError } from './errors.ts';
import { Ingest } from './ingest.ts';
import { FILES, type IngestJob, type IngestOutcome } from './layer-job.ts';
import { openRegion, openStream } from './layer-source.ts';
import { hasLayer, layerRecord } from './layers.ts';
import type { Lease } from './lease.ts';
import { collectLeftovers } from './leftovers.ts';
import { addOrigin } from './origins.ts';
import { publishLayerFiles } from './reindex.ts';
import type { Store } from './store.ts';

/** A region of a file (default: from 0 to its end), the bytes as they come, or a download. */
export type LayerSource =
  | { path: string; offset?: number; length?: number }
  | AsyncIterable<Uint8Array>
  | LayerDownload;

/** Bytes that can be had from any offset on. `expect` must tell their digest and size. */
export interface LayerDownload {
  /** `signal` tells that nobody wants them any more. */
  openAt(offset: number, signal?: AbortSignal): AsyncIterable<Uint8Array>;
}

export interface IngestLayerOptions {
  /** What is promised of the layer. `digest` and `size` are of the bytes as given, `diffId` is of the tar in them. */
  expect?: { digest?: Digest; size?: number; diffId?: Digest };
  /** Keep the compressed bytes as a blob too. */
  keepBlob?: boolean;
  /** Of the bytes as given; default: OCI's, by their compression. */
  mediaType?: string;
  /** A repository that has the bytes as given, remembered with them. */
  repository?: string;
  /** The largest tar to take, in bytes. */
  largest?: number;
  /** Gets the bytes read so far of the source, and the source's length where it is known. */
  onProgress?: (done: number, total: number | undefined) => void;
  /** All that `source` gave is on its way to the thread that makes a layer of it; not called where there is none. */
  onTaken?: () => void;
  signal?: AbortSignal;
}

export interface LayerResult {
  diffId: Digest;
  tarSize: number;
  facts: LayerFacts;
  /** The bytes as given, where they were compressed in a way that a registry takes. */
  compressed?: { digest: Digest; size: number; mediaType: string };
  /** The layer was here before: nothing was read where `expect.diffId` told so. */
  existed: boolean;
}

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
