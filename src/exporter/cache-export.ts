import type { CachedStep } from '../build/cache.ts';
import { CACHE_CONFIG_TYPE, encodeCacheConfig } from '../build/cache-format.ts';
import type { Digest } from '../core/digest.ts';
import { runTogether } from '../core/limit.ts';
import { tarLayer } from '../image/draft.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { encodeJson } from '../oci/json.ts';
import { layerKind, layerMediaType, MEDIA_TYPES } from '../oci/media-types.ts';
import { digestOf } from '../store/blobs.ts';
import { hasLayer, layerRecord } from '../store/layers.ts';
import type { Store } from '../store/store.ts';
import type { CacheTarget } from './cache-options.ts';

/** Where a cache goes. */
export interface CacheSink {
  /** Sees to it that a layer is there, in the form that is asked for or one that it has already, and says in which. */
  putLayer(diffId: Digest, signal: AbortSignal): Promise<Descriptor>;
  putDocument(bytes: Uint8Array, descriptor: Descriptor): Promise<void>;
  /** The manifest, under the cache's name: from here on all see it. False where it is there already. */
  finish(bytes: Uint8Array, descriptor: Descriptor): Promise<boolean>;
}

/** Layers at one time. */
const AT_ONCE = 3;

export interface ExportedCache {
  descriptor: Descriptor;
  layers: number;
  steps: number;
  /** False: it was there, just so. */
  changed: boolean;
}

/**
 * Writes a cache: layers first, the name last, so that whoever reads it meanwhile has the old one whole, or the new
 * one. The same steps give the same bytes. `result`: the layers of the images that were built, all that mode=min has.
 * Undefined where no step made a layer: there is nothing to keep.
 */
export async function exportCache(
  store: Store,
  sink: CacheSink,
  steps: readonly CachedStep[],
  result: ReadonlySet<Digest>,
  target: Pick<CacheTarget, 'mode' | 'imageManifest' | 'ociMediaTypes'>,
  signal?: AbortSignal,
): Promise<ExportedCache | undefined> {
  const all = target.mode === 'max';
  const wanted = steps.filter(
    ({ layer, lineage }) => (layer === null || all || result.has(layer)) && !(all && lineage === true),
  );
  const diffIds = [...new Set(wanted.flatMap(({ layer }) => (layer === null ? [] : [layer])))].filter((diffId) =>
    hasLayer(store, diffId),
  );
  if (diffIds.length === 0) return undefined;
  const put = await runTogether(diffIds, (diffId, ended) => sink.putLayer(diffId, ended), { signal, atOnce: AT_ONCE });
  const layers = new Map(diffIds.map((diffId, i) => [diffId, inFamily(put[i]!, target.ociMediaTypes)]));
  const config = encodeCacheConfig(wanted, layers);
  const named = { mediaType: CACHE_CONFIG_TYPE, digest: digestOf(config.bytes), size: config.bytes.length };
  await sink.putDocument(config.bytes, named);
  const { mediaType, bytes } = composeManifest(config.layers, named, target);
  const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
  const changed = await sink.finish(bytes, descriptor);
  return { descriptor, layers: layers.size, steps: wanted.length, changed };
}

function composeManifest(
  layers: Descriptor[],
  config: Descriptor,
  { imageManifest, ociMediaTypes }: Pick<CacheTarget, 'imageManifest' | 'ociMediaTypes'>,
): { mediaType: string; bytes: Uint8Array } {
  if (imageManifest) {
    const mediaType = MEDIA_TYPES.manifest;
    return { mediaType, bytes: encodeJson({ schemaVersion: 2, mediaType, config, layers }) };
  }
  const mediaType = ociMediaTypes ? MEDIA_TYPES.index : MEDIA_TYPES.dockerList;
  return { mediaType, bytes: encodeJson({ schemaVersion: 2, mediaType, manifests: [...layers, config] }) };
}

function inFamily({ mediaType, digest, size }: Descriptor, oci: boolean): Descriptor {
  const { compression } = layerKind(mediaType)!;
  return { mediaType: layerMediaType(compression, oci ? 'oci' : 'docker'), digest, size };
}

/** A layer as it is in the store. */
export function storedLayer(store: Store, diffId: Digest): Descriptor {
  return tarLayer({ diffId, tarSize: layerRecord(store, diffId).tarSize }).descriptor;
}
