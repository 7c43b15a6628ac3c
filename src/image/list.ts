import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { selectPlatform } from '../oci/platform.ts';
import { referenceOfFile } from '../store/refs.ts';
import type { Store } from '../store/store.ts';
import { defaultPlatform, type Image, readImages } from './image.ts';
import { isUntagged } from './tags.ts';

/** An image with all its names. */
export interface ListedImage {
  image: Image;
  /** In full and sorted; empty for an untagged image. */
  references: string[];
  /** What each of them stands for: one image may have several manifests, with other forms of its layers. */
  targets: ReadonlyMap<string, Digest>;
}

/** A reference that leads to nothing readable. */
export interface DamagedImage {
  reference: string;
  error: ImagoError;
}

export interface ListImagesOptions {
  /** Of an index, all platforms that are there; else the one that its name stands for. */
  allPlatforms?: boolean;
  /** Hears of what cannot be read; without it, that is thrown. */
  onDamaged?: (damaged: DamagedImage) => void;
}

type Named = ListedImage & { targets: Map<string, Digest> };

/** Every image in the store once, untagged ones included. */
export function listImages(store: Store, options: ListImagesOptions = {}): ListedImage[] {
  const { allPlatforms = false, onDamaged } = options;
  const byId = new Map<Digest, Named>();
  const byTarget = new Map<Digest, Image[]>();
  const references = store.listRefs((path, error) => {
    if (onDamaged === undefined) throw error;
    onDamaged({ reference: referenceOfFile(path), error });
  });
  for (const { reference, descriptor } of references) {
    let images = byTarget.get(descriptor.digest);
    if (images === undefined) {
      try {
        images = readImages(store, descriptor);
        if (!allPlatforms && images.length > 1) images = [preferred(images)];
      } catch (error) {
        if (!(error instanceof ImagoError)) throw error;
        // Removed by somebody else while we looked.
        if (store.getRef(reference)?.digest !== descriptor.digest) continue;
        if (onDamaged === undefined) throw error;
        // An artifact is no image, and no damage.
        if (error.code !== 'NOT_AN_IMAGE') onDamaged({ reference, error });
        images = [];
      }
      byTarget.set(descriptor.digest, images);
    }
    for (const image of images) {
      const listed: Named = byId.get(image.id) ?? { image, references: [], targets: new Map() };
      byId.set(image.id, listed);
      if (isUntagged(reference)) continue;
      listed.references.push(reference);
      listed.targets.set(reference, descriptor.digest);
    }
  }
  return [...byId.values()];
}

function preferred(images: Image[]): Image {
  return selectPlatform(defaultPlatform(), images, (image) => image.platform) ?? images[0]!;
}
