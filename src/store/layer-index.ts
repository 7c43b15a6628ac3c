import { readFileSync } from 'node:fs';
import type { Digest } from '../core/digest.ts';
import { IndexReader } from '../formats/erofs/read.ts';
import type { IndexedLayer } from '../tree/indexed.ts';
import { layerFacts, layerIndexPath, missingLayer } from './layers.ts';
import type { Store } from './store.ts';

/** A layer's index, read whole, for looking names up. Throws `LAYER_MISSING`, `LAYER_DAMAGED`, `BAD_INDEX`. */
export function readLayerIndex(store: Store, diffId: Digest): IndexedLayer {
  const facts = layerFacts(store, diffId);
  let image: Buffer;
  try {
    image = readFileSync(layerIndexPath(store, diffId));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw missingLayer(store, diffId);
    throw error;
  }
  return { index: new IndexReader(image), facts };
}
