import type { Digest } from '../core/digest.ts';
import type { Store } from '../store/store.ts';
import type { Image } from './image.ts';

/** Bytes of layer tars. */
export interface ImageSizes {
  /** What the image would take alone: all its layers, as Docker's SIZE. */
  size: number;
  /** Of that, the layers that other images have too. */
  shared: number;
  /** Of that, the layers that no other image has. */
  unique: number;
}

/** Bytes of a layer's tar; 0 where it is not in the store. */
export function layerSize(store: Store, diffId: Digest): number {
  return store.blobSize(diffId) ?? 0;
}

export function imageSize(store: Store, image: Pick<Image, 'diffIds'>): number {
  return image.diffIds.reduce((sum, diffId) => sum + layerSize(store, diffId), 0);
}

/** Sizes of each of `images`, by ID; what is shared is told among these. */
export function imageSizes(store: Store, images: readonly Pick<Image, 'id' | 'diffIds'>[]): Map<Digest, ImageSizes> {
  const owners = new Map<Digest, Set<Digest>>();
  const bytesOf = new Map<Digest, number>();
  for (const { id, diffIds } of images) {
    for (const diffId of diffIds) {
      if (!bytesOf.has(diffId)) bytesOf.set(diffId, layerSize(store, diffId));
      const ids = owners.get(diffId) ?? new Set();
      owners.set(diffId, ids.add(id));
    }
  }
  const out = new Map<Digest, ImageSizes>();
  for (const { id, diffIds } of images) {
    const sizes: ImageSizes = { size: 0, shared: 0, unique: 0 };
    for (const diffId of diffIds) {
      const bytes = bytesOf.get(diffId)!;
      sizes.size += bytes;
      sizes[owners.get(diffId)!.size > 1 ? 'shared' : 'unique'] += bytes;
    }
    out.set(id, sizes);
  }
  return out;
}
