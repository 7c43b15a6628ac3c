import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type ContainerRecord, containerPaths, listRecords } from '../container/record.ts';
import { containerState } from '../container/state.ts';
import type { Digest } from '../core/digest.ts';
import { listImages } from '../image/list.ts';
import { imageSizes, layerSize } from '../image/sizes.ts';
import { prune } from '../store/prune.ts';
import type { Store } from '../store/store.ts';
import { diskSize } from '../system/disk-size.ts';
import { type CacheEntry, listCacheEntries } from './build-cache-usage.ts';

/** One line of `system df`. Bytes. */
export interface UsageRow {
  total: number;
  active: number;
  size: number;
  reclaimable: number;
}

export interface DiskUsage {
  /** Sizes are those of layer tars, each counted once. */
  images: UsageRow & {
    /** What all the images would take, were nothing shared. */
    alone: number;
    /** Of `size`, what more than one image has. */
    shared: number;
  };
  /** Their writable layers and logs. */
  containers: UsageRow;
  volumes: UsageRow;
  /** What makes the next build faster, without the layers that images have. Bytes on disk. */
  cache: UsageRow;
  /** Bytes that killed processes left, and layers that nothing reaches. */
  garbage: number;
}

export interface ContainerUsage {
  record: ContainerRecord;
  status: string;
  size: number;
}

export interface VolumeUsage {
  name: string;
  /** Containers that use it. */
  links: number;
  size: number;
}

/** How much is stored, by kind, and how much of that nothing uses. Damaged images are left out. */
export async function readDiskUsage(store: Store): Promise<DiskUsage> {
  const containers = listContainerUsage(store);
  const volumes = listVolumeUsage(store);
  const images = imageUsage(store, new Set(containers.map(({ record }) => record.image.id)));
  const running = containers.filter(({ status }) => status === 'running');
  const used = volumes.filter(({ links }) => links > 0);
  const garbage = await prune(store, { dryRun: true, keepCache: true });
  return {
    images,
    containers: countRow(containers, running),
    volumes: countRow(volumes, used),
    cache: await cacheUsage(store),
    garbage: garbage.bytes,
  };
}

async function cacheUsage(store: Store): Promise<UsageRow> {
  const entries = await listCacheEntries(store);
  const used = entries.filter(({ inUse }) => inUse);
  const sum = (list: readonly CacheEntry[]): number => list.reduce((total, { own }) => total + own, 0);
  return { total: entries.length, active: used.length, size: sum(entries), reclaimable: sum(entries) - sum(used) };
}

export function listContainerUsage(store: Store): ContainerUsage[] {
  return listRecords(store).map((record) => ({
    record,
    status: containerState(store, record).status,
    size: diskSize(containerPaths(store, record).directory),
  }));
}

export function listVolumeUsage(store: Store): VolumeUsage[] {
  const links = new Map<string, number>();
  for (const { mounts } of listRecords(store)) {
    const names = new Set(mounts.map((mount) => (mount.type === 'volume' ? mount.name : undefined)));
    for (const name of names) if (name !== undefined) links.set(name, (links.get(name) ?? 0) + 1);
  }
  const directory = join(store.root, 'volumes');
  return readdirSync(directory).map((name) => ({
    name,
    links: links.get(name) ?? 0,
    size: diskSize(join(directory, name)),
  }));
}

function imageUsage(store: Store, inUse: ReadonlySet<Digest>): DiskUsage['images'] {
  const images = listImages(store, { allPlatforms: true, onDamaged: () => {} }).map(({ image }) => image);
  const active = images.filter(({ id }) => inUse.has(id));
  const sizes = [...imageSizes(store, images).values()];
  const size = sumLayers(
    store,
    images.flatMap(({ diffIds }) => diffIds),
  );
  const kept = sumLayers(
    store,
    active.flatMap(({ diffIds }) => diffIds),
  );
  const unique = sizes.reduce((sum, s) => sum + s.unique, 0);
  return {
    total: images.length,
    active: active.length,
    size,
    reclaimable: size - kept,
    alone: sizes.reduce((sum, s) => sum + s.size, 0),
    shared: size - unique,
  };
}

function sumLayers(store: Store, diffIds: Iterable<Digest>): number {
  let sum = 0;
  for (const diffId of new Set(diffIds)) sum += layerSize(store, diffId);
  return sum;
}

function countRow(all: readonly { size: number }[], active: readonly { size: number }[]): UsageRow {
  const size = all.reduce((sum, item) => sum + item.size, 0);
  const kept = active.reduce((sum, item) => sum + item.size, 0);
  return { total: all.length, active: active.length, size, reclaimable: size - kept };
}
