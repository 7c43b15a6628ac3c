import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Store } from '../store/store.ts';
import { sleep } from '../system/sleep.ts';
import { type ContainerRecord, containerPaths } from './record.ts';
import { containerState, LOST_EXIT_CODE, readExit } from './state.ts';

const FIRST_PAUSE_MS = 4;
const LONGEST_PAUSE_MS = 100;

/** The exit status of a container, once it has ended; of one that was never started, once it was. */
export async function waitContainer(
  store: Store,
  record: ContainerRecord,
  options: { signal?: AbortSignal } = {},
): Promise<number> {
  const paths = containerPaths(store, record);
  const exitFile = join(paths.exitDirectory, record.id);
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 1.5, LONGEST_PAUSE_MS)) {
    const exit = readExit(exitFile);
    if (exit !== undefined) return exit.exitCode;
    const state = containerState(store, record);
    // Looked at again after the state: a container with --rm leaves the file, and may leave it last.
    const over = state.status === 'exited' || !existsSync(paths.record);
    if (over) return readExit(exitFile)?.exitCode ?? state.exitCode ?? LOST_EXIT_CODE;
    await sleep(pause, options.signal);
  }
}

/** The note that a container with --rm leaves for its client. */
export function forgetExit(store: Store, record: ContainerRecord): void {
  if (record.autoRemove) rmSync(join(containerPaths(store, record).exitDirectory, record.id), { force: true });
}
