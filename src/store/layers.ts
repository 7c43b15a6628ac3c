import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { LayerFacts } from '../formats/erofs/facts.ts';
import { missingBlob } from './blobs.ts';
import { FILES, type LayerRecord } from './layer-job.ts';
import type { Store } from './store.ts';

/** The layer's tar and its index are in the store. Hold it by a lease before asking. */
export function hasLayer(store: Store, diffId: Digest): boolean {
  return store.hasBlob(diffId) && existsSync(join(store.layerDirectory(diffId), FILES.record));
}

/** Where the layer's tar is: the data device of its index. */
export function layerTarPath(store: Store, diffId: Digest): string {
  return store.blobPath(diffId);
}

export function layerIndexPath(store: Store, diffId: Digest): string {
  return join(store.layerDirectory(diffId), FILES.index);
}

/** What ingest found out about a layer. Throws `LAYER_MISSING`, `LAYER_DAMAGED`. */
export function layerRecord(store: Store, diffId: Digest): LayerRecord {
  const path = join(store.layerDirectory(diffId), FILES.record);
  try {
    const record = JSON.parse(readFileSync(path, 'utf8')) as LayerRecord | null;
    if (record?.diffId === diffId && typeof record.tarSize === 'number' && record.facts) return record;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') throw missingLayer(store, diffId);
    if (code !== undefined) throw error;
    // Told below, as any other damage.
  }
  throw new ImagoError('LAYER_DAMAGED', 'the record of a layer is damaged', {
    ref: diffId,
    path,
    remedy: "'imago verify' makes it anew from the layer's tar",
  });
}

export function layerFacts(store: Store, diffId: Digest): LayerFacts {
  return layerRecord(store, diffId).facts;
}

export function missingLayer(store: Store, diffId: Digest): ImagoError {
  const blob = missingBlob(store.root, diffId);
  const remedy = store.hasBlob(diffId)
    ? "its tar is there: 'imago verify' makes its index anew"
    : (blob.details.remedy ?? '');
  return new ImagoError('LAYER_MISSING', 'layer not found in the store', { want: diffId, remedy, cause: blob });
}
