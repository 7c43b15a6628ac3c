import { existsSync, mkdirSync, readdirSync, rmSync, statfsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isSweepDue, KEPT_DAYS, sweepMarker } from '../build/cache.ts';
import { removeCacheMount } from '../build/mounts/cache.ts';
import { releaseHooks } from '../snapshot/release.ts';
import { pruneRecords } from '../store/prune.ts';
import type { Store } from '../store/store.ts';
import { parseCacheFilters } from './build-cache-filter.ts';
import { type CacheEntry, listCacheEntries } from './build-cache-usage.ts';

export interface PruneCacheOptions {
  /** Also what images share, and the notes that save work. */
  all?: boolean;
  /** As `--filter` has them: see `parseCacheFilters`. */
  filters?: readonly string[];
  /** Bytes. With any of these, only as much goes as they ask for, what was used longest ago first. */
  reservedSpace?: number;
  maxUsedSpace?: number;
  minFreeSpace?: number;
}

export interface PruneCacheResult {
  /** What went. */
  entries: CacheEntry[];
  /** Of disk. */
  bytes: number;
}

/**
 * Takes results of steps away with the layers that nothing else needs, and cache mounts. Safe beside running builds:
 * what they hold stays, and what they used meanwhile. Throws `BAD_FILTER`.
 */
export async function pruneCache(store: Store, options: PruneCacheOptions = {}): Promise<PruneCacheResult> {
  const filter = parseCacheFilters(options.filters ?? []);
  const all = await listCacheEntries(store);
  const candidates = all.filter(
    (entry) => !entry.inUse && (options.all === true || (entry.type !== 'internal' && !entry.shared)) && filter(entry),
  );
  return removeEntries(store, limitEntries(store, all, candidates, options));
}

/** The oldest, until what is left is as small as asked. BuildKit's rule (cache/manager.go, calculateKeepBytes). */
function limitEntries(
  store: Store,
  all: readonly CacheEntry[],
  candidates: CacheEntry[],
  { reservedSpace = 0, maxUsedSpace = 0, minFreeSpace = 0 }: PruneCacheOptions,
): CacheEntry[] {
  if (reservedSpace === 0 && maxUsedSpace === 0 && minFreeSpace === 0) return candidates;
  let used = all.reduce((sum, { own }) => sum + own, 0);
  let keep = maxUsedSpace === 0 ? Number.POSITIVE_INFINITY : maxUsedSpace;
  if (minFreeSpace > 0) {
    const { bavail, bsize } = statfsSync(store.root);
    const missing = minFreeSpace - bavail * bsize;
    if (missing > 0) keep = Math.min(keep, used - missing);
  } else if (maxUsedSpace === 0) keep = reservedSpace;
  keep = Math.max(keep, reservedSpace);
  const out: CacheEntry[] = [];
  for (const entry of candidates) {
    if (used <= keep) break;
    out.push(entry);
    used -= entry.own;
  }
  return out;
}

async function removeEntries(store: Store, entries: readonly CacheEntry[]): Promise<PruneCacheResult> {
  const gone: CacheEntry[] = [];
  let bytes = 0;
  const records = new Map(entries.filter(({ type }) => type === 'regular').map((entry) => [entry.name, entry]));
  if (records.size > 0) {
    const dropped = new Set<CacheEntry>();
    const dropRecord = (name: string): boolean => {
      const entry = records.get(name);
      // Used since we looked: it stays.
      if (entry === undefined || lastUse(store, name) !== entry.lastUsed) return false;
      dropped.add(entry);
      return true;
    };
    bytes += (await pruneRecords(store, { dropRecord, ...releaseHooks(store) })).bytes;
    gone.push(...entries.filter((entry) => dropped.has(entry)));
  }
  for (const entry of entries) {
    if (entry.type === 'regular' || !removeOther(store, entry)) continue;
    gone.push(entry);
    bytes += entry.own;
  }
  return { entries: gone, bytes };
}

function removeOther(store: Store, { type, name }: CacheEntry): boolean {
  if (type === 'exec.cachemount') return removeCacheMount(store, name);
  // A build that writes into it meanwhile makes it again, or does without.
  rmSync(join(store.root, 'cache', name), { recursive: true, force: true });
  return true;
}

function lastUse(store: Store, name: string): number | undefined {
  return statSync(join(store.root, 'cache', name), { throwIfNoEntry: false })?.mtimeMs;
}

/**
 * What a build does for order, once a day: results that none used for 30 days go, with the layers that only they
 * needed, and so do cache mounts. The build does not wait for the disk, and does not fail where this does.
 */
export async function sweepRecords(store: Store, now: number = Date.now()): Promise<void> {
  if (!isSweepDue(store, now)) return;
  const marker = sweepMarker(store);
  try {
    mkdirSync(join(marker, '..'), { recursive: true });
    writeFileSync(marker, '');
    const isOld = (lastUsed: number | undefined): boolean =>
      lastUsed !== undefined && now - lastUsed > KEPT_DAYS * 24 * 3600 * 1000;
    if (readdirSync(join(store.root, 'cache')).some((name) => name.endsWith('.json') && isOld(lastUse(store, name)))) {
      const dropRecord = (name: string): boolean => name.endsWith('.json') && isOld(lastUse(store, name));
      await pruneRecords(store, { dropRecord, later: true, ...releaseHooks(store) });
    }
    const mounts = join(store.root, 'cache', 'mounts');
    for (const name of existsSync(mounts) ? readdirSync(mounts) : []) {
      if (isOld(lastUse(store, join('mounts', name, 'mount.json')))) removeCacheMount(store, name);
    }
  } catch {
    // A full disk, say, or another build sweeps: the next day will do.
  }
}
