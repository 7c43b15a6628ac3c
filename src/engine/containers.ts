import { collectContainers } from '../container/collect.ts';
import { type CreateOptions, createContainer } from '../container/create.ts';
import { killContainer, stopContainer } from '../container/kill.ts';
import { findContainer } from '../container/record.ts';
import { type RemoveOptions, removeContainer, removeDamaged } from '../container/remove.ts';
import type { ForegroundEnd, ForegroundStreams } from '../container/run.ts';
import { startContainer } from '../container/start.ts';
import { waitContainer } from '../container/wait.ts';
import { isImagoError } from '../core/errors.ts';
import type { Store } from '../store/store.ts';
import { type ImageWish, withImage } from './with-image.ts';

/** Makes a container without starting it, and returns its ID. Throws as `createContainer` and `pullImage`. */
export async function createByName(store: Store, options: CreateOptions & ImageWish): Promise<string> {
  const create = (): string => createContainer(store, { ...options, detached: true }, 'conmon').id;
  return await withImage(store, options.image, options, create);
}

/** Starts a container that does not run; nothing happens to one that does. */
export async function startByName(store: Store, container: string): Promise<void> {
  const record = findContainer(store, container);
  await startContainer(store, record, { unlessRunning: true });
}

/** Starts a container and stays with it. */
export async function startAttachedByName(
  store: Store,
  container: string,
  streams: (of: { terminal: boolean; stdin: boolean }) => ForegroundStreams,
): Promise<ForegroundEnd> {
  const record = findContainer(store, container);
  const { startAttached } = await import('../container/run.ts');
  return await startAttached(store, record, streams(record.process));
}

/** Attaches to a running container. */
export async function attachByName(
  store: Store,
  container: string,
  streams: (of: { terminal: boolean; stdin: boolean }) => ForegroundStreams,
): Promise<ForegroundEnd> {
  const record = findContainer(store, container);
  const { attachRunning } = await import('../container/run.ts');
  return await attachRunning(store, record, streams(record.process));
}

/** Asks a container to end, and kills it where it does not within its time. */
export async function stopByName(
  store: Store,
  container: string,
  options: { timeout?: number; signal?: string } = {},
): Promise<void> {
  await stopContainer(store, findContainer(store, container), options);
}

/** Sends a signal to a container's first process. Throws `NOT_RUNNING`. */
export function killByName(store: Store, container: string, signal: string): void {
  killContainer(store, findContainer(store, container), signal);
}

/** Waits for the end of a container and returns its exit status. */
export async function waitByName(store: Store, container: string, signal?: AbortSignal): Promise<number> {
  return await waitContainer(store, findContainer(store, container), signal === undefined ? {} : { signal });
}

/** Discards a container with its writable layer; a damaged one only by force. Throws `STILL_RUNNING`. */
export async function removeByName(store: Store, container: string, options: RemoveOptions = {}): Promise<void> {
  try {
    await removeContainer(store, findContainer(store, container), options);
  } catch (error) {
    if (options.force !== true || !isImagoError(error, 'CONTAINER_DAMAGED')) throw error;
    await removeDamaged(store, error.details.ref!);
  }
}

/** Removes what killed commands left of containers that were to go with them. Returns their IDs. */
export async function collectLeftovers(store: Store): Promise<string[]> {
  return await collectContainers(store);
}
