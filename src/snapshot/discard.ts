import type { Digest } from '../core/digest.ts';
import type { Store } from '../store/store.ts';

/** Takes away what a command that failed has brought in, but for what something else reaches too. */
export async function discard(store: Store, digests: Iterable<Digest>): Promise<void> {
  const list = [...digests];
  if (list.length === 0) return;
  try {
    const { removeUnreached } = await import('../store/prune.ts');
    const { layerHooks } = await import('./layer-hooks.ts');
    await removeUnreached(store, list, await layerHooks(store));
  } catch {
    // It only frees disk early (and a full one may not allow it): the next prune takes it away.
  }
}
