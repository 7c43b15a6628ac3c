import { type Digest, isDigest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { encodeJson, type Field, parseJson } from '../oci/json.ts';
import { MEDIA_TYPES } from '../oci/media-types.ts';
import type { CachedStep } from './cache.ts';

/**
 * Caches that travel, in BuildKit's format (moby/buildkit v0.13–v0.25, cache/remotecache/v1: `cacheconfig.v0`): a list
 * of layers, and a list of records, each with a digest, links to other records, and results.
 *
 * - A step is a record whose digest is its key. It is complete: the layers below are in it, so it links to no parent.
 * - The digest of the files that a step takes is a record of its own, without a result, that the step links to.
 * - The result is a chain (`chains`) of the one layer that the step put on its parent, or of none where it changed
 *   nothing. Layers of base images are not among them: whoever has the key has the base.
 *
 * Keys are ours: BuildKit reads such a cache without a hit, as we read its caches.
 */
export const CACHE_CONFIG_TYPE = 'application/vnd.buildkit.cacheconfig.v0';

/** Member of an image's config: base64 of a list of records whose layers are those of the image. */
export const INLINE_CACHE = 'moby.buildkit.cache.v0';

/** A layer's annotation: its DiffID. */
const UNCOMPRESSED = 'containerd.io/uncompressed';

/** BuildKit refuses to read more (remotecache/import.go). */
const LARGEST_CONFIG = 2 ** 20;

interface WrittenRecord {
  digest: string;
  inputs?: { link: number }[][];
  chains?: { layers: number[]; createdAt: string }[];
}

/** Records of steps, in the order of the steps. `place` gives a layer's number; steps whose layer has none are left out. */
function writeRecords(steps: readonly CachedStep[], place: (layer: Digest) => number | undefined): WrittenRecord[] {
  const records: WrittenRecord[] = [];
  const inputs = new Map<string, number>();
  for (const { key, inputs: taken, layer, created: createdAt } of steps) {
    const at = layer === null ? undefined : place(layer);
    if (layer !== null && at === undefined) continue;
    let link: number | undefined;
    if (taken !== '') {
      link = inputs.get(taken);
      if (link === undefined) {
        link = records.push({ digest: `sha256:${taken}` }) - 1;
        inputs.set(taken, link);
      }
    }
    records.push({
      digest: `sha256:${key}`,
      ...(link === undefined ? {} : { inputs: [[{ link }]] }),
      chains: [{ layers: at === undefined ? [] : [at], createdAt }],
    });
  }
  return records;
}

export interface CacheConfig {
  bytes: Uint8Array;
  /** What it names: the manifest has them too, in this order. */
  layers: Descriptor[];
}

/**
 * The config of a cache: the same steps and layers always give the same bytes. `layers` says how each layer travels;
 * steps whose layer is not among them are left out. Throws `CACHE_TOO_LARGE`.
 */
export function encodeCacheConfig(steps: readonly CachedStep[], layers: ReadonlyMap<Digest, Descriptor>): CacheConfig {
  const used = steps.flatMap(({ layer }) => (layer === null || !layers.has(layer) ? [] : [layer]));
  const named = [...new Set(used)].map((diffId) => {
    const descriptor = layers.get(diffId)!;
    return { ...descriptor, annotations: { ...descriptor.annotations, [UNCOMPRESSED]: diffId } };
  });
  named.sort((a, b) => (a.digest < b.digest ? -1 : 1));
  const places = new Map(named.map(({ annotations }, i) => [annotations[UNCOMPRESSED], i]));
  const bytes = encodeJson({
    layers: named.map(({ digest }) => ({ blob: digest, parent: -1 })),
    records: writeRecords(steps, (diffId) => places.get(diffId)),
  });
  if (bytes.length > LARGEST_CONFIG) {
    throw new ImagoError('CACHE_TOO_LARGE', 'the build has too many steps for a cache that travels', {
      want: `records of at most ${LARGEST_CONFIG} bytes, as BuildKit reads them`,
      got: bytes.length,
      remedy: 'export the result alone, with mode=min',
    });
  }
  return { bytes, layers: named };
}

/** The value of `INLINE_CACHE`: the steps that made these layers. Undefined where there are none. */
export function encodeInlineCache(steps: readonly CachedStep[], diffIds: readonly Digest[]): string | undefined {
  const records = writeRecords(steps, (layer) => {
    const at = diffIds.indexOf(layer);
    return at < 0 ? undefined : at;
  });
  return records.length === 0 ? undefined : Buffer.from(encodeJson(records)).toString('base64');
}

/** A layer of a cache, as it travels. */
export interface CacheLayer {
  descriptor: Descriptor;
  diffId: Digest;
}

export interface CacheResult {
  layer: CacheLayer | null;
  created: string;
}

/** What a cache has, by key and by the digest of the inputs ('' for none). */
export type CacheRecords = ReadonlyMap<string, ReadonlyMap<string, CacheResult>>;

/** Reads the config of a cache with the layers of its manifest. Throws `BAD_CACHE` for what is no such config. */
export function readCacheConfig(bytes: Uint8Array, descriptors: readonly Descriptor[]): CacheRecords {
  const root = parseJson(bytes, 'BAD_CACHE', 'cache config');
  const byDigest = new Map(descriptors.map((descriptor) => [descriptor.digest, descriptor]));
  const layers = root
    .get('layers')
    .list()
    .map((field) => {
      const descriptor = byDigest.get(field.get('blob').digest());
      const diffId = descriptor && diffIdOf(descriptor);
      return descriptor === undefined || diffId === undefined ? undefined : { descriptor, diffId };
    });
  return readRecords(root.get('records'), layers);
}

/** A plain tar says it by its digest. */
function diffIdOf({ mediaType, digest, annotations }: Descriptor): Digest | undefined {
  const told = annotations?.[UNCOMPRESSED];
  if (told !== undefined) return isDigest(told) ? told : undefined;
  return mediaType === MEDIA_TYPES.layer ? digest : undefined;
}

/** Reads an inline cache of an image with these layers. Throws `BAD_CACHE`. */
export function readInlineCache(text: string, layers: readonly CacheLayer[]): CacheRecords {
  return readRecords(parseJson(Buffer.from(text, 'base64'), 'BAD_CACHE', 'inline cache'), layers);
}

/** Only results that are one step's: BuildKit's own have all layers from the base on. */
function readRecords(field: Field, layers: readonly (CacheLayer | undefined)[]): CacheRecords {
  const records = field.list();
  const digests = records.map((record) => (record.get('digest').present ? record.get('digest').string() : ''));
  const out = new Map<string, Map<string, CacheResult>>();
  for (const [i, record] of records.entries()) {
    const key = hexOf(digests[i]!);
    const result = readResult(record, layers);
    const inputs = readInputs(record, digests);
    if (key === undefined || result === undefined || inputs === undefined) continue;
    const known = out.get(key) ?? new Map<string, CacheResult>();
    if (!known.has(inputs)) known.set(inputs, result);
    out.set(key, known);
  }
  return out;
}

function readResult(record: Field, layers: readonly (CacheLayer | undefined)[]): CacheResult | undefined {
  const chain = record.get('chains').list()[0];
  if (chain === undefined) return undefined;
  const created = chain.get('createdAt').string();
  const places = chain
    .get('layers')
    .list()
    .map((place) => {
      const at = place.size();
      if (at >= layers.length) throw place.bad('the number of a layer');
      return at;
    });
  const time = Date.parse(created);
  if (places.length > 1 || created.length > 40 || Number.isNaN(time)) return undefined;
  const iso = new Date(time).toISOString();
  if (places.length === 0) return { layer: null, created: iso };
  const layer = layers[places[0]!];
  return layer && { layer, created: iso };
}

/** '' for none; undefined for what no step of ours has. */
function readInputs(record: Field, digests: readonly string[]): string | undefined {
  const slots = record.get('inputs').list();
  if (slots.length === 0) return '';
  if (slots.length > 1) return undefined;
  const [link, ...others] = slots[0]!.list();
  if (link === undefined || others.length > 0) return undefined;
  const at = link.get('link').size();
  if (at >= digests.length) throw link.get('link').bad('the number of a record');
  return hexOf(digests[at]!);
}

function hexOf(digest: string): string | undefined {
  return /^sha256:[0-9a-f]{64}$/.test(digest) ? digest.slice('sha256:'.length) : undefined;
}
