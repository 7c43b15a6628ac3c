import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ImagoError } from '../core/errors.ts';
import { findRuntime } from '../runtime/find-runtime.ts';
import type { Store } from '../store/store.ts';
import { killHard } from './kill.ts';
import { releaseNameOf, releaseNamesOf } from './names.ts';
import { type ContainerRecord, containerPaths, containersDirectory, stateRoot } from './record.ts';
import { containerState } from './state.ts';
import { anonymousVolumes } from './volumes.ts';

export interface RemoveOptions {
  /** Kill it where it runs. */
  force?: boolean;
  /** Its anonymous volumes, too. */
  volumes?: boolean;
}

/** Discards a container with its writable layer and log. Throws `STILL_RUNNING`. */
export async function removeContainer(
  store: Store,
  record: ContainerRecord,
  options: RemoveOptions = {},
): Promise<void> {
  const paths = containerPaths(store, record);
  if (containerState(store, record).status === 'running') {
    if (options.force !== true) {
      throw new ImagoError('STILL_RUNNING', `cannot remove container ${record.name}: it is running`, {
        remedy: `stop it first with 'imago stop ${record.name}', or use 'imago rm -f'`,
      });
    }
    await killHard(store, record);
  }
  // conmon's exit command may not have come to it, or conmon was killed.
  if (existsSync(join(stateRoot(store), record.id))) await forgetInRuntime(store, record.id);
  releaseNameOf(store, record);
  discardDirectory(store, paths.directory, record.id);
  rmSync(paths.bundle, { recursive: true, force: true });
  rmSync(join(paths.exitDirectory, record.id), { force: true });
  if (options.volumes === true) {
    for (const path of anonymousVolumes(store, record.mounts)) rmSync(path, { recursive: true, force: true });
  }
}

/** Discards a container whose record cannot be read; one that runs is killed. */
export async function removeDamaged(store: Store, id: string): Promise<void> {
  if (existsSync(join(stateRoot(store), id))) await forgetInRuntime(store, id);
  releaseNamesOf(store, id);
  discardDirectory(store, join(containersDirectory(store), id), id);
  rmSync(join(store.run, 'containers', id), { recursive: true, force: true });
}

/** Out of the way first: a half-removed container would still be one to everybody else. */
function discardDirectory(store: Store, directory: string, id: string): void {
  const doomed = join(containersDirectory(store), `.removing-${id}`);
  try {
    renameSync(directory, doomed);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  rmSync(doomed, { recursive: true, force: true });
}

/** Has the runtime kill what it knows under this ID, and forget it. */
export async function forgetInRuntime(store: Store, id: string): Promise<void> {
  const { spawnSync } = await import('node:child_process');
  const runtime = await findRuntime(store.run);
  spawnSync(runtime.path, ['--root', stateRoot(store), 'delete', '--force', id], { stdio: 'ignore' });
}
