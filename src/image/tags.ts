import type { Digest } from '../core/digest.ts';
import { isImagoError } from '../core/errors.ts';
import { bareDescriptor, type Descriptor } from '../oci/descriptor.ts';
import { parseManifest } from '../oci/manifest.ts';
import type { Store } from '../store/store.ts';

/**
 * The reference of an image that has no name, so that it is not garbage: `<none>@sha256:…`. No name that people can
 * type looks like it.
 */
const UNTAGGED = '<none>@';

export function untaggedReference(digest: Digest): string {
  return `${UNTAGGED}${digest}`;
}

export function isUntagged(reference: string): boolean {
  return reference.startsWith(UNTAGGED);
}

/**
 * Points a normalised reference at an image. What it named before is kept as an untagged image where nothing else
 * names it, as Docker does; an untagged image that gets a name is untagged no more.
 */
export function tagImage(store: Store, reference: string, descriptor: Descriptor): void {
  const target = bareDescriptor(descriptor);
  const before = store.getRef(reference);
  if (before !== undefined && before.digest !== target.digest) {
    const named = store.listRefs().some((r) => r.descriptor.digest === before.digest && r.reference !== reference);
    if (!named && store.hasBlob(before.digest)) store.setRef(untaggedReference(before.digest), before);
  }
  if (before?.digest !== target.digest) store.setRef(reference, target);
  if (store.getRef(untaggedReference(target.digest)) !== undefined) store.deleteRef(untaggedReference(target.digest));
}

/** Keeps an image that nobody has named; nothing where it has a name already. */
export function keepUntagged(store: Store, descriptor: Descriptor): void {
  if (store.listRefs().some((r) => r.descriptor.digest === descriptor.digest)) return;
  store.setRef(untaggedReference(descriptor.digest), bareDescriptor(descriptor));
}

/** All names of an image, by its ID: in full and sorted, without the untagged one. */
export function referencesTo(store: Store, id: Digest): string[] {
  const known = new Map<Digest, boolean>();
  const leads = (digest: Digest): boolean => {
    const answer = known.get(digest);
    if (answer !== undefined) return answer;
    // In front, so that a hostile index that names itself ends.
    known.set(digest, false);
    const found = configsBelow(store, digest, leads, id);
    known.set(digest, found);
    return found;
  };
  return store
    .listRefs()
    .filter(({ reference, descriptor }) => !isUntagged(reference) && leads(descriptor.digest))
    .map(({ reference }) => reference);
}

/**
 * The names that people see as such: `repository@sha256:…`, which a pull or a push by digest leaves, says nothing more
 * where the image has a tag in that repository.
 */
export function shownReferences(references: readonly string[]): string[] {
  const tagged = new Set(references.filter((name) => !name.includes('@')).map((name) => name.replace(/:[^:/]*$/, '')));
  return references.filter((name) => !name.includes('@') || !tagged.has(name.slice(0, name.indexOf('@'))));
}

function configsBelow(store: Store, digest: Digest, leads: (digest: Digest) => boolean, id: Digest): boolean {
  try {
    if (!store.hasBlob(digest)) return false;
    const parsed = parseManifest(store.readBlob(digest));
    if (parsed.kind === 'image') return parsed.value.config.digest === id;
    return parsed.value.manifests.some((child) => leads(child.digest));
  } catch (error) {
    // A damaged manifest is told where it is asked for by name; here it is only no name of this image.
    if (isImagoError(error)) return false;
    throw error;
  }
}
