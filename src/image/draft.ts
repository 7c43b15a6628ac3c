import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { HistoryEntry, ImageConfig, RunConfig } from '../oci/config.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { encodeJson } from '../oci/json.ts';
import type { ImageManifest } from '../oci/manifest.ts';
import { layerKind, layerMediaType, MEDIA_TYPES } from '../oci/media-types.ts';
import { normalizePlatform, type Platform } from '../oci/platform.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import type { Image } from './image.ts';
import { platformOf } from './image.ts';

/** A layer with the way it is written in the manifest: its tar, or its compressed form. */
export interface ImageLayer {
  diffId: Digest;
  descriptor: Descriptor;
}

/** An image in the making. A value: the functions below give a new one. */
export interface ImageDraft {
  config: ImageConfig;
  /** As many as `config.rootfs.diff_ids`, the lowest first. */
  layers: ImageLayer[];
  /** How many of them, from the lowest, came with the image that it stands on. */
  baseLayers?: number;
  /** How many lines of the history, from the oldest, came with it. */
  baseHistory?: number;
  annotations?: Record<string, string>;
}

export interface WrittenImage {
  id: Digest;
  descriptor: Descriptor;
}

/** No layers, no history: `FROM scratch`. */
export function emptyDraft(platform: Platform): ImageDraft {
  const { os, architecture, variant } = normalizePlatform(platform);
  return {
    config: {
      architecture,
      os,
      ...(variant === undefined ? {} : { variant }),
      config: {},
      rootfs: { type: 'layers', diff_ids: [] },
      history: [],
    },
    layers: [],
  };
}

/**
 * A new image on top of one that is there: its run configuration, layers and history. What belongs to the old image
 * alone (its annotations, members that only its maker knew) is left behind.
 */
export function draftOf(image: Image): ImageDraft {
  const { config, manifest, diffIds } = image;
  const draft = emptyDraft(platformOf(config));
  const history = alignHistory(config.history ?? [], diffIds.length);
  return {
    config: {
      ...draft.config,
      ...(config['os.version'] === undefined ? {} : { 'os.version': config['os.version'] }),
      ...(config['os.features'] === undefined ? {} : { 'os.features': config['os.features'] }),
      config: config.config ?? {},
      rootfs: { type: 'layers', diff_ids: [...diffIds] },
      history,
    },
    layers: manifest.layers.map((descriptor, i) => ({ diffId: diffIds[i]!, descriptor: ociLayer(descriptor) })),
    baseLayers: diffIds.length,
    baseHistory: history.length,
  };
}

/** A layer that is in the store as a plain tar. `tarSize` in bytes. */
export function tarLayer(layer: { diffId: Digest; tarSize: number }): ImageLayer {
  const { diffId, tarSize } = layer;
  return { diffId, descriptor: { mediaType: MEDIA_TYPES.layer, digest: diffId, size: tarSize } };
}

/** Puts a layer on top, with the step that made it. */
export function appendLayer(draft: ImageDraft, layer: ImageLayer, step: HistoryEntry): ImageDraft {
  const { config, layers } = draft;
  const { empty_layer: _, ...history } = step;
  return {
    ...draft,
    config: {
      ...config,
      created: step.created ?? config.created,
      rootfs: { type: 'layers', diff_ids: [...config.rootfs.diff_ids, layer.diffId] },
      history: [...(config.history ?? []), history],
    },
    layers: [...layers, layer],
  };
}

/** Changes how the image runs; with `step`, a line of history that made no layer. */
export function editConfig(draft: ImageDraft, change: Partial<RunConfig>, step?: HistoryEntry): ImageDraft {
  const { config } = draft;
  return {
    ...draft,
    config: {
      ...config,
      created: step?.created ?? config.created,
      config: { ...config.config, ...change },
      history: step === undefined ? config.history : [...(config.history ?? []), { ...step, empty_layer: true }],
    },
  };
}

/** distribution-spec v1.1.1 §Pushing Manifests; no engine reads larger ones. */
const LARGEST_DOCUMENT = 4 * 2 ** 20;

/**
 * Config and manifest as blobs. The same draft always gives the same digests. The layers must be under the lease.
 * Throws `IMAGE_TOO_LARGE`.
 */
export function writeImage(store: Store, lease: Lease, draft: ImageDraft): WrittenImage {
  const config = encodeDocument(draft.config, 'config');
  const id = store.putBlob(lease, config);
  const manifest: ImageManifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config: { mediaType: MEDIA_TYPES.config, digest: id, size: config.length },
    layers: draft.layers.map(({ descriptor }) => descriptor),
    ...(draft.annotations === undefined ? {} : { annotations: draft.annotations }),
  };
  const bytes = encodeDocument(manifest, 'manifest');
  const digest = store.putBlob(lease, bytes);
  return { id, descriptor: { mediaType: MEDIA_TYPES.manifest, digest, size: bytes.length } };
}

function encodeDocument(value: unknown, what: string): Uint8Array {
  const bytes = encodeJson(value);
  if (bytes.length <= LARGEST_DOCUMENT) return bytes;
  throw new ImagoError('IMAGE_TOO_LARGE', `the image's ${what} is too large`, {
    want: `at most ${LARGEST_DOCUMENT} bytes`,
    got: bytes.length,
    remedy: 'use fewer instructions, or shorter values',
  });
}

/** Docker's names of layer types → OCI's, so that one manifest has one family; other members stay. */
function ociLayer(descriptor: Descriptor): Descriptor {
  const kind = layerKind(descriptor.mediaType);
  if (kind === undefined || kind.foreign || kind.family === 'oci') return descriptor;
  return { ...descriptor, mediaType: layerMediaType(kind.compression) };
}

/** History speaks of layers in order; where a base has too little or none, steps without a text stand in. */
function alignHistory(history: HistoryEntry[], layers: number): HistoryEntry[] {
  const told = history.filter((entry) => entry.empty_layer !== true).length;
  return [...history, ...Array(Math.max(0, layers - told)).fill({})];
}
