import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Digest } from '../core/digest.ts';
import { isImagoError } from '../core/errors.ts';
import type { ImageDraft, ImageLayer } from '../image/draft.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { layerKind, layerMediaType } from '../oci/media-types.ts';
import { compressFile } from '../store/compress-layer.ts';
import { type CompressionForm, formatForm } from '../store/compression-form.ts';
import type { Ingest } from '../store/ingest.ts';
import { layerRecord, layerTarPath } from '../store/layers.ts';
import type { Lease } from '../store/lease.ts';
import { addOrigin } from '../store/origins.ts';
import type { Store } from '../store/store.ts';
import { sendBytes } from '../transfer/push-bytes.ts';
import { Registries } from '../transfer/push-registries.ts';

export interface LayerForm {
  compression: CompressionForm;
  /** Of the base's layers, too. */
  force: boolean;
}

/** Files of layers that are not in the store as such, by digest. */
export type LayerFiles = Map<Digest, { path: string; size: number }>;

export interface FormContext {
  store: Store;
  lease: Lease;
  note(text: string): void;
  signal?: AbortSignal;
}

/**
 * The draft with its layers compressed, their bytes in the store as blobs. Layers that have a compressed form (the
 * base's) stay as they are named, unless `force`.
 */
export async function storeForm(context: FormContext, draft: ImageDraft, form: LayerForm): Promise<ImageDraft> {
  const { store, lease, signal } = context;
  return changeLayers(draft, form, async (layer, { kind, level }) => {
    if (kind === 'none') return plainLayer(store, layer);
    const bytes = compressFile(layerTarPath(store, layer.diffId), { kind, level }, { signal });
    const made = await store.ingestBlob(lease, bytes);
    return keep(store, layer, { kind, level }, made);
  });
}

/** Like `storeForm` for what leaves the store: bytes that are not there already are made in `ingest`'s directory. */
export async function fileForm(
  context: FormContext,
  draft: ImageDraft,
  form: LayerForm,
  ingest: Ingest,
  files: LayerFiles,
): Promise<ImageDraft> {
  const { store, signal, note } = context;
  const made = await changeLayers(draft, form, async (layer, { kind, level }) => {
    if (kind === 'none') return plainLayer(store, layer);
    const path = ingest.path(`layer-${files.size}-${layer.diffId.slice(7, 19)}`);
    const bytes = await writeHashed(path, compressFile(layerTarPath(store, layer.diffId), { kind, level }, { signal }));
    files.set(bytes.digest, { path, size: bytes.size });
    return keep(store, layer, { kind, level }, bytes);
  });
  const layers: ImageLayer[] = [];
  for (const layer of made.layers) {
    const { digest } = layer.descriptor;
    if (files.has(digest)) layers.push(layer);
    else if (store.hasBlob(digest)) {
      files.set(digest, { path: store.blobPath(digest), size: layer.descriptor.size });
      layers.push(layer);
    } else layers.push(await findBytes(context, layer, form, ingest, files));
  }
  note(`${layers.length} layers`);
  return { ...made, layers };
}

async function changeLayers(
  draft: ImageDraft,
  { compression, force }: LayerForm,
  change: (layer: ImageLayer, form: CompressionForm) => Promise<ImageLayer>,
): Promise<ImageDraft> {
  const done = new Map<Digest, Promise<ImageLayer>>();
  const layers: ImageLayer[] = [];
  for (const layer of draft.layers) {
    const kind = layerKind(layer.descriptor.mediaType);
    const plain = layer.descriptor.digest === layer.diffId;
    if (kind === undefined || kind.foreign || (!force && !plain)) {
      layers.push(layer);
      continue;
    }
    let made = done.get(layer.diffId);
    if (made === undefined) {
      made = change(layer, compression);
      done.set(layer.diffId, made);
    }
    const { descriptor } = await made;
    layers.push({ ...layer, descriptor: { ...layer.descriptor, ...descriptor } });
  }
  return { ...draft, layers };
}

function plainLayer(store: Store, { diffId }: ImageLayer): ImageLayer {
  const { tarSize: size } = layerRecord(store, diffId);
  return { diffId, descriptor: { mediaType: layerMediaType('none'), digest: diffId, size } };
}

function keep(
  store: Store,
  { diffId }: ImageLayer,
  form: CompressionForm,
  made: { digest: Digest; size: number },
): ImageLayer {
  const descriptor: Descriptor = { mediaType: layerMediaType(form.kind), digest: made.digest, size: made.size };
  addOrigin(store, diffId, { ...descriptor, form: formatForm(form) });
  return { diffId, descriptor };
}

/** A compressed layer of the base whose bytes were not kept: from where they can be had, else made anew. */
async function findBytes(
  { store, note, signal }: FormContext,
  layer: ImageLayer,
  { compression }: LayerForm,
  ingest: Ingest,
  files: LayerFiles,
): Promise<ImageLayer> {
  const { descriptor, diffId } = layer;
  const path = ingest.path(`layer-${files.size}-${diffId.slice(7, 19)}`);
  using registries = new Registries({ signal });
  try {
    await sendBytes(
      store,
      registries,
      { descriptor, diffId },
      async (open) => void (await writeHashed(path, open(0))),
      { signal },
    );
    files.set(descriptor.digest, { path, size: descriptor.size });
    return layer;
  } catch (error) {
    if (!isImagoError(error, 'LAYER_BYTES_GONE')) throw error;
    note(`layer ${diffId}: the base's compressed bytes are nowhere to be had, it gets others`);
  }
  const { kind, level } = compression;
  if (kind === 'none') {
    const plain = plainLayer(store, layer);
    files.set(diffId, { path: layerTarPath(store, diffId), size: plain.descriptor.size });
    return plain;
  }
  const bytes = await writeHashed(path, compressFile(layerTarPath(store, diffId), { kind, level }, { signal }));
  files.set(bytes.digest, { path, size: bytes.size });
  return keep(store, layer, compression, bytes);
}

async function writeHashed(path: string, bytes: AsyncIterable<Uint8Array>): Promise<{ digest: Digest; size: number }> {
  const hash = createHash('sha256');
  let size = 0;
  const watch = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      size += chunk.length;
      done(null, chunk);
    },
  });
  await pipeline(bytes, watch, createWriteStream(path));
  return { digest: `sha256:${hash.digest('hex')}`, size };
}
