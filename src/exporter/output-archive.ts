import { blobName } from '../archive/content.ts';
import type { LayoutFile } from '../archive/layout.ts';
import { IMAGE_NAME, REF_NAME } from '../archive/read-oci.ts';
import { ImagoError } from '../core/errors.ts';
import type { ImageDraft } from '../image/draft.ts';
import { encodeJson } from '../oci/json.ts';
import { MEDIA_TYPES } from '../oci/media-types.ts';
import { familiarReference, formatReference, type Reference } from '../oci/reference.ts';
import type { ComposedImage } from './output-image.ts';
import type { LayerFiles } from './output-layers.ts';

/**
 * The files of an OCI image layout (image-spec v1.1.1, image-layout.md) with a build's result; with `docker` also the
 * manifest.json that Docker reads. By name, each once.
 */
export function composeOutputLayout(
  composed: ComposedImage,
  drafts: readonly ImageDraft[],
  layers: LayerFiles,
  names: readonly Reference[],
  docker: boolean,
): LayoutFile[] {
  const files = new Map<string, LayoutFile>();
  const put = (file: LayoutFile): void => void files.set(file.name, file);
  for (const { descriptor, bytes } of composed.blobs) put({ name: blobName(descriptor.digest), bytes });
  for (const { descriptor } of drafts.flatMap((draft) => draft.layers)) {
    const file = layers.get(descriptor.digest);
    // Layers that are fetched from their `urls` are in no archive.
    if (file === undefined && (descriptor.urls?.length ?? 0) > 0) continue;
    if (file === undefined) throw new ImagoError('BLOB_MISSING', 'a layer is not here', { want: descriptor.digest });
    put({ name: blobName(descriptor.digest), ...file });
  }
  const { descriptor } = composed.root;
  const manifests = names.map((name) => {
    const full = formatReference(name);
    return { ...descriptor, annotations: { [IMAGE_NAME]: full, [REF_NAME]: full } };
  });
  put({ name: 'oci-layout', bytes: encodeJson({ imageLayoutVersion: '1.0.0' }) });
  put({
    name: 'index.json',
    bytes: encodeJson({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.index,
      manifests: manifests.length === 0 ? [descriptor] : manifests,
    }),
  });
  if (docker) {
    const item = {
      Config: blobName(composed.images[0]!.id),
      RepoTags: names.length === 0 ? null : names.map(familiarReference),
      Layers: drafts[0]!.layers.map((layer) => blobName(layer.descriptor.digest)),
    };
    put({ name: 'manifest.json', bytes: encodeJson([item]) });
  }
  return [...files.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}
