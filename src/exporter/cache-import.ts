import type { CachedStep, CacheSource, StepResult } from '../build/cache.ts';
import {
  CACHE_CONFIG_TYPE,
  type CacheLayer,
  type CacheRecords,
  INLINE_CACHE,
  readCacheConfig,
  readInlineCache,
} from '../build/cache-format.ts';
import type { Digest } from '../core/digest.ts';
import { createLimit } from '../core/limit.ts';
import { parseConfig } from '../oci/config.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { type ParsedManifest, parseManifest } from '../oci/manifest.ts';
import { isConfigType, isIndexType, isManifestType } from '../oci/media-types.ts';
import { ingestLayer } from '../store/ingest-layer.ts';
import type { LayerSource } from '../store/layer-options.ts';
import { hasLayer } from '../store/layers.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';

/** Where the documents and layers of a cache come from. */
export interface CacheContent {
  /** For messages. */
  readonly title: string;
  /** The repository in full, where it is a registry's. */
  readonly repository?: string;
  /** The manifest or index that the cache's name stands for. */
  readTop(): Promise<{ bytes: Uint8Array; mediaType: string | undefined }>;
  /** A small document, checked. */
  readDocument(descriptor: Descriptor): Promise<Uint8Array>;
  /** A layer's bytes as they travel; not checked. */
  openLayer(descriptor: Descriptor, signal: AbortSignal | undefined): LayerSource;
}

/** Manifests of one index that may have inline caches, and indexes in indexes. Bounds what a hostile one costs. */
const MOST_MANIFESTS = 32;
const DEEPEST = 2;
/** Layers at one time, and failures after which a cache is not asked any more. */
const AT_ONCE = 3;
const MOST_FAILURES = 3;

/** All records of a cache: its own, or those that images carry. Throws `BAD_CACHE`, `BAD_MANIFEST`, and the client's errors. */
export async function readCacheRecords(content: CacheContent): Promise<CacheRecords> {
  const top = await content.readTop();
  const budget = { left: MOST_MANIFESTS };
  return readManifest(content, parseManifest(top.bytes, { mediaType: top.mediaType }), budget, DEEPEST);
}

async function readManifest(
  content: CacheContent,
  parsed: ParsedManifest,
  budget: { left: number },
  depth: number,
): Promise<CacheRecords> {
  if (parsed.kind === 'image') {
    const { config, layers } = parsed.value;
    if (config.mediaType === CACHE_CONFIG_TYPE) return readCacheConfig(await content.readDocument(config), layers);
    return isConfigType(config.mediaType) ? readImageCache(await content.readDocument(config), layers) : new Map();
  }
  const { manifests } = parsed.value;
  const config = manifests.find(({ mediaType }) => mediaType === CACHE_CONFIG_TYPE);
  if (config !== undefined) {
    return readCacheConfig(
      await content.readDocument(config),
      manifests.filter((descriptor) => descriptor !== config),
    );
  }
  const merged = new Map<string, CacheRecords extends ReadonlyMap<string, infer T> ? T : never>();
  for (const child of manifests) {
    if (!isManifestType(child.mediaType) && !(isIndexType(child.mediaType) && depth > 0)) continue;
    if (budget.left-- <= 0) break;
    const { mediaType } = child;
    const inner = parseManifest(await content.readDocument(child), { mediaType });
    for (const [key, results] of await readManifest(content, inner, budget, depth - 1)) {
      merged.set(key, new Map([...results, ...(merged.get(key) ?? [])]));
    }
  }
  return merged;
}

/** What an image's config carries; nothing where it carries none. */
function readImageCache(bytes: Uint8Array, descriptors: readonly Descriptor[]): CacheRecords {
  const { value } = parseConfig(bytes);
  const text = (value as unknown as Record<string, unknown>)[INLINE_CACHE];
  const diffIds = value.rootfs.diff_ids;
  if (typeof text !== 'string' || diffIds.length !== descriptors.length) return new Map();
  const layers: CacheLayer[] = descriptors.map((descriptor, i) => ({ descriptor, diffId: diffIds[i]! }));
  return readInlineCache(text, layers);
}

export interface ImportOptions {
  store: Store;
  lease: Lease;
  warn(text: string): void;
  signal?: AbortSignal;
}

/**
 * The results of a cache from elsewhere. A layer comes into the store when a step hits that needs it, held against its
 * digest and its DiffID; one that cannot be had is a miss, and told. What the cache says of a key is believed: whoever
 * names it trusts its maker.
 */
export class ImportedCache implements CacheSource {
  readonly #content: CacheContent;
  readonly #records: CacheRecords;
  readonly #options: ImportOptions;
  readonly #limit = createLimit(AT_ONCE);
  readonly #fetched: Map<string, Promise<boolean>> = new Map();
  #failures = 0;

  constructor(content: CacheContent, records: CacheRecords, options: ImportOptions) {
    this.#content = content;
    this.#records = records;
    this.#options = options;
  }

  has(key: string): boolean {
    return this.#records.has(key);
  }

  async find(key: string, inputs: string): Promise<StepResult | undefined> {
    const found = this.#records.get(key)?.get(inputs);
    if (found === undefined) return undefined;
    const { layer, created } = found;
    if (layer === null) return { layer, created };
    return (await this.#have(layer)) ? { layer: layer.diffId, created } : undefined;
  }

  sharing(layer: Digest): readonly CachedStep[] {
    const out: CachedStep[] = [];
    for (const [key, results] of this.#records) {
      for (const [inputs, { layer: own, created }] of results) {
        if (own?.diffId === layer) out.push({ key, inputs, layer, created });
      }
    }
    return out;
  }

  async #have(layer: CacheLayer): Promise<boolean> {
    const { store, lease } = this.#options;
    lease.add(layer.diffId);
    if (hasLayer(store, layer.diffId)) return true;
    const key = `${layer.descriptor.digest} ${layer.diffId}`;
    let fetched = this.#fetched.get(key);
    if (fetched === undefined) {
      fetched = this.#limit(() => this.#fetch(layer));
      this.#fetched.set(key, fetched);
    }
    return fetched;
  }

  async #fetch({ descriptor, diffId }: CacheLayer): Promise<boolean> {
    if (this.#failures >= MOST_FAILURES) return false;
    const { store, lease, warn, signal } = this.#options;
    const { digest, size, mediaType } = descriptor;
    try {
      await ingestLayer(store, lease, this.#content.openLayer(descriptor, signal), {
        expect: { digest, size, diffId },
        mediaType,
        repository: this.#content.repository,
        signal,
      });
      return true;
    } catch (error) {
      signal?.throwIfAborted();
      const { message } = error as Error;
      const last = ++this.#failures === MOST_FAILURES ? '; it is not asked any more' : '';
      warn(`cache ${this.#content.title}: layer ${digest} cannot be had, its step is done anew: ${message}${last}`);
      return false;
    }
  }
}
