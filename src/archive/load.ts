import { Readable } from 'node:stream';
import { type Digest, digestAlgorithm } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { runTogether } from '../core/limit.ts';
import { keepUntagged, tagImage } from '../image/tags.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { encodeJson } from '../oci/json.ts';
import type { ImageManifest } from '../oci/manifest.ts';
import { MEDIA_TYPES } from '../oci/media-types.ts';
import { digestOf } from '../store/blobs.ts';
import type { LayerResult } from '../store/layer-options.ts';
import { hasLayer, layerRecord } from '../store/layers.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import { type ArchiveContent, tellStored } from './content.ts';
import { type ArchiveSource, openArchive } from './open.ts';
import type { PlannedImage, PlannedLayer, PlanOptions } from './plan.ts';
import { planDockerArchive, readDockerNames } from './read-docker.ts';
import { planOciLayout } from './read-oci.ts';

export interface LoadOptions extends PlanOptions {
  signal?: AbortSignal;
  /** Bytes of a layer's file so far; `id` is a DiffID, or the archive's name of it while a stream comes in. */
  onLayer?: (id: string, done: number, total: number | undefined) => void;
  onLayerDone?: (id: string, existed: boolean) => void;
  /** What came into the store: garbage where the load fails, or where it belongs to no image after all. */
  onStored?: (digest: Digest) => void;
}

export interface LoadedImage {
  /** Digest of the config. */
  id: Digest;
  /** The manifest. */
  descriptor: Descriptor;
  /** In full; empty for an image without a name. */
  names: string[];
  /** Names of these that another image had before, with its manifest. It stays as an untagged one. */
  taken: { name: string; from: Descriptor }[];
}

/**
 * Loads the images of an OCI layout (directory or tar) or a Docker archive, compressed or not, from a path or a stream.
 * Layers keep their compressed bytes, so a save gives back the same digests. Names are set at the end: on any error
 * there are none, and what came in is garbage for the next prune.
 *
 * Throws `UNKNOWN_ARCHIVE`, `NO_IMAGE`, `BAD_LAYOUT`, `BAD_MANIFEST`, `BAD_CONFIG`, `BLOB_MISSING`, `PLATFORM_MISMATCH`,
 * `TAR_*`, and what `ingestLayer` throws.
 */
export async function loadArchive(
  store: Store,
  source: ArchiveSource,
  options: LoadOptions = {},
): Promise<LoadedImage[]> {
  using lease = store.lease('load');
  using content = await openArchive(store, lease, source, options);
  const loaded = await loadContent(store, lease, content, options);
  for (const image of loaded) nameImage(store, image);
  return loaded;
}

/** As `loadArchive`, but sets no names: what comes in is held by the lease alone. */
export async function loadContent(
  store: Store,
  lease: Lease,
  content: ArchiveContent,
  options: LoadOptions,
): Promise<LoadedImage[]> {
  const images = planArchive(content, options);
  const layers = await ingestLayers(store, lease, content, images, options);
  const loaded: LoadedImage[] = [];
  for (const image of images) loaded.push(await writePlanned(store, lease, image, layers, options));
  options.signal?.throwIfAborted();
  return loaded;
}

function planArchive(content: ArchiveContent, options: PlanOptions): PlannedImage[] {
  // Docker has written both since 25; the layout knows the manifest's digest.
  if (content.has('index.json') && (content.has('oci-layout') || !content.has('manifest.json'))) {
    const images = planOciLayout(content, options);
    const names = readDockerNames(content);
    return images.map((image) => ({ ...image, names: [...new Set([...image.names, ...(names.get(image.id) ?? [])])] }));
  }
  if (content.has('manifest.json')) return planDockerArchive(content, options);
  const old = content.has('repositories');
  throw new ImagoError('UNKNOWN_ARCHIVE', `${content.title} is neither an OCI layout nor a Docker archive`, {
    want: 'index.json or manifest.json in it',
    remedy: old
      ? 'it was saved by Docker before 1.10: load and save it with a Docker up to 26 first'
      : "the tar of a root file system is brought in with 'imago import'",
  });
}

type Ingested = Map<PlannedLayer, LayerResult>;

/** All layers at once, each one once; the pool of threads sees to how many really run. */
async function ingestLayers(
  store: Store,
  lease: Lease,
  content: ArchiveContent,
  images: PlannedImage[],
  options: LoadOptions,
): Promise<Ingested> {
  const same = Map.groupBy(
    images.flatMap((image) => image.layers),
    (layer) => `${layer.diffId} ${layer.descriptor?.digest ?? layer.file}`,
  );
  const out: Ingested = new Map();
  const ingest = async (layers: PlannedLayer[], signal: AbortSignal): Promise<void> => {
    const result = await ingestLayerOf(store, lease, content, layers[0]!, signal, options);
    for (const layer of layers) out.set(layer, result);
  };
  // Until all have ended, so that nothing is being written any more when the lease does.
  await runTogether([...same.values()], ingest, { signal: options.signal });
  return out;
}

async function ingestLayerOf(
  store: Store,
  lease: Lease,
  content: ArchiveContent,
  layer: PlannedLayer,
  signal: AbortSignal,
  { onLayer, onLayerDone, onStored }: LoadOptions,
): Promise<LayerResult> {
  const { diffId, file, descriptor } = layer;
  const { digest, size, mediaType } = descriptor ?? {};
  const result =
    borrowLayer(store, lease, content, layer) ??
    (await content.ingest(store, lease, file, {
      digest,
      size,
      diffId,
      mediaType,
      signal,
      onProgress: onLayer && ((done, total) => onLayer(diffId, done, total)),
    }));
  tellStored(result, onStored);
  onLayerDone?.(diffId, result.existed);
  return result;
}

/** A layer that the archive lacks (a foreign one, or left out on purpose) may be in the store. */
function borrowLayer(
  store: Store,
  lease: Lease,
  content: ArchiveContent,
  { file, diffId, descriptor }: PlannedLayer,
): LayerResult | undefined {
  if (content.has(file)) return undefined;
  lease.add(diffId);
  if (descriptor !== undefined) lease.add(descriptor.digest);
  if (!hasLayer(store, diffId)) return undefined;
  const { tarSize, facts } = layerRecord(store, diffId);
  return { diffId, tarSize, facts, existed: true };
}

function nameImage(store: Store, { names, descriptor, taken }: LoadedImage): void {
  if (names.length === 0) keepUntagged(store, descriptor);
  for (const name of names) {
    const from = store.getRef(name);
    if (from !== undefined && from.digest !== descriptor.digest) taken.push({ name, from });
    tagImage(store, name, descriptor);
  }
}

async function writePlanned(
  store: Store,
  lease: Lease,
  image: PlannedImage,
  layers: Ingested,
  { onStored }: LoadOptions,
): Promise<LoadedImage> {
  const { id, names } = image;
  await putDocument(store, lease, image.config, id);
  onStored?.(id);
  const { bytes, mediaType, digest } = image.manifest ?? makeManifest(image, layers);
  await putDocument(store, lease, bytes, digest);
  onStored?.(digest);
  return { id, names, descriptor: { mediaType, digest, size: bytes.length }, taken: [] };
}

/** Under the digest that names it, which need not be a SHA-256. */
async function putDocument(store: Store, lease: Lease, bytes: Uint8Array, digest: Digest): Promise<void> {
  if (digestAlgorithm(digest) === 'sha256') store.putBlob(lease, bytes);
  else await store.ingestBlob(lease, Readable.from([bytes]), { digest });
}

/**
 * The manifest that a Docker archive lacks. It names the tars themselves, even where the archive has them compressed:
 * so it is the same whatever the store has already.
 */
function makeManifest(image: PlannedImage, layers: Ingested): NonNullable<PlannedImage['manifest']> {
  const manifest: ImageManifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config: { mediaType: MEDIA_TYPES.config, digest: image.id, size: image.config.length },
    layers: image.layers.map((layer) => {
      const { diffId, tarSize } = layers.get(layer)!;
      return { mediaType: MEDIA_TYPES.layer, digest: diffId, size: tarSize };
    }),
  };
  const bytes = encodeJson(manifest);
  return { bytes, digest: digestOf(bytes), mediaType: MEDIA_TYPES.manifest };
}
