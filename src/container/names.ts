import { existsSync, mkdirSync, readdirSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ImagoError } from '../core/errors.ts';
import type { Store } from '../store/store.ts';
import { type FileLock, lockFile } from '../system/lock.ts';
import { ADJECTIVES, SURNAMES } from './name-words.ts';
import { containersDirectory, nameOwner, namePath, readRecord } from './record.ts';
import { isOver } from './state.ts';

const REAPER_WAIT_MS = 1000;
const CREATION_MS = 10_000;
const PATTERN = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** Throws `BAD_NAME`. */
export function checkName(name: string): void {
  if (PATTERN.test(name) && name.length <= 200) return;
  throw new ImagoError('BAD_NAME', `Invalid container name (${name})`, {
    want: '2 to 200 of a-z, A-Z, 0-9, "_", "." and "-", the first a letter or digit',
    exitCode: 125,
  });
}

/**
 * Takes a name for a container. A name of a container that is gone, or over and to be removed, is free.
 * Throws `NAME_IN_USE`.
 */
export function reserveName(store: Store, name: string, id: string): void {
  if (createNameFile(store, name, id)) return;
  // What cleans up after `--rm` may still be at it: the name comes free in a moment, or nobody is cleaning.
  for (let waited = 0; isStale(store, name) && waited < REAPER_WAIT_MS; waited += 5) {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    if (createNameFile(store, name, id)) return;
  }
  using _lock = lockNames(store);
  if (isStale(store, name)) releaseName(store, name);
  if (createNameFile(store, name, id)) return;
  throw new ImagoError('NAME_IN_USE', `Conflict. The container name "${name}" is already in use`, {
    got: `container ${nameOwner(store, name)?.slice(0, 12) ?? 'unknown'}`,
    remedy: `remove it with 'imago rm ${name}', or choose another name`,
    exitCode: 125,
  });
}

/** Whether the name's container is over and to be removed, or was never made. */
function isStale(store: Store, name: string): boolean {
  const owner = nameOwner(store, name);
  if (owner === undefined) return false;
  const record = readRecord(store, owner);
  if (record !== undefined) return record.autoRemove && isOver(store, record);
  // The name is taken before the record is written.
  const stat = statSync(namePath(store, name), { throwIfNoEntry: false });
  return stat !== undefined && Date.now() - stat.mtimeMs > CREATION_MS;
}

function lockNames(store: Store): FileLock {
  return lockFile(join(containersDirectory(store), '.names.lock'), 'exclusive');
}

/** A free name of an adjective and a scientist, taken. */
export function reserveRandomName(store: Store, id: string): string {
  // The ID is random already: no second source is needed.
  let seed = Number.parseInt(id.slice(0, 12), 16);
  for (let attempt = 0; ; attempt++) {
    const adjective = ADJECTIVES[seed % ADJECTIVES.length]!;
    const surname = SURNAMES[Math.floor(seed / ADJECTIVES.length) % SURNAMES.length]!;
    const name = `${adjective}_${surname}${attempt < 4 ? '' : attempt}`;
    if (createNameFile(store, name, id)) return name;
    seed = Math.floor(seed / 7) + 1;
  }
}

function releaseName(store: Store, name: string): void {
  try {
    unlinkSync(namePath(store, name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** Frees the names that killed commands took for containers that never came to be. */
export function collectNames(store: Store): void {
  let names: string[];
  try {
    names = readdirSync(join(containersDirectory(store), '.names'));
  } catch {
    return;
  }
  for (const name of names) {
    const owner = nameOwner(store, name);
    if (owner === undefined || existsSync(join(containersDirectory(store), owner, 'container.json'))) continue;
    if (isStale(store, name)) releaseNameOf(store, { name, id: owner });
  }
}

/** Releases whatever names a container has. */
export function releaseNamesOf(store: Store, id: string): void {
  for (const name of readdirSync(join(containersDirectory(store), '.names'))) releaseNameOf(store, { name, id });
}

/** Releases the name if it is still this container's. */
export function releaseNameOf(store: Store, record: { name: string; id: string }): void {
  using _lock = lockNames(store);
  if (nameOwner(store, record.name) === record.id) releaseName(store, record.name);
}

function createNameFile(store: Store, name: string, id: string): boolean {
  const path = namePath(store, name);
  for (;;) {
    try {
      writeFileSync(path, id, { flag: 'wx', mode: 0o600 });
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST') return false;
      if (code !== 'ENOENT') throw error;
      mkdirSync(join(path, '..'), { recursive: true, mode: 0o700 });
    }
  }
}
