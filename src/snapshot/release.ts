import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { digestHex } from '../core/digest.ts';
import type { LayerHooks } from '../store/prune.ts';
import type { Store } from '../store/store.ts';
import { mountNames, releaseLayerMounts } from './layer-mounts.ts';
import { openPin, type Pin } from './pin.ts';

/**
 * For whoever deletes or replaces the files of layers: lets go of their mounts. Containers that use them keep them
 * until they end. Idempotent; does nothing without root, or where nothing was mounted. Nothing is probed or written,
 * so that a full disk keeps nobody from removing.
 */
export function releaseHooks(store: Store): Required<LayerHooks> {
  let pin: Pin | undefined;
  const release = (name: string): void => {
    if (process.geteuid?.() !== 0 || !existsSync(join(store.run, 'mnt'))) return;
    pin ??= openPin(store.run);
    if (pin !== undefined) releaseLayerMounts(mountNames(name), pin);
  };
  return {
    dropLayer: (diffId) => release(digestHex(diffId)),
    dropChain: (chainId) => release(`p-${digestHex(chainId)}`),
  };
}
