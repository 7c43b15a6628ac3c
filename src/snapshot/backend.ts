/** How a layer is made mountable. In order of preference. */
export type Backend = 'erofs' | 'erofs-loop' | 'unpacked';

export const BACKENDS: readonly Backend[] = ['erofs', 'erofs-loop', 'unpacked'];

/** What EROFS mounts: an index, and the tars that are its devices, in slot order. */
export interface IndexedLayer {
  index: string;
  tars: string[];
  /** Read past the cache of the tar (see `wantsDirectIo`). */
  directIo?: boolean;
}
