import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { Store } from '../store/store.ts';
import { type Image, readImages } from './image.ts';
import { isUntagged } from './tags.ts';

/** An image with all its names. */
export interface ListedImage {
  image: Image;
  /** In full and sorted; empty for an untagged image. */
  references: string[];
}

/** A reference that leads to nothing readable. */
export interface DamagedImage {
  reference: string;
  error: ImagoError;
}

/**
 * Every image in the store once, untagged ones included, of an index all platforms that are there.
 * What cannot be read goes to `onDamaged`; without it, it is thrown.
 */
export function listImages(store: Store, onDamaged?: (damaged: DamagedImage) => void): ListedImage[] {
  const byId = new Map<Digest, ListedImage>();
  const byTarget = new Map<Digest, Image[]>();
  for (const { reference, descriptor } of store.listRefs()) {
    let images = byTarget.get(descriptor.digest);
    if (images === undefined) {
      try {
        images = readImages(store, descriptor);
      } catch (error) {
        if (!(error instanceof ImagoError) || onDamaged === undefined) throw error;
        // An artifact is no image, and no damage.
        if (error.code !== 'NOT_AN_IMAGE') onDamaged({ reference, error });
        images = [];
      }
      byTarget.set(descriptor.digest, images);
    }
    for (const image of images) {
      const listed = byId.get(image.id) ?? { image, references: [] };
      byId.set(image.id, listed);
      if (!isUntagged(reference)) listed.references.push(reference);
    }
  }
  return [...byId.values()];
}
