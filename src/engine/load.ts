import { type LoadOptions as ArchiveOptions, type LoadedImage as FromArchive, loadArchive } from '../archive/load.ts';
import type { ArchiveSource } from '../archive/open.ts';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { readImage } from '../image/image.ts';
import { familiarReference, parseReference } from '../oci/reference.ts';
import { discard } from '../snapshot/discard.ts';
import type { Store } from '../store/store.ts';

export type LoadOptions = Omit<ArchiveOptions, 'onStored'>;

export interface LoadedImage {
  id: Digest;
  /** Short forms; empty for an image without a name. */
  names: string[];
  /** Names that were another image's until now, and its ID where it can be read. */
  taken: { name: string; from: Digest | undefined }[];
}

/** Loads an archive; see `loadArchive`. What a load that fails has brought in is removed again. */
export async function loadImages(
  store: Store,
  source: ArchiveSource,
  options: LoadOptions = {},
): Promise<LoadedImage[]> {
  const stored = new Set<Digest>();
  try {
    const images = await loadArchive(store, source, { ...options, onStored: (digest) => stored.add(digest) });
    for (const digest of namedBy(store, images)) stored.delete(digest);
    return images.map((image) => describeLoaded(store, image));
  } finally {
    await discard(store, stored);
  }
}

/** All that the images consist of. */
function namedBy(store: Store, images: readonly FromArchive[]): Digest[] {
  return images.flatMap(({ id, descriptor }) => {
    const { diffIds, manifest } = readImage(store, descriptor);
    return [id, descriptor.digest, ...diffIds, ...manifest.layers.map((layer) => layer.digest)];
  });
}

function describeLoaded(store: Store, { id, names, taken }: FromArchive): LoadedImage {
  return {
    id,
    names: names.map(shortName),
    taken: taken.map(({ name, from }) => ({ name: shortName(name), from: idOf(store, from) })),
  };
}

function shortName(name: string): string {
  return familiarReference(parseReference(name));
}

function idOf(store: Store, descriptor: FromArchive['descriptor']): Digest | undefined {
  try {
    return readImage(store, descriptor).id;
  } catch (error) {
    // Damaged, or never complete: it has no ID to tell.
    if (error instanceof ImagoError) return undefined;
    throw error;
  }
}
