import { closeSync, openSync, readSync } from 'node:fs';
import type { Digest } from '../core/digest.ts';
import type { TarEntry } from '../formats/tar/entry.ts';
import { readEntries } from '../formats/tar/read.ts';
import { layerTarPath, missingLayer } from './layers.ts';
import type { Store } from './store.ts';

/** All members of a layer's tar, in order, reading little more than its headers. Throws `LAYER_MISSING`. */
export function readLayerEntries(store: Store, diffId: Digest): TarEntry[] {
  const size = store.blobSize(diffId);
  if (size === undefined) throw missingLayer(store, diffId);
  const fd = openSync(layerTarPath(store, diffId), 'r');
  try {
    return readEntries((buffer, offset) => readSync(fd, buffer, 0, buffer.length, offset), size);
  } finally {
    closeSync(fd);
  }
}
