import { type Digest, isDigest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { encodeJson } from '../oci/json.ts';
import { type ImageIndex, parseManifest } from '../oci/manifest.ts';
import { MEDIA_TYPES } from '../oci/media-types.ts';
import { familiarReference, formatReference, parseReference, type Reference } from '../oci/reference.ts';
import { layerHooks } from '../snapshot/layer-hooks.ts';
import { removeUnreached } from '../store/prune.ts';
import type { Store } from '../store/store.ts';

/** Where a manifest of a list came from. */
export interface ListSource {
  /** The name by which it was put in, in full. */
  name: string;
  /** The repository that has it (docker.io/library/debian); absent where this store has it. */
  repository?: string;
}

/**
 * A list in the making: an index in the store under an ordinary reference, so that it is kept, listed, run and removed
 * like any other, with the children that are in the store. What no index holds, the sources, is in the record of the
 * reference; it is also what tells a list from an index that was pulled, which is never changed.
 */
export interface ManifestList {
  reference: Reference;
  index: ImageIndex;
  sources: Map<Digest, ListSource>;
}

/** In the reference's record alone, never in an index. */
const SOURCES = 'imago.manifest-list.sources';
/** distribution-spec v1.1.1 §Pushing Manifests. */
const LARGEST_INDEX = 4 * 2 ** 20;

export function emptyList(reference: Reference): ManifestList {
  return { reference, index: { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests: [] }, sources: new Map() };
}

/** A name for a list. Throws `BAD_REFERENCE`. */
export function parseListName(name: string): Reference {
  const reference = parseReference(name);
  if (reference.digest === undefined) return reference;
  throw new ImagoError('BAD_REFERENCE', 'a manifest list cannot be named by a digest', { got: name });
}

/** Undefined where nothing has that name. Throws `NAME_IN_USE` where it is an image's. */
export function findList(store: Store, reference: Reference): ManifestList | undefined {
  const record = store.getRef(formatReference(reference));
  if (record === undefined) return undefined;
  const told = record.annotations?.[SOURCES];
  const parsed = parseManifest(store.readBlob(record.digest), { mediaType: record.mediaType });
  if (told === undefined || parsed.kind !== 'index') {
    const shown = familiarReference(reference);
    throw new ImagoError('NAME_IN_USE', `'${shown}' is an image here, not a manifest list`, {
      remedy: `choose another name, or take this one away with 'imago rmi ${shown}'`,
    });
  }
  return { reference, index: parsed.value, sources: readSources(told) };
}

/** Throws `NO_SUCH_LIST`. */
export function getList(store: Store, name: string): ManifestList {
  const reference = parseListName(name);
  const list = findList(store, reference);
  if (list !== undefined) return list;
  throw new ImagoError('NO_SUCH_LIST', `No such manifest: ${familiarReference(reference)}`, {
    remedy: "'imago manifest create' makes one",
  });
}

/** Stores the list under its name; returns the index. The children that are in the store must be under a lease. */
export function putList(store: Store, { reference, index, sources }: ManifestList): Descriptor {
  using lease = store.lease('manifest list');
  const bytes = encodeJson(index);
  if (bytes.length > LARGEST_INDEX) {
    throw new ImagoError('IMAGE_TOO_LARGE', 'the manifest list is too large', {
      want: `at most ${LARGEST_INDEX} bytes`,
      got: bytes.length,
    });
  }
  const digest = store.putBlob(lease, bytes);
  const descriptor = { mediaType: MEDIA_TYPES.index, digest, size: bytes.length };
  const told = JSON.stringify(Object.fromEntries(sources));
  store.setRef(formatReference(reference), { ...descriptor, annotations: { [SOURCES]: told } });
  return descriptor;
}

/** Takes a list away, with what only it had. Throws `NO_SUCH_LIST`, `NAME_IN_USE`. */
export async function removeList(store: Store, name: string): Promise<void> {
  const { reference } = getList(store, name);
  const key = formatReference(reference);
  const digest = store.getRef(key)?.digest;
  store.deleteRef(key);
  if (digest !== undefined) await removeUnreached(store, [digest], await layerHooks(store));
}

/**
 * The manifest of a list that a user means: by its digest, or by the name it was put in with.
 * Throws `NO_SUCH_MANIFEST`, `AMBIGUOUS_MANIFEST`.
 */
export function findInList(list: ManifestList, text: string): Descriptor {
  const shown = familiarReference(list.reference);
  const bare = text.replace(/^docker:\/\//, '');
  const named = isDigest(bare) ? undefined : parseReference(bare);
  const digest = isDigest(bare) ? bare : named?.digest;
  const matches = list.index.manifests.filter((child) =>
    digest === undefined
      ? list.sources.get(child.digest)?.name === formatReference(named!)
      : child.digest === digest || list.sources.get(child.digest)?.name.endsWith(`@${digest}`),
  );
  if (matches.length === 1) return matches[0]!;
  if (matches.length === 0) {
    throw new ImagoError('NO_SUCH_MANIFEST', `manifest for image ${text} does not exist in ${shown}`, {
      remedy: `'imago manifest inspect ${shown}' shows those there are`,
    });
  }
  throw new ImagoError('AMBIGUOUS_MANIFEST', `${text} stands for ${matches.length} manifests in ${shown}`, {
    remedy: 'name one by its digest',
  });
}

function readSources(text: string): Map<Digest, ListSource> {
  const entries = Object.entries(JSON.parse(text) as Record<string, ListSource>);
  return new Map(entries.filter((entry): entry is [Digest, ListSource] => isDigest(entry[0])));
}
