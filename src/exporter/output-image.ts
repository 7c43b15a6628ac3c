import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { composeAttestations, type NamedBytes, named, type Predicate } from '../image/attestation.ts';
import type { ImageDraft } from '../image/draft.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { encodeJson } from '../oci/json.ts';
import { layerKind, layerMediaType, MEDIA_TYPES } from '../oci/media-types.ts';
import { formatPlatform, type Platform } from '../oci/platform.ts';
import { imagePurl } from '../oci/purl.ts';
import type { Annotation, AnnotationPlace } from './annotation-options.ts';

/** One platform's result, its layers in the form in which they are to be named. */
export interface PlatformImage {
  platform: Platform;
  draft: ImageDraft;
  predicates: readonly Predicate[];
}

export interface ComposeOptions {
  /** In full: they are the subjects of attestations. */
  names: readonly string[];
  /** Also of a single image without attestations. */
  index: boolean;
  annotations: readonly Annotation[];
  ociMediaTypes: boolean;
  ociArtifact: boolean;
}

export interface ComposedImage {
  /** What the names stand for: the manifest, or the index where there is one. */
  root: NamedBytes;
  /** All documents, and the statements of attestations; `root` is the last. */
  blobs: NamedBytes[];
  /** Of a single image without attestations, as Docker tells it; for the others see `images`. */
  images: { platform: Platform; id: Digest; manifest: Descriptor }[];
}

/** No engine and no registry reads larger ones (distribution-spec v1.1.1 §Pushing Manifests). */
const LARGEST_DOCUMENT = 4 * 2 ** 20;

/**
 * The documents of a build's result: a manifest, or an index where there are several platforms or attestations.
 * Deterministic. Throws `IMAGE_TOO_LARGE`, `BAD_OUTPUT` for what OCI's media types alone can hold.
 */
export function composeImage(images: readonly PlatformImage[], options: ComposeOptions): ComposedImage {
  const { ociMediaTypes, annotations } = options;
  const indexed = options.index || images.length > 1 || images.some(({ predicates }) => predicates.length > 0);
  checkTypes(options, images, indexed);
  const blobs: NamedBytes[] = [];
  const manifests: Descriptor[] = [];
  const attestations: Descriptor[] = [];
  const out: ComposedImage['images'] = [];
  let single: NamedBytes | undefined;
  for (const { platform, draft, predicates } of images) {
    const own = (place: AnnotationPlace): Record<string, string> | undefined =>
      annotationsAt(annotations, place, platform);
    const config = document(ociMediaTypes ? MEDIA_TYPES.config : MEDIA_TYPES.dockerConfig, draft.config, 'config');
    const manifest = document(
      ociMediaTypes ? MEDIA_TYPES.manifest : MEDIA_TYPES.dockerManifest,
      {
        schemaVersion: 2,
        mediaType: ociMediaTypes ? MEDIA_TYPES.manifest : MEDIA_TYPES.dockerManifest,
        config: config.descriptor,
        layers: draft.layers.map(({ descriptor }) => (ociMediaTypes ? descriptor : dockerLayer(descriptor))),
        annotations: merged(draft.annotations, own('manifest')),
      },
      'manifest',
    );
    blobs.push(config, manifest);
    single = manifest;
    out.push({ platform, id: config.descriptor.digest, manifest: manifest.descriptor });
    manifests.push({ ...manifest.descriptor, platform, ...present(own('manifest-descriptor')) });
    if (predicates.length === 0) continue;
    const subjects = options.names.map((name) => ({
      name: imagePurl(name, platform),
      digest: manifest.descriptor.digest,
    }));
    const parts = composeAttestations(manifest.descriptor, predicates, subjects, { artifact: options.ociArtifact });
    blobs.push(...parts);
    attestations.push(parts.at(-1)!.descriptor);
  }
  if (!indexed) return { root: single!, blobs, images: out };
  const mediaType = ociMediaTypes ? MEDIA_TYPES.index : MEDIA_TYPES.dockerList;
  const index = {
    schemaVersion: 2,
    mediaType,
    manifests: [...manifests, ...attestations],
    annotations: annotationsAt(annotations, 'index'),
  };
  const root = document(mediaType, index, 'index');
  return { root, blobs: [...blobs, root], images: out };
}

function checkTypes(
  { annotations, ociMediaTypes }: ComposeOptions,
  images: readonly PlatformImage[],
  indexed: boolean,
): void {
  for (const { platform } of annotations) {
    if (platform === undefined || images.some((image) => formatPlatform(image.platform) === platform)) continue;
    throw new ImagoError('BAD_OUTPUT', `an annotation is for platform ${platform}, which is not built`);
  }
  if (!indexed && annotations.some(({ place }) => place.startsWith('index'))) {
    throw new ImagoError('BAD_OUTPUT', 'index annotations not supported for single platform export', {
      remedy: 'annotate the manifest, or build for several platforms or with attestations',
    });
  }
  if (ociMediaTypes) return;
  if (images.some(({ predicates }) => predicates.length > 0)) {
    throw new ImagoError('BAD_OUTPUT', "cannot export attestations with 'oci-mediatypes=false'", {
      remedy: 'leave it out, or the attestations',
    });
  }
  if (annotations.length > 0) {
    throw new ImagoError('BAD_OUTPUT', "cannot export annotations with 'oci-mediatypes=false'", {
      remedy: 'leave it out, or use labels',
    });
  }
}

function annotationsAt(
  annotations: readonly Annotation[],
  place: AnnotationPlace,
  platform?: Platform,
): Record<string, string> | undefined {
  const own = annotations.filter(
    (a) =>
      a.place === place &&
      (a.platform === undefined || (platform !== undefined && a.platform === formatPlatform(platform))),
  );
  return own.length === 0 ? undefined : Object.fromEntries(own.map(({ key, value }) => [key, value]));
}

function merged(
  a: Record<string, string> | undefined,
  b: Record<string, string> | undefined,
): Record<string, string> | undefined {
  return a === undefined ? b : { ...a, ...b };
}

function present(annotations: Record<string, string> | undefined): { annotations?: Record<string, string> } {
  return annotations === undefined ? {} : { annotations };
}

/** Docker's family has no annotations, and no name of its own for zstd. */
function dockerLayer({ annotations: _, ...descriptor }: Descriptor): Descriptor {
  const kind = layerKind(descriptor.mediaType);
  if (kind === undefined || kind.foreign) return descriptor;
  if (kind.compression === 'zstd') {
    throw new ImagoError('BAD_OUTPUT', "compression=zstd needs 'oci-mediatypes=true'");
  }
  return { ...descriptor, mediaType: layerMediaType(kind.compression, 'docker') };
}

function document(mediaType: string, value: unknown, what: string): NamedBytes {
  const bytes = encodeJson(value);
  if (bytes.length <= LARGEST_DOCUMENT) return named(mediaType, bytes);
  throw new ImagoError('IMAGE_TOO_LARGE', `the image's ${what} is too large`, {
    want: `at most ${LARGEST_DOCUMENT} bytes`,
    got: bytes.length,
    remedy: 'use fewer instructions, or shorter values',
  });
}
