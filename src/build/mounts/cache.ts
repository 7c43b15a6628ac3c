import { hash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ImagoError } from '../../core/errors.ts';
import { Ingest } from '../../store/ingest.ts';
import type { Store } from '../../store/store.ts';
import { diskSize } from '../../system/disk-size.ts';
import { type FileLock, tryLockIfThere } from '../../system/lock.ts';
import type { CacheMount } from './mounts.ts';

/**
 * Directories of `RUN --mount=type=cache`: ROOT/cache/mounts/<key>-<number>/ has `data/`, which is what is mounted, and
 * mount.json. A step that uses one holds a flock on it, shared or exclusive by its `sharing`; several with one key are
 * there where steps did not want to share. The key is the ID with all that a new one starts with.
 */
export interface HeldCache {
  /** Of `data`, which is not there yet where it starts with `initial`. */
  path: string;
  lock: FileLock;
}

/** Milliseconds between two looks at a cache that another step holds. */
const PATIENCE = 100;

/**
 * Finds or makes the directory of a cache mount and locks it; the caller releases the lock when the step is done.
 * `locked` waits for others. Throws `ABORTED`.
 */
export async function holdCache(store: Store, mount: CacheMount, signal?: AbortSignal): Promise<HeldCache> {
  const key = keyOf(mount);
  const directory = join(store.root, 'cache', 'mounts');
  mkdirSync(directory, { recursive: true });
  for (;;) {
    const found = lockFirst(directory, key, mount);
    if (found !== 'busy') return found;
    await delay(PATIENCE, undefined, { signal }).catch(() => {
      throw new ImagoError('ABORTED', 'the step was stopped', { cause: signal?.reason });
    });
  }
}

/** Steps take several caches in this order, so that no two wait for each other. */
export function keyOf({ id, initial, owner }: CacheMount): string {
  const { uid = null, gid = null, mode = null } = owner;
  const from = initial === undefined ? null : [initial.diffIds, initial.source];
  return hash('sha256', JSON.stringify([id, from, uid, gid, mode]), 'hex').slice(0, 40);
}

function lockFirst(directory: string, key: string, mount: CacheMount): HeldCache | 'busy' {
  const kind = mount.sharing === 'shared' ? 'shared' : 'exclusive';
  for (let number = 0; ; number++) {
    const place = join(directory, `${key}-${number}`);
    const fresh = !existsSync(place);
    if (fresh && number > 0 && mount.sharing === 'locked') return 'busy';
    if (fresh) mkdirSync(place, { recursive: true, mode: 0o700 });
    const lock = tryLockIfThere(place, kind);
    if (lock === 'held') continue;
    // Removed meanwhile: made anew.
    if (lock === 'gone' || !isSame(lock, place)) {
      if (lock !== 'gone') lock.release();
      number--;
      continue;
    }
    complete(place, mount);
    return { path: join(place, 'data'), lock };
  }
}

/** Makes what is not there yet, or not any more; another step with a shared lock may do the same. */
function complete(place: string, { id, initial, owner }: CacheMount): void {
  // Its time is that of the last use.
  writeFileSync(join(place, 'mount.json'), `${JSON.stringify({ id })}\n`);
  if (initial !== undefined || existsSync(join(place, 'data'))) return;
  const made = mkdtempSync(join(place, 'data-'));
  chownSync(made, owner.uid ?? 0, owner.gid ?? 0);
  chmodSync(made, owner.mode ?? 0o755);
  try {
    renameSync(made, join(place, 'data'));
  } catch (error) {
    rmSync(made, { recursive: true, force: true });
    if (!['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

function isSame(lock: FileLock, place: string): boolean {
  const there = statSync(place, { throwIfNoEntry: false });
  const held = fstatSync(lock.fd);
  return there?.ino === held.ino && there.dev === held.dev;
}

export interface CacheMountUsage {
  /** The name of its directory. */
  name: string;
  /** As the Dockerfile has it. */
  id: string;
  /** Bytes on disk. */
  size: number;
  /** Milliseconds since the epoch. */
  lastUsed: number;
  inUse: boolean;
}

/** The cache mounts of a store, the one that was used last at the end. */
export async function listCacheMounts(store: Store): Promise<CacheMountUsage[]> {
  const directory = join(store.root, 'cache', 'mounts');
  if (!existsSync(directory)) return [];
  const out: CacheMountUsage[] = [];
  for (const name of readdirSync(directory)) {
    const place = join(directory, name);
    const lock = tryLockIfThere(place, 'exclusive');
    if (lock === 'gone') continue;
    const inUse = lock === 'held';
    if (!inUse) lock.release();
    const lastUsed = statSync(join(place, 'mount.json'), { throwIfNoEntry: false })?.mtimeMs ?? 0;
    out.push({ name, id: readId(place), size: await diskSize(place), lastUsed, inUse });
  }
  return out.sort((a, b) => a.lastUsed - b.lastUsed);
}

/** Removes one that no step uses. False where one does, or it is gone. */
export function removeCacheMount(store: Store, name: string): boolean {
  const place = join(store.root, 'cache', 'mounts', name);
  const lock = tryLockIfThere(place, 'exclusive');
  if (lock === 'gone' || lock === 'held') return false;
  using _ = lock;
  if (!isSame(lock, place)) return false;
  using trash = Ingest.create(store, 'trash');
  renameSync(place, trash.path('0'));
  return true;
}

function readId(place: string): string {
  try {
    const { id } = JSON.parse(readFileSync(join(place, 'mount.json'), 'utf8')) as { id: unknown };
    return typeof id === 'string' ? id : '';
  } catch {
    return '';
  }
}
