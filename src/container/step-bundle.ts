import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Store } from '../store/store.ts';
import { type FileLock, tryLockFile, tryLockIfThere } from '../system/lock.ts';
import { stateRoot } from './record.ts';
import { forgetInRuntime } from './remove.ts';

/** Where a step has its bundle. */
export function stepBundlePath(store: Store, id: string): string {
  return join(store.run, 'steps', id);
}

/**
 * Makes a step's bundle and locks it. A runtime that inherits the lock's descriptor holds it, too: who gets the lock
 * knows that neither the build nor the runtime is there any more.
 */
export function makeStepBundle(store: Store, bundle: string): FileLock {
  // Under the shared lock, so that who collects never sees it made but not yet locked.
  using _lock = store.lock('shared');
  mkdirSync(bundle, { recursive: true, mode: 0o700 });
  const lock = tryLockFile(bundle, 'exclusive');
  if (lock === undefined) throw new Error(`a new directory is locked: ${bundle}`);
  return lock;
}

/** Ends and removes the steps whose build, runtime and reaper were all killed. */
export async function collectSteps(store: Store): Promise<void> {
  for (const id of listAbandoned(store)) {
    // Its processes may live on without the runtime.
    if (existsSync(join(stateRoot(store), id))) await forgetInRuntime(store, id);
    rmSync(stepBundlePath(store, id), { recursive: true, force: true });
  }
}

/** A lock that is free stays so: nobody but its maker takes it. */
function listAbandoned(store: Store): string[] {
  using _lock = store.lock('exclusive');
  return namesIn(join(store.run, 'steps')).filter((id) => {
    const lock = tryLockIfThere(stepBundlePath(store, id), 'exclusive');
    if (lock === 'held' || lock === 'gone') return false;
    lock.release();
    return true;
  });
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
