import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { type Digest, isDigest } from '../core/digest.ts';
import { layerKind } from '../oci/media-types.ts';
import { blobPath } from './layout.ts';

/** What a manifest, index or config names; all empty for any other blob. */
export interface NamedByDocument {
  kind: 'index' | 'manifest' | 'config' | 'other';
  /** Manifests of an index, the config of a manifest: documents themselves. */
  documents: Digest[];
  /** Compressed layers or artifacts of a manifest: leaves, and here only where they were kept. */
  blobs: Digest[];
  /** Of these, what is no layer by its media type: an attestation, whose config counts it among the DiffIDs. */
  plain: Digest[];
  /** DiffIDs of a config, the lowest layer first. */
  layers: Digest[];
}

const NOTHING: NamedByDocument = { kind: 'other', documents: [], blobs: [], plain: [], layers: [] };
/** No document is larger: distribution-spec v1.1.1 §Pushing Manifests tells registries to bound manifests by this. */
const LARGEST = 4 * 2 ** 20;
const BRACE = 0x7b;

/**
 * What a blob names, told by its content: a media type is not always at hand, and whoever wrote the document may have
 * been liberal. Undefined where the blob is missing. Never throws for what is in it.
 */
export function readDocument(root: string, digest: Digest): NamedByDocument | undefined {
  let fd: number;
  try {
    fd = openSync(blobPath(root, digest), 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const { size } = fstatSync(fd);
    const head = Buffer.alloc(1);
    if (size > LARGEST || size < 2 || readSync(fd, head, 0, 1, 0) !== 1 || head[0] !== BRACE) return NOTHING;
    const bytes = Buffer.allocUnsafe(size);
    return namedBy(JSON.parse(bytes.toString('utf8', 0, readSync(fd, bytes, 0, size, 0))));
  } catch (error) {
    if (error instanceof SyntaxError) return NOTHING;
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** OCI image-spec v1.1.1: manifest.md, image-index.md, config.md; Docker's schema 2 has the same members. */
function namedBy(document: unknown): NamedByDocument {
  const { manifests, config, layers, blobs, rootfs } = document as Record<string, unknown>;
  if (Array.isArray(manifests)) return { ...NOTHING, kind: 'index', documents: digestsOf(manifests) };
  const diffIds = (rootfs as { diff_ids?: unknown } | undefined | null)?.diff_ids;
  if (Array.isArray(diffIds)) {
    return { ...NOTHING, kind: 'config', layers: diffIds.filter((id) => typeof id === 'string' && isDigest(id)) };
  }
  if (!Array.isArray(layers) && !Array.isArray(blobs)) return NOTHING;
  return {
    ...NOTHING,
    kind: 'manifest',
    documents: digestsOf([config]),
    blobs: [...digestsOf(layers), ...digestsOf(blobs)],
    plain: digestsOf(layers, (mediaType) => typeof mediaType === 'string' && layerKind(mediaType) === undefined),
  };
}

function digestsOf(descriptors: unknown, wanted: (mediaType: unknown) => boolean = () => true): Digest[] {
  if (!Array.isArray(descriptors)) return [];
  const out: Digest[] = [];
  for (const item of descriptors) {
    const { digest, mediaType } = (item ?? {}) as { digest?: unknown; mediaType?: unknown };
    if (typeof digest === 'string' && isDigest(digest) && wanted(mediaType)) out.push(digest);
  }
  return out;
}
