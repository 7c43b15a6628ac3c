import { ImagoError } from '../core/errors.ts';
import type { Image } from '../image/image.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { encodeJson } from '../oci/json.ts';
import type { ImageManifest } from '../oci/manifest.ts';
import { layerKind, layerMediaType, MEDIA_TYPES } from '../oci/media-types.ts';
import { familiarReference, parseReference } from '../oci/reference.ts';
import { digestOf, missingBlob } from '../store/blobs.ts';
import { layerRecord } from '../store/layers.ts';
import type { Store } from '../store/store.ts';
import { blobName } from './content.ts';
import { IMAGE_NAME, REF_NAME } from './read-oci.ts';

/** An image to save. */
export interface SavedImage {
  image: Image;
  /** In full; without any it is saved by its digests alone. */
  names: string[];
}

/** A file of a layout: what it holds, or where in the store it is. */
export type LayoutFile = { name: string; bytes: Uint8Array } | { name: string; path: string; size: number };

export interface Layout {
  /** By name, each once. */
  files: LayoutFile[];
  /** Images whose compressed layers are not here: their manifest was written anew, and its digest is another. */
  rewritten: SavedImage[];
}

/**
 * The files of an OCI image layout (image-spec v1.1.1, image-layout.md) with these images; with `docker` also the
 * manifest.json that Docker, podman and skopeo read. Manifests and layers are the very bytes of the store; where a
 * compressed layer was not kept, its tar is named instead. Deterministic. Throws `BLOB_MISSING`.
 */
export function composeLayout(store: Store, images: readonly SavedImage[], options: { docker?: boolean } = {}): Layout {
  const files = new Map<string, LayoutFile>();
  const put = (file: LayoutFile): void => void files.set(file.name, file);
  const rewritten: SavedImage[] = [];
  const manifests: Descriptor[] = [];
  const items: unknown[] = [];
  for (const saved of images) {
    const { image, names } = saved;
    const { descriptor, bytes, layers } = exportManifest(store, image);
    if (descriptor.digest !== image.descriptor.digest) rewritten.push(saved);
    put({ name: blobName(descriptor.digest), bytes });
    put({ name: blobName(image.id), bytes: store.readBlob(image.id, { verify: true }) });
    for (const layer of layers) put(storeFile(store, layer));
    for (const name of names) manifests.push({ ...descriptor, annotations: { [IMAGE_NAME]: name, [REF_NAME]: name } });
    if (names.length === 0) manifests.push(descriptor);
    items.push({
      Config: blobName(image.id),
      RepoTags: names.length === 0 ? null : names.map((name) => familiarReference(parseReference(name))),
      Layers: layers.map((layer) => blobName(layer.digest)),
    });
  }
  put({ name: 'oci-layout', bytes: encodeJson({ imageLayoutVersion: '1.0.0' }) });
  put({ name: 'index.json', bytes: encodeJson({ schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests }) });
  if (options.docker) put({ name: 'manifest.json', bytes: encodeJson(items) });
  return { files: [...files.values()].sort((a, b) => (a.name < b.name ? -1 : 1)), rewritten };
}

interface Exported {
  descriptor: Descriptor;
  bytes: Uint8Array;
  layers: Descriptor[];
}

/** The manifest as it is where all that it names is here, else one in OCI's terms that names tars. */
function exportManifest(store: Store, image: Image): Exported {
  const { descriptor, manifest, diffIds } = image;
  if (manifest.layers.every((layer) => store.hasBlob(layer.digest))) {
    return { descriptor, bytes: store.readBlob(descriptor.digest, { verify: true }), layers: manifest.layers };
  }
  const layers = manifest.layers.map((layer, i): Descriptor => {
    if (store.hasBlob(layer.digest)) return ociLayer(layer);
    return { mediaType: MEDIA_TYPES.layer, digest: diffIds[i]!, size: layerRecord(store, diffIds[i]!).tarSize };
  });
  const value: ImageManifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config: { mediaType: MEDIA_TYPES.config, digest: image.id, size: manifest.config.size },
    layers,
    ...(manifest.annotations === undefined ? {} : { annotations: manifest.annotations }),
  };
  const bytes = encodeJson(value);
  return {
    descriptor: { mediaType: MEDIA_TYPES.manifest, digest: digestOf(bytes), size: bytes.length },
    bytes,
    layers,
  };
}

function ociLayer(layer: Descriptor): Descriptor {
  const kind = layerKind(layer.mediaType);
  if (kind === undefined || kind.foreign || kind.family === 'oci') return layer;
  return { ...layer, mediaType: layerMediaType(kind.compression) };
}

function storeFile(store: Store, { digest, size }: Descriptor): LayoutFile {
  const here = store.blobSize(digest);
  if (here === undefined) throw missingBlob(store.root, digest);
  if (here === size) return { name: blobName(digest), path: store.blobPath(digest), size };
  throw new ImagoError('SIZE_MISMATCH', 'a layer in the store is not as long as its manifest says', {
    ref: digest,
    want: `${size} bytes`,
    got: here,
    remedy: "'imago verify' says what it belongs to and how to get it back",
  });
}
