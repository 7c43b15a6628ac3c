import type { Digest } from '../../core/digest.ts';
import { readDescriptor } from '../../oci/descriptor.ts';
import { type Field, parseJson } from '../../oci/json.ts';
import { parseManifest } from '../../oci/manifest.ts';
import { isIndexType, isManifestType, isSchema1Type, layerKind } from '../../oci/media-types.ts';

/** What a registry needs to know of a manifest; the bytes stay as they came. */
export interface ManifestFacts {
  mediaType: string;
  /** Blobs that it needs: config and layers, without those that are fetched from elsewhere (foreign layers). */
  blobs: Digest[];
  /** Manifests that it names: the children of an index. */
  children: Digest[];
  subject: Digest | undefined;
  artifactType: string | undefined;
  annotations: Record<string, string> | undefined;
}

/** What says nothing about the document inside. */
const GENERIC_TYPES: ReadonlySet<string> = new Set(['', 'application/json', 'application/octet-stream', 'text/plain']);
const MEDIA_TYPE = /^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}$/;

/**
 * Reads a manifest of any type. Images and indexes are checked in full; of other types (JSON objects) the members that
 * all types so far share are read: `config`, `layers`, `blobs`, `manifests`, `subject`. `contentType` is the pusher's, or
 * what the manifest is stored as. Throws `BAD_MANIFEST`, `SCHEMA1_MANIFEST`.
 */
export function readManifestFacts(bytes: Uint8Array, contentType: string): ManifestFacts {
  const outer = contentType.split(';', 1)[0]!.trim();
  const root = parseJson(bytes, 'BAD_MANIFEST', 'manifest');
  root.object();
  const inner = root.get('mediaType');
  inner.optional('string');
  const own = inner.present ? inner.string() : undefined;
  const generic = GENERIC_TYPES.has(outer);
  // One document must not be read as two things: CVE-2021-41190, OCI image-spec v1.0.2.
  if (!generic && own !== undefined && own !== outer) throw inner.bad(`${outer}, as the Content-Type says`);
  const announced = generic ? own : outer;
  const known = announced === undefined || [isIndexType, isManifestType, isSchema1Type].some((is) => is(announced));
  const mediaType = known ? parseManifest(bytes, { mediaType: announced }).mediaType : announced;
  if (!MEDIA_TYPE.test(mediaType)) throw inner.bad('a media type');
  return collectFacts(root, mediaType);
}

function collectFacts(root: Field, mediaType: string): ManifestFacts {
  const blobs = new Set<Digest>();
  const config = root.get('config');
  if (config.present) blobs.add(readDescriptor(config).digest);
  for (const field of [...root.get('layers').list(), ...root.get('blobs').list()]) {
    const layer = readDescriptor(field);
    if (!layerKind(layer.mediaType)?.foreign) blobs.add(layer.digest);
  }
  const children = root
    .get('manifests')
    .list()
    .map((field) => readDescriptor(field).digest);
  const subject = root.get('subject');
  root.get('artifactType').optional('string');
  root.get('annotations').optional('string map');
  const named = root.get('artifactType').value;
  const annotations = root.get('annotations');
  const fallback = isIndexType(mediaType) || !config.present ? undefined : readDescriptor(config).mediaType;
  return {
    mediaType,
    blobs: [...blobs],
    children: [...new Set(children)],
    subject: subject.present ? readDescriptor(subject).digest : undefined,
    artifactType: typeof named === 'string' && named !== '' ? named : fallback,
    annotations: annotations.present ? (annotations.value as Record<string, string>) : undefined,
  };
}
