import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { LayerHooks } from '../store/prune.ts';
import type { Store } from '../store/store.ts';

/** For whoever takes layers out of the store: their mounts go with them. Loads nothing where nothing was mounted. */
export async function layerHooks(store: Store): Promise<LayerHooks> {
  if (process.geteuid?.() !== 0 || !existsSync(join(store.run, 'mnt'))) return {};
  const { releaseHooks } = await import('./release.ts');
  return releaseHooks(store);
}
