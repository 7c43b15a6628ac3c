import { hash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { listCacheMounts } from '../build/mounts/cache.ts';
import type { Digest } from '../core/digest.ts';
import { digestsInFile, Reached, readRoots } from '../store/mark.ts';
import type { Store } from '../store/store.ts';
import { diskSize } from '../system/disk-size.ts';

/** As BuildKit calls them (client/diskusage.go): results of steps, cache mounts, and what is there to save work. */
export type CacheEntryType = 'regular' | 'exec.cachemount' | 'internal';

/** One thing that the build cache keeps. */
export interface CacheEntry {
  /** 25 hex digits. */
  id: string;
  type: CacheEntryType;
  /** Its file or directory. */
  name: string;
  /** Bytes on disk. A layer that several records have counts for the one that was used last. */
  size: number;
  /** Of these, what becomes free when the entry goes: not the layers that an image or a container has, too. */
  own: number;
  /** An image or a container has its layer. */
  shared: boolean;
  /** A command that runs now holds it. */
  inUse: boolean;
  mutable: boolean;
  /** Milliseconds since the epoch. */
  created: number;
  lastUsed: number;
  description: string;
}

/** Notes beside the records: digests of files and of inputs, and which steps were ever done. */
export const NOTES = ['seen', 'inputs', 'stat'] as const;

/** All that the build cache keeps, what was used longest ago first. */
export async function listCacheEntries(store: Store): Promise<CacheEntry[]> {
  const entries = [...listRecords(store), ...(await listMounts(store)), ...listNotes(store)];
  return entries.sort((a, b) => a.lastUsed - b.lastUsed || (a.id < b.id ? -1 : 1));
}

function listRecords(store: Store): CacheEntry[] {
  const { images, leased } = readReached(store);
  const directory = join(store.root, 'cache');
  const records = readdirSync(directory).flatMap((name) => {
    const path = join(directory, name);
    const stat = name.endsWith('.json') ? statSync(path, { throwIfNoEntry: false }) : undefined;
    return stat?.isFile() ? [{ name, path, stat, layers: digestsInFile(path) }] : [];
  });
  records.sort((a, b) => b.stat.mtimeMs - a.stat.mtimeMs || (a.name < b.name ? -1 : 1));
  const counted = new Set<Digest>();
  return records.map(({ name, path, stat, layers }) => {
    const file = stat.blocks * 512;
    const fresh = layers.filter((layer) => !counted.has(layer));
    for (const layer of fresh) counted.add(layer);
    const sizeOf = (list: readonly Digest[]): number => list.reduce((sum, layer) => sum + layerOnDisk(store, layer), 0);
    return {
      ...common('regular', name),
      size: file + sizeOf(fresh),
      own: file + sizeOf(fresh.filter((layer) => !images.has(layer))),
      shared: layers.some((layer) => images.has(layer)),
      inUse: layers.some((layer) => leased.has(layer)),
      created: readCreated(path) ?? stat.mtimeMs,
      lastUsed: stat.mtimeMs,
      description: layers.length === 0 ? 'a step that changed nothing' : `layer ${layers[0]}`,
    };
  });
}

function common(type: CacheEntryType, name: string): Pick<CacheEntry, 'id' | 'type' | 'name' | 'mutable'> {
  const id = hash('sha256', `${type} ${name}`, 'hex').slice(0, 25);
  return { id, type, name, mutable: type !== 'regular' };
}

/** What images and containers have, and what running commands hold. */
function readReached(store: Store): { images: ReadonlySet<Digest>; leased: ReadonlySet<Digest> } {
  using _lock = store.lock('exclusive');
  const roots = readRoots(store.root);
  const images = new Reached(store.root);
  for (const { descriptor } of roots.references) images.add(descriptor.digest);
  for (const digest of roots.contained) images.add(digest);
  return { images: images.digests, leased: new Set(roots.leased) };
}

function layerOnDisk(store: Store, diffId: Digest): number {
  return diskSize(store.blobPath(diffId)) + diskSize(store.layerDirectory(diffId));
}

function readCreated(path: string): number | undefined {
  try {
    const time = Date.parse((JSON.parse(readFileSync(path, 'utf8')) as { created: string }).created);
    return Number.isNaN(time) ? undefined : time;
  } catch {
    return undefined;
  }
}

async function listMounts(store: Store): Promise<CacheEntry[]> {
  return (await listCacheMounts(store)).map(({ name, id, size, lastUsed, inUse }) => ({
    ...common('exec.cachemount', name),
    size,
    own: size,
    shared: false,
    inUse,
    created: lastUsed,
    lastUsed,
    description: `cache mount ${id}`,
  }));
}

function listNotes(store: Store): CacheEntry[] {
  return NOTES.flatMap((name) => {
    const path = join(store.root, 'cache', name);
    const stat = statSync(path, { throwIfNoEntry: false });
    const size = stat === undefined ? 0 : diskSize(path);
    if (stat === undefined || size === 0) return [];
    const description = { seen: 'steps that were done', inputs: 'digests of inputs', stat: 'digests of files' }[name];
    const times = { created: stat.birthtimeMs, lastUsed: stat.mtimeMs };
    return [{ ...common('internal', name), size, own: size, shared: false, inUse: false, ...times, description }];
  });
}
