import type { Digest } from '../core/digest.ts';
import { runTogether } from '../core/limit.ts';
import type { Image } from '../image/image.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { encodeJson } from '../oci/json.ts';
import type { ImageManifest } from '../oci/manifest.ts';
import { layerKind, layerMediaType, MEDIA_TYPES } from '../oci/media-types.ts';
import { digestOf } from '../store/blobs.ts';
import { sendBytes } from './push-bytes.ts';
import { type LayerToPush, type PushContext, pushLayer } from './push-layer.ts';

/** Layers on their way at one time: what is compressed into an upload has 32 MiB in memory. */
const AT_ONCE = 3;

export interface PushedManifest {
  descriptor: Descriptor;
  bytes: Uint8Array;
}

/**
 * Pushes an image: layers, config, and at last the manifest, under the tag, or under its digest where there is none.
 * The manifest is the stored one byte for byte where all layers are pushed as it names them.
 */
export async function pushImage(context: PushContext, image: Image, tag: string | undefined): Promise<PushedManifest> {
  const { target, signal } = context;
  const pushed = await pushLayers(context, image);
  await pushBlob(context, image.manifest.config);
  const manifest = composeManifest(context, image, pushed);
  await target.putManifest(tag ?? manifest.descriptor.digest, manifest.bytes, manifest.descriptor.mediaType, {
    signal,
  });
  return manifest;
}

async function pushLayers(
  context: PushContext,
  { descriptor: { digest }, manifest, diffIds }: Image,
): Promise<Descriptor[]> {
  const { store, onEvent } = context;
  const ours = isOurs(store.readBlob(digest));
  const unique = new Map<string, LayerToPush>();
  const keys = manifest.layers.map((descriptor, i) => {
    const layer = { descriptor, diffId: diffIds[i]!, ours };
    const key = `${layer.diffId} ${descriptor.digest}`;
    if (!unique.has(key)) unique.set(key, layer);
    return key;
  });
  // As Docker lists them: the topmost first.
  const layers = [...unique.entries()].reverse();
  for (const [, { diffId }] of layers) onEvent?.({ type: 'layer', diffId, status: 'preparing' });
  for (const [, { diffId }] of layers.slice(AT_ONCE)) onEvent?.({ type: 'layer', diffId, status: 'waiting' });
  const results = await runTogether(layers, ([, layer], signal) => pushLayer({ ...context, signal }, layer), {
    signal: context.signal,
    atOnce: AT_ONCE,
  });
  const byKey = new Map(layers.map(([key], i) => [key, results[i]!]));
  // One entry of a list need not have what another one with the same bytes has.
  return keys.map((key, i) => {
    const own = manifest.layers[i]!;
    const result = byKey.get(key)!;
    return result.digest === own.digest ? own : { ...own, ...result };
  });
}

/** Nobody else writes JSON as Imago does: a manifest that came from others has a digest that others know. */
function isOurs(bytes: Uint8Array): boolean {
  return Buffer.compare(encodeJson(JSON.parse(Buffer.from(bytes).toString())), bytes) === 0;
}

/** A config, or a part of an artifact: what has one form only. */
export async function pushBlob(context: PushContext, descriptor: Descriptor): Promise<void> {
  const { store, registries, target, signal } = context;
  if ((await target.headBlob(descriptor.digest, { signal })) !== undefined) return;
  await sendBytes(
    store,
    registries,
    { descriptor, diffId: undefined },
    (open) => target.uploadBlob(descriptor, open, { signal }),
    { signal },
  );
}

/** Deterministic: the same layers in the same forms give the same digest. */
function composeManifest({ store }: PushContext, image: Image, layers: Descriptor[]): PushedManifest {
  const { descriptor, manifest } = image;
  if (layers.every((layer, i) => layer.digest === manifest.layers[i]!.digest)) {
    return { descriptor, bytes: store.readBlob(descriptor.digest, { verify: true }) };
  }
  let value: ImageManifest = { ...manifest, layers };
  // Docker's family has no zstd.
  if (descriptor.mediaType === MEDIA_TYPES.dockerManifest && layers.some(isZstd)) value = inOciTerms(value);
  const bytes = encodeJson(value);
  const mediaType = value.mediaType ?? descriptor.mediaType;
  const digest: Digest = digestOf(bytes);
  return { descriptor: { mediaType, digest, size: bytes.length }, bytes };
}

function isZstd({ mediaType }: Descriptor): boolean {
  return layerKind(mediaType)?.compression === 'zstd';
}

function inOciTerms(manifest: ImageManifest): ImageManifest {
  return {
    ...manifest,
    mediaType: MEDIA_TYPES.manifest,
    config: { ...manifest.config, mediaType: MEDIA_TYPES.config },
    layers: manifest.layers.map((layer) => {
      const kind = layerKind(layer.mediaType);
      return kind === undefined || kind.foreign ? layer : { ...layer, mediaType: layerMediaType(kind.compression) };
    }),
  };
}
