import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { type Digest, digestAlgorithm } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { LayerFacts } from '../formats/erofs/facts.ts';
import { MEDIA_TYPES } from '../oci/media-types.ts';
import { type Compression, detectCompression, MAGIC_LENGTH } from '../system/compression.ts';
import { explainWriteError } from './errors.ts';
import { Ingest } from './ingest.ts';
import { FILES, type IngestJob, type IngestOutcome, type JobInput } from './layer-job.ts';
import { hasLayer, layerRecord } from './layers.ts';
import type { Lease } from './lease.ts';
import { collectLeftovers } from './leftovers.ts';
import { addOrigin } from './origins.ts';
import { publishLayerFiles } from './reindex.ts';
import type { Store } from './store.ts';
import { threads } from './threads.ts';

/** A region of a file (default: from 0 to its end), or the bytes as they come. */
export type LayerSource = { path: string; offset?: number; length?: number } | AsyncIterable<Uint8Array>;

export interface IngestLayerOptions {
  /** What is promised of the layer. `digest` and `size` are of the bytes as given, `diffId` is of the tar in them. */
  expect?: { digest?: Digest; size?: number; diffId?: Digest };
  /** Keep the compressed bytes as a blob too. */
  keepBlob?: boolean;
  /** Of the bytes as given; default: OCI's, by their compression. */
  mediaType?: string;
  /** A repository that has the bytes as given, remembered with them. */
  repository?: string;
  /** Gets the bytes read so far of the source, and the source's length where it is known. */
  onProgress?: (done: number, total: number | undefined) => void;
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

/** Sources below this are done on the calling thread: starting another one takes longer. */
const SMALL = 512 * 1024;

/**
 * Brings a layer into the store, ready to be mounted: inflates it, checks every digest that is promised, keeps the
 * tar under its DiffID and makes its index, in one pass on a thread of its own. On any error nothing is left.
 *
 * Throws `DIGEST_MISMATCH`, `SIZE_MISMATCH`, `DIFFID_MISMATCH`, `CORRUPT_COMPRESSED`, `TRUNCATED_COMPRESSED`,
 * `TOOL_MISSING`, `DISK_FULL`, and what the tar reader (`TAR_*`) and the index builder throw.
 */
export async function ingestLayer(
  store: Store,
  lease: Lease,
  source: LayerSource,
  options: IngestLayerOptions = {},
): Promise<LayerResult> {
  const expected = options.expect?.diffId;
  if (expected !== undefined) {
    lease.add(expected);
    if (hasLayer(store, expected) && !mustKeep(store, lease, options)) {
      if (isStream(source)) await source[Symbol.asyncIterator]().return?.();
      return { ...pickRecord(store, expected), existed: true };
    }
  }
  try {
    collectLeftovers(store);
    return await ingestNew(store, lease, source, options);
  } catch (error) {
    throw explainWriteError(error, store.root);
  }
}

function pickRecord(store: Store, diffId: Digest): Pick<LayerResult, 'diffId' | 'tarSize' | 'facts'> {
  const { tarSize, facts } = layerRecord(store, diffId);
  return { diffId, tarSize, facts };
}

/** The layer is here, but its compressed bytes are wanted too and are not. */
function mustKeep(store: Store, lease: Lease, options: IngestLayerOptions): boolean {
  const digest = options.expect?.digest;
  if (!options.keepBlob || digest === undefined || digest === options.expect?.diffId) return false;
  lease.add(digest);
  return !store.hasBlob(digest);
}

function isStream(source: LayerSource): source is AsyncIterable<Uint8Array> {
  return Symbol.asyncIterator in source;
}

async function ingestNew(
  store: Store,
  lease: Lease,
  source: LayerSource,
  options: IngestLayerOptions,
): Promise<LayerResult> {
  using ingest = Ingest.create(store, 'layer');
  const opened = isStream(source) ? await openStream(source, options) : await openRegion(source, options);
  const job: Omit<IngestJob, 'input'> = {
    kind: 'ingest',
    compression: opened.compression,
    directory: ingest.directory,
    keep: (options.keepBlob ?? false) && opened.compression !== 'none',
    algorithm: options.expect?.diffId === undefined ? 'sha256' : digestAlgorithm(options.expect.diffId),
    sourceAlgorithm: options.expect?.digest === undefined ? 'sha256' : digestAlgorithm(options.expect.digest),
    expect: opened.translated ? { diffId: options.expect?.diffId } : (options.expect ?? {}),
  };
  const outcome = await opened.run(job, options);
  return publish(store, lease, ingest, { ...job, ...outcome }, options);
}

interface OpenedSource {
  compression: Extract<Compression, 'none' | 'gzip' | 'zstd'>;
  /** A tool inflates it on the way: its bytes are not those that were given. */
  translated: boolean;
  run(job: Omit<IngestJob, 'input'>, options: IngestLayerOptions): Promise<IngestOutcome>;
}

/** Names first, record after: what `layer.json` tells of is there before it is. */
function publish(
  store: Store,
  lease: Lease,
  ingest: Ingest,
  done: Pick<IngestJob, 'compression' | 'keep'> & IngestOutcome,
  options: IngestLayerOptions,
): LayerResult {
  const { diffId, tarSize, facts } = done;
  lease.add(diffId);
  const existed = hasLayer(store, diffId);
  if (!store.hasBlob(diffId)) ingest.publishBlob(FILES.tar, diffId);
  if (!existed) publishLayerFiles(store, ingest, diffId);
  const result: LayerResult = { diffId, tarSize, facts, existed };
  if (done.compression === 'none') return result;
  const { digest, size } = done.source;
  const mediaType = options.mediaType ?? (done.compression === 'gzip' ? MEDIA_TYPES.layerGzip : MEDIA_TYPES.layerZstd);
  if (done.keep) {
    lease.add(digest);
    if (!store.hasBlob(digest)) ingest.publishBlob(FILES.compressed, digest);
  }
  addOrigin(store, diffId, { digest, size, mediaType, repository: options.repository });
  return { ...result, compressed: { digest, size, mediaType } };
}

async function openRegion(
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
async function openStream(source: AsyncIterable<Uint8Array>, options: IngestLayerOptions): Promise<OpenedSource> {
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
    run: (job, options) => (ended ? runBytes(job, bytes) : runStream(job, whole, options)),
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

async function runHere(job: IngestJob, onProgress?: (done: number) => void): Promise<IngestOutcome> {
  const { runJob } = await import('./run-job.ts');
  return (await runJob(job, onProgress)) as IngestOutcome;
}

async function runBytes(job: Omit<IngestJob, 'input'>, bytes: Uint8Array): Promise<IngestOutcome> {
  return runHere({ ...job, input: { kind: 'bytes', bytes } });
}

/** Feeds a thread through shared memory, no faster than it takes. */
async function runStream(
  job: Omit<IngestJob, 'input'>,
  source: AsyncIterable<Uint8Array>,
  { onProgress, signal }: IngestLayerOptions,
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
      onProgress: onProgress && ((done) => onProgress(done, job.expect.size)),
      signal: signal === undefined ? feedFailure.signal : AbortSignal.any([signal, feedFailure.signal]),
    },
  );
  // Awaited at the end; until then its failure only stops the feeding.
  outcome.catch(() => writer.cancel());
  try {
    for await (const chunk of source) if (!(await writer.write(chunk))) break;
    await writer.end();
  } catch (error) {
    feedFailure.abort(error);
  }
  return outcome;
}
