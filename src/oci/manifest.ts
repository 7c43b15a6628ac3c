import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { type Descriptor, readDescriptor } from './descriptor.ts';
import { type Field, parseJson } from './json.ts';
import { isIndexType, isManifestType, isSchema1Type, MEDIA_TYPES } from './media-types.ts';

/** OCI image-spec v1.1.1, manifest.md; Docker manifest v2 schema 2 has the same members. */
export interface ImageManifest {
  schemaVersion: 2;
  mediaType?: string;
  artifactType?: string;
  config: Descriptor;
  layers: Descriptor[];
  subject?: Descriptor;
  annotations?: Record<string, string>;
}

/** OCI image-spec v1.1.1, image-index.md; Docker manifest list. */
export interface ImageIndex {
  schemaVersion: 2;
  mediaType?: string;
  artifactType?: string;
  manifests: Descriptor[];
  subject?: Descriptor;
  annotations?: Record<string, string>;
}

interface Parsed<K extends string, T> {
  kind: K;
  /** What the document says, members that are not known included. Not to be encoded again: `bytes` is the manifest. */
  value: T;
  /** Byte-exact. */
  bytes: Uint8Array;
  mediaType: string;
  /** Given by the caller, who checked it. */
  digest?: Digest;
}
export type ParsedImage = Parsed<'image', ImageManifest>;
export type ParsedIndex = Parsed<'index', ImageIndex>;
export type ParsedManifest = ParsedImage | ParsedIndex;

/**
 * Reads a manifest or an index. `mediaType` is what a descriptor or a header said, where there was one.
 * Throws `BAD_MANIFEST` (which field, wanted, got), `SCHEMA1_MANIFEST`, `UNKNOWN_MANIFEST`.
 */
export function parseManifest(bytes: Uint8Array, expect: { mediaType?: string; digest?: Digest } = {}): ParsedManifest {
  const root = parseJson(bytes, 'BAD_MANIFEST', 'manifest');
  const inner = root.get('mediaType');
  inner.optional('string');
  const mediaType = chooseMediaType(root, expect.mediaType, inner);
  if (root.get('schemaVersion').value !== 2) throw root.get('schemaVersion').bad('2');
  root.get('artifactType').optional('string');
  root.get('annotations').optional('string map');
  if (root.get('subject').present) readDescriptor(root.get('subject'));
  const rest = expect.digest === undefined ? { bytes, mediaType } : { bytes, mediaType, digest: expect.digest };
  if (isIndexType(mediaType)) return { kind: 'index', value: readIndex(root), ...rest };
  return { kind: 'image', value: readImage(root), ...rest };
}

/** Like `parseManifest`, for where only an image can stand. Throws `NOT_AN_IMAGE` for an index. */
export function parseImageManifest(
  bytes: Uint8Array,
  expect: { mediaType?: string; digest?: Digest } = {},
): ParsedImage {
  const parsed = parseManifest(bytes, expect);
  if (parsed.kind === 'image') return parsed;
  throw new ImagoError('NOT_AN_IMAGE', 'this is an index, not the manifest of one image', { got: parsed.mediaType });
}

function chooseMediaType(root: Field, expected: string | undefined, inner: Field): string {
  const own = inner.present ? inner.string() : undefined;
  const outer = expected?.split(';')[0]?.trim();
  const outerKnown = outer !== undefined && (isIndexType(outer) || isManifestType(outer) || isSchema1Type(outer));
  if (
    (outer !== undefined && isSchema1Type(outer)) ||
    (own !== undefined && isSchema1Type(own)) ||
    looksSchema1(root)
  ) {
    throw new ImagoError('SCHEMA1_MANIFEST', 'Docker schema 1 manifests are not supported', {
      want: 'Docker schema 2 or OCI',
      remedy: 'push the image again with a current client, or convert it with skopeo copy',
    });
  }
  // One document must not be read as two things: CVE-2021-41190, OCI image-spec v1.0.2.
  if (outerKnown && own !== undefined && own !== outer) throw inner.bad(`${outer}, as it was announced`);
  const both = root.get('manifests').present && (root.get('layers').present || root.get('config').present);
  if (both) throw root.get('manifests').bad('either manifests, or config and layers');
  const mediaType = own ?? (outerKnown ? outer : undefined);
  if (mediaType === undefined) return root.get('manifests').present ? MEDIA_TYPES.index : MEDIA_TYPES.manifest;
  if (isIndexType(mediaType) || isManifestType(mediaType)) return mediaType;
  throw new ImagoError('UNKNOWN_MANIFEST', 'unknown kind of manifest', {
    want: `${MEDIA_TYPES.manifest} or ${MEDIA_TYPES.index}`,
    got: JSON.stringify(mediaType),
  });
}

function looksSchema1(root: Field): boolean {
  return root.get('schemaVersion').value === 1 || (root.get('fsLayers').present && root.get('history').present);
}

function readImage(root: Field): ImageManifest {
  const config = root.get('config');
  if (!config.present) throw config.bad('a descriptor');
  readDescriptor(config);
  for (const layer of root.get('layers').list()) readDescriptor(layer);
  const value = root.object() as unknown as ImageManifest;
  return root.get('layers').present ? value : { ...value, layers: [] };
}

function readIndex(root: Field): ImageIndex {
  for (const manifest of root.get('manifests').list()) readDescriptor(manifest);
  const value = root.object() as unknown as ImageIndex;
  return root.get('manifests').present ? value : { ...value, manifests: [] };
}
