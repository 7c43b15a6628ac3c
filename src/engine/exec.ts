import { type ExecOptions, execDetached, execForeground } from '../container/exec.ts';
import { findContainer } from '../container/record.ts';
import type { Store } from '../store/store.ts';

/**
 * Runs one more process in a running container. Unless detached, this process becomes the runtime that waits for it:
 * the promise then only settles with an error. Throws `NO_SUCH_CONTAINER`, `NOT_RUNNING`, `COMMAND_NOT_FOUND`,
 * `COMMAND_NOT_EXECUTABLE`.
 */
export async function execByName(
  store: Store,
  container: string,
  options: ExecOptions & { detach?: boolean },
): Promise<void> {
  const record = findContainer(store, container);
  if (options.detach === true) return await execDetached(store, record, options);
  return await execForeground(store, record, options);
}
