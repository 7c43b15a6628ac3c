import type { CreateOptions } from '../container/create.ts';
import { launchContainer } from '../container/launch.ts';
import type { ForegroundEnd, ForegroundStreams } from '../container/run.ts';
import type { Store } from '../store/store.ts';
import { type ImageWish, withImage } from './with-image.ts';

export type RunResult = ForegroundEnd | { kind: 'started'; id: string };

export interface RunOptions extends CreateOptions, ImageWish {
  detach?: boolean;
}

/**
 * Runs a command in a new container.
 *
 * With `autoRemove`, in the foreground and without a terminal, this process becomes the runtime: the promise then only
 * settles with an error, and `streams` are not called for. Everything else is held by conmon. An image that is not in
 * the store is fetched first.
 * Throws with exit status 125, 126 or 127 (`ImagoError.details.exitCode`) what kept it from starting.
 */
export async function runContainer(
  store: Store,
  options: RunOptions,
  streams: () => ForegroundStreams,
): Promise<RunResult> {
  return await withImage(store, options.image, options, () => runPresent(store, options, streams));
}

async function runPresent(store: Store, options: RunOptions, streams: () => ForegroundStreams): Promise<RunResult> {
  if (options.detach !== true && options.autoRemove === true && options.terminal !== true) {
    return await launchContainer(store, options);
  }
  const { runAttached, runDetached } = await import('../container/run.ts');
  if (options.detach === true) return { kind: 'started', id: (await runDetached(store, options)).id };
  return await runAttached(store, options, streams());
}
