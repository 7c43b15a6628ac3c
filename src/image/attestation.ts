import type { Digest } from '../core/digest.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { encodeJson } from '../oci/json.ts';
import type { ImageManifest } from '../oci/manifest.ts';
import { MEDIA_TYPES } from '../oci/media-types.ts';
import { digestOf } from '../store/blobs.ts';

/** What is said of an image: a predicate of the in-toto attestation framework. */
export interface Predicate {
  /** A URI, as https://slsa.dev/provenance/v1. */
  type: string;
  value: unknown;
  /** The name of its file, where the result is files. */
  fileName: string;
  /** What it is about, where that is not the image: algorithm → hex. */
  subjects?: readonly { name: string; digest: Readonly<Record<string, string>> }[];
}

export interface Subject {
  name: string;
  digest: Digest;
}

/** A document or another blob with the descriptor that names it. */
export interface NamedBytes {
  descriptor: Descriptor;
  bytes: Uint8Array;
}

const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';
const IN_TOTO = 'application/vnd.in-toto+json';
const PREDICATE_TYPE = 'in-toto.io/predicate-type';
/** BuildKit, docs/attestations/attestation-storage.md. */
const ARTIFACT_TYPE = 'application/vnd.docker.attestation.manifest.v1+json';
const UNKNOWN = { architecture: 'unknown', os: 'unknown' };

/** github.com/in-toto/attestation, spec/v1/statement.md. */
export function composeStatement({ type, value, subjects: own }: Predicate, subjects: readonly Subject[]): unknown {
  const named = subjects.map(({ name, digest }) => {
    const [algorithm, hex] = digest.split(':') as [string, string];
    return { name, digest: { [algorithm]: hex } };
  });
  return { _type: STATEMENT_TYPE, predicateType: type, subject: own ?? named, predicate: value };
}

/**
 * The attestation manifest of an image as BuildKit stores it: its descriptor stands in the image's index, and says
 * which manifest it is about. With `artifact` it is an OCI 1.1 artifact that names the image as its subject, too.
 * The manifest comes last.
 */
export function composeAttestations(
  image: Descriptor,
  predicates: readonly Predicate[],
  subjects: readonly Subject[],
  { artifact = false }: { artifact?: boolean } = {},
): NamedBytes[] {
  const layers = predicates.map((predicate) => {
    const layer = named(IN_TOTO, encodeJson(composeStatement(predicate, subjects)));
    return { ...layer, descriptor: { ...layer.descriptor, annotations: { [PREDICATE_TYPE]: predicate.type } } };
  });
  const diffIds = layers.map(({ descriptor }) => descriptor.digest);
  const config = artifact
    ? named(MEDIA_TYPES.empty, encodeJson({}))
    : named(MEDIA_TYPES.config, encodeJson({ ...UNKNOWN, config: {}, rootfs: { type: 'layers', diff_ids: diffIds } }));
  const { mediaType, digest, size } = image;
  const manifest: ImageManifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    ...(artifact ? { artifactType: ARTIFACT_TYPE, subject: { mediaType, digest, size } } : {}),
    config: artifact ? { ...config.descriptor, data: 'e30=' } : config.descriptor,
    layers: layers.map(({ descriptor }) => descriptor),
  };
  const last = named(MEDIA_TYPES.manifest, encodeJson(manifest));
  const annotations = {
    'vnd.docker.reference.type': 'attestation-manifest',
    'vnd.docker.reference.digest': digest,
  };
  return [...layers, config, { ...last, descriptor: { ...last.descriptor, annotations, platform: UNKNOWN } }];
}

export function named(mediaType: string, bytes: Uint8Array): NamedBytes {
  return { descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length }, bytes };
}
