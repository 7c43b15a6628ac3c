import { readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { runtimeProcess } from '../runtime/state.ts';
import type { Store } from '../store/store.ts';
import { collectNames } from './names.ts';
import {
  type ContainerRecord,
  containerIds,
  containerPaths,
  containersDirectory,
  listRecords,
  stateRoot,
} from './record.ts';
import { removeContainer } from './remove.ts';
import { isOver } from './state.ts';
import { collectSteps } from './step-bundle.ts';

/** Younger leftovers may be somebody's work in progress. */
const GRACE_MS = 60_000;

/**
 * Removes containers with --rm that are over, parts of containers, and steps of builds, where whoever was to remove
 * them was killed.
 * Returns the IDs of the containers.
 */
export async function collectContainers(store: Store): Promise<string[]> {
  const collected: string[] = [];
  const known = new Set<string>();
  const damaged = new Set<string>();
  const records = new Map(listRecords(store, (id) => damaged.add(id)).map((record) => [record.id, record]));
  for (const id of containerIds(store)) {
    const record = records.get(id);
    const directory = join(containersDirectory(store), id);
    known.add(id);
    // What it wrote is the user's.
    if (damaged.has(id)) continue;
    if (record === undefined ? !isOld(directory) : !isGarbage(store, record)) continue;
    if (record === undefined) rmSync(directory, { recursive: true, force: true });
    else await removeContainer(store, record, { force: true, volumes: true });
    known.delete(id);
    collected.push(id);
  }
  await collectSteps(store);
  const states = stateRoot(store);
  for (const place of ['containers', 'exits']) {
    removeUnknown(join(store.run, place), (id) => known.has(id) || runtimeProcess(states, id) !== undefined);
  }
  collectNames(store);
  for (const name of readdirSync(containersDirectory(store))) {
    if (name.startsWith('.removing-')) rmSync(join(containersDirectory(store), name), { recursive: true, force: true });
  }
  return collected;
}

/** Whoever was to remove it is gone, or should have been quicker. */
function isGarbage(store: Store, record: ContainerRecord): boolean {
  if (!record.autoRemove || !isOver(store, record)) return false;
  // The process that made it is known, and dead: nobody can be at work on it but its reaper, who does the same.
  return record.holder === 'runtime' || isOld(containerPaths(store, record).directory);
}

function removeUnknown(directory: string, isKnown: (id: string) => boolean): void {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch {
    return;
  }
  for (const name of names) {
    const path = join(directory, name);
    if (!isKnown(name) && isOld(path)) rmSync(path, { recursive: true, force: true });
  }
}

function isOld(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat !== undefined && Date.now() - stat.mtimeMs > GRACE_MS;
}
