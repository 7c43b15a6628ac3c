import { closeSync, openSync } from 'node:fs';
import { resolveImage } from '../../src/image/resolve.ts';
import { openLayerMounts } from '../../src/snapshot/layer-mounts.ts';
import { openPin } from '../../src/snapshot/pin.ts';
import { openSnapshotter } from '../../src/snapshot/snapshotter.ts';
import { listStack } from '../../src/snapshot/stack.ts';
import type { Store } from '../../src/store/store.ts';
import { closeFd } from '../../src/system/mount.ts';

/** Opens a file of an image's lowest layer, mounted, for writing. Returns the errno's name, or 'written'. */
export async function tryToWrite(store: Store, image: string, path: string): Promise<string> {
  const { diffIds } = resolveImage(store, image);
  const snapshotter = openSnapshotter(store);
  await snapshotter.prepare(diffIds);
  const { backend } = snapshotter;
  if (backend === 'unpacked') return 'no EROFS here (backend: unpacked)';
  const { parts } = listStack(store, diffIds.slice(0, 1));
  const layers = parts.map((part) => ({ ...part, name: `${backend}-${part.name}` }));
  const mounts = openLayerMounts(layers, backend, openPin(store.run));
  try {
    closeSync(openSync(`/proc/self/fd/${mounts[0]}/${path}`, 'r+'));
    return 'written';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? String(error);
  } finally {
    for (const fd of mounts) closeFd(fd);
  }
}
