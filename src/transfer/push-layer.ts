import { type Digest, digestAlgorithm } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { runTogether } from '../core/limit.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { type Compression, layerKind, layerMediaType } from '../oci/media-types.ts';
import { parseReference } from '../oci/reference.ts';
import type { Repository } from '../registry/client/repository.ts';
import { compressFile, type PackedForm } from '../store/compress-layer.ts';
import { type CompressionForm, DEFAULT_FORM, formatForm } from '../store/compression-form.ts';
import type { HashOutcome } from '../store/layer-job.ts';
import { layerRecord, layerTarPath } from '../store/layers.ts';
import { addOrigin, type Origin, origins } from '../store/origins.ts';
import type { Store } from '../store/store.ts';
import { threads } from '../store/threads.ts';
import { sendBytes } from './push-bytes.ts';
import type { PushEvent } from './push-events.ts';
import type { Registries } from './push-registries.ts';

/** What pushing the parts of one image needs to know. */
export interface PushContext {
  store: Store;
  registries: Registries;
  target: Repository;
  /** The form of what has none yet. Default `DEFAULT_FORM`; told by the user, it is also for what a push made here. */
  compression?: CompressionForm;
  /** Make every layer anew. */
  recompress?: boolean;
  onEvent?: (event: PushEvent) => void;
  signal?: AbortSignal;
}

export interface LayerToPush {
  diffId: Digest;
  /** As the manifest names it. */
  descriptor: Descriptor;
  /** Imago wrote the manifest: its digest is nobody's but ours. */
  ours: boolean;
}

/**
 * Sees to it that the target has a layer, and remembers that. Returns how the pushed manifest is to name it: as it is
 * named already, wherever that is not a plain tar made here, or the user wants it otherwise.
 * Throws `LAYER_BYTES_GONE`, `LAYER_MISSING`, `LAYER_DAMAGED`, and the client's errors.
 */
export async function pushLayer(context: PushContext, layer: LayerToPush): Promise<Descriptor> {
  const { store, target, onEvent } = context;
  const { diffId, descriptor } = layer;
  const kind = layerKind(descriptor.mediaType);
  // Whoever pulls fetches it from its `urls`; registries take a manifest without it.
  if (kind?.foreign === true && (descriptor.urls?.length ?? 0) > 0 && context.recompress !== true) {
    onEvent?.({ type: 'layer', diffId, status: 'skipped' });
    return descriptor;
  }
  const form = kind === undefined ? undefined : wantedForm(context, layer);
  if (form === undefined) {
    await pushAsNamed(context, layer);
    note(store, target, diffId, descriptor);
    return descriptor;
  }
  const pushed = form.kind === 'none' ? await pushTar(context, layer) : await pushPacked(context, layer, form);
  note(store, target, diffId, pushed, form);
  return pushed;
}

function note(store: Store, target: Repository, diffId: Digest, layer: Descriptor, form?: CompressionForm): void {
  const { digest, size, mediaType } = layer;
  const made = form === undefined ? {} : { form: formatForm(form) };
  addOrigin(store, diffId, { digest, size, mediaType, repository: target.name, ...made });
}

/** Undefined: the very bytes that the manifest names. */
function wantedForm(context: PushContext, { diffId, descriptor, ours }: LayerToPush): CompressionForm | undefined {
  const { store, compression, recompress } = context;
  if (recompress === true) return compression ?? DEFAULT_FORM;
  const known = origins(store, diffId).find(({ digest }) => digest === descriptor.digest);
  const pulled = known !== undefined && known.form === undefined && known.repositories.length > 0;
  if (descriptor.digest === diffId) {
    const stays = (pulled || !ours) && isPlain(compression);
    return stays ? undefined : (compression ?? DEFAULT_FORM);
  }
  // A push made it: it is nobody's digest but ours, and may change where the user asks for that.
  if (compression === undefined || known?.form === undefined || known.form === formatForm(compression))
    return undefined;
  return compression;
}

/** The user does not ask for compression. */
function isPlain(compression: CompressionForm | undefined): boolean {
  return compression === undefined || compression.kind === 'none';
}

async function pushAsNamed(
  context: PushContext,
  { diffId, descriptor }: Pick<LayerToPush, 'diffId' | 'descriptor'>,
): Promise<void> {
  if (await isThere(context, diffId, descriptor.digest)) return;
  await upload(context, diffId, descriptor);
}

async function pushTar(context: PushContext, { diffId, descriptor }: LayerToPush): Promise<Descriptor> {
  const tar = renamed(descriptor, 'none', { digest: diffId, size: layerRecord(context.store, diffId).tarSize });
  await pushAsNamed(context, { diffId, descriptor: tar });
  return tar;
}

async function pushPacked(
  context: PushContext,
  layer: LayerToPush,
  form: PackedForm | CompressionForm,
): Promise<Descriptor> {
  const { kind, level } = form;
  if (kind === 'none') return await pushTar(context, layer);
  const { store, signal } = context;
  const { diffId, descriptor } = layer;
  const known = origins(store, diffId).findLast((origin) => origin.form === formatForm(form));
  if (known !== undefined) {
    const packed = renamed(descriptor, kind, known);
    if (await isThere(context, diffId, packed.digest)) return packed;
    if (await uploadAgain(context, diffId, packed)) return packed;
  }
  const made = await uploadNew(context, diffId, { kind, level });
  signal?.throwIfAborted();
  return renamed(descriptor, kind, made);
}

/** What said something of the old bytes (seekable forms) is left out. */
function renamed(layer: Descriptor, kind: Compression, bytes: Pick<Origin, 'digest' | 'size'>): Descriptor {
  const family = layerKind(layer.mediaType)?.family ?? 'oci';
  const { data: _data, urls: _urls, annotations, ...rest } = layer;
  const kept = Object.entries(annotations ?? {}).filter(([name]) => !/zstd-chunked|stargz/.test(name));
  return {
    ...rest,
    mediaType: layerMediaType(kind, family),
    digest: bytes.digest,
    size: bytes.size,
    ...(kept.length === 0 ? {} : { annotations: Object.fromEntries(kept) }),
  };
}

/** At the target already, or taken over from another of its registry's repositories. */
async function isThere(
  { store, target, onEvent, signal }: PushContext,
  diffId: Digest,
  digest: Digest,
): Promise<boolean> {
  if ((await target.headBlob(digest, { signal })) !== undefined) {
    onEvent?.({ type: 'layer', diffId, status: 'exists' });
    return true;
  }
  const { domain, path } = parseReference(target.name);
  const known = origins(store, diffId).find((origin) => origin.digest === digest);
  const siblings = (known?.repositories ?? []).map((name) => parseReference(name));
  for (const { path: from } of siblings.filter((name) => name.domain === domain && name.path !== path).slice(-3)) {
    if (!(await target.mountBlob(digest, from, { signal }))) continue;
    onEvent?.({ type: 'layer', diffId, status: 'mounted', from });
    return true;
  }
  return false;
}

async function upload(context: PushContext, diffId: Digest, descriptor: Descriptor): Promise<void> {
  const { store, registries, target, onEvent, signal } = context;
  const total = descriptor.size;
  onEvent?.({ type: 'layer', diffId, status: 'pushing', done: 0, total });
  const onProgress = (done: number): void => onEvent?.({ type: 'layer', diffId, status: 'pushing', done, total });
  await sendBytes(
    store,
    registries,
    { descriptor, diffId },
    (open) => target.uploadBlob(descriptor, open, { onProgress, signal }),
    { except: target.name, signal },
  );
  onEvent?.({ type: 'layer', diffId, status: 'pushed' });
}

/** False where this release of Node makes other bytes than the one that made them. */
async function uploadAgain(context: PushContext, diffId: Digest, descriptor: Descriptor): Promise<boolean> {
  try {
    await upload(context, diffId, descriptor);
    return true;
  } catch (error) {
    if (error instanceof ImagoError && error.code === 'LAYER_BYTES_GONE') return false;
    throw error;
  }
}

/** Compresses into the upload, while the tar is held against its DiffID: the registry could not tell. */
async function uploadNew(
  { store, target, onEvent, signal: given }: PushContext,
  diffId: Digest,
  form: PackedForm,
): Promise<{ digest: Digest; size: number }> {
  const { tarSize: total } = layerRecord(store, diffId);
  const path = layerTarPath(store, diffId);
  const onProgress = (done: number): void => onEvent?.({ type: 'layer', diffId, status: 'pushing', done, total });
  onProgress(0);
  const work = [
    async (signal: AbortSignal) => {
      const uploaded = await target.uploadStream(compressFile(path, form, { onProgress, signal }), { signal });
      return uploaded;
    },
    async (signal: AbortSignal) => {
      const pool = await threads();
      const job = { kind: 'hash', path, algorithm: digestAlgorithm(diffId) };
      const { digest, size } = await pool.run<HashOutcome>(job, { signal });
      if (digest === diffId) return { digest, size };
      throw new ImagoError('LAYER_DAMAGED', 'a layer in the store is damaged, and is not pushed', {
        path,
        want: diffId,
        got: digest,
        remedy: "'imago verify' says what it belongs to and how to get it back",
      });
    },
  ];
  const [uploaded] = await runTogether(work, (one, signal) => one(signal), { signal: given });
  onEvent?.({ type: 'layer', diffId, status: 'pushed' });
  return uploaded!;
}
