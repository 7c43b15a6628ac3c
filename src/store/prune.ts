import { readdirSync, renameSync } from 'node:fs';
import { lstat, readdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { readDocument } from './document.ts';
import { explainWriteError } from './errors.ts';
import { Ingest, listAbandoned } from './ingest.ts';
import { blobPath, chainDirectory, digestOfName, layerDirectory, quarantinePath, TREE_ASIDE } from './layout.ts';
import { digestsInFile, Reached, type Roots, readRoots } from './mark.ts';
import type { RefRecord } from './refs.ts';
import type { Store } from './store.ts';

/** What other rooms keep of layers outside of ROOT (mounts), and let go of when one leaves the store. */
export interface LayerHooks {
  dropLayer?(diffId: Digest): void;
  dropChain?(chainId: Digest): void;
}

export interface PruneOptions extends LayerHooks {
  /**
   * References to drop first: gets each, and whether a container uses what it names. Sees the store locked, so that
   * nobody can start to use it meanwhile.
   */
  untag?: (record: RefRecord, used: boolean) => boolean;
  /** Let the build cache keep what only it reaches. */
  keepCache?: boolean;
  /** Records of the build cache to drop first, by the names of their files. Sees the store locked. */
  dropRecord?: (name: string) => boolean;
  /** Tell, and change nothing. */
  dryRun?: boolean;
}

export interface PruneResult {
  references: string[];
  /** Layers without their tars are counted here too, under their DiffID. */
  blobs: Digest[];
  layers: Digest[];
  chains: Digest[];
  cacheRecords: number;
  /** Writes and leases of processes that were killed. */
  leftovers: number;
  /** Bytes of disk that became free. */
  bytes: number;
}

/** Everything to be taken away. */
interface Garbage {
  references: RefRecord[];
  blobs: Digest[];
  layers: Digest[];
  chains: Digest[];
  cache: string[];
  leftovers: string[];
  quarantined: string[];
}

/**
 * Takes away what neither a reference, a lease nor a container reaches, and what killed processes left. Others wait
 * only while it is marked and renamed; removing happens after. Safe at any time, with any number of others at work.
 */
export async function prune(store: Store, options: PruneOptions = {}): Promise<PruneResult> {
  return collect(store, options, (garbage) => garbage);
}

/**
 * The same, for what was reachable from these digests alone: what `rmi` does after it removed the reference.
 * Layers that the build cache knows stay, so that the next build has them; the rest of the garbage is `prune`'s.
 * The disk is free a moment after it returns.
 */
export async function removeUnreached(
  store: Store,
  digests: readonly Digest[],
  hooks: LayerHooks = {},
): Promise<PruneResult> {
  return collect(store, { ...hooks, keepCache: true, later: true }, (garbage) => {
    const wanted = new Reached(store.root);
    for (const digest of digests) wanted.add(digest);
    return {
      references: [],
      blobs: garbage.blobs.filter((d) => wanted.digests.has(d)),
      layers: garbage.layers.filter((d) => wanted.digests.has(d)),
      chains: garbage.chains.filter((c) => wanted.chains.has(c)),
      cache: [],
      leftovers: [],
      quarantined: [],
    };
  });
}

/**
 * Drops records of the build cache, and layers that nothing but them reached. Layers of running builds stay: a lease
 * holds them.
 */
export async function pruneRecords(
  store: Store,
  options: LayerHooks & Required<Pick<PruneOptions, 'dropRecord'>> & { dryRun?: boolean; later?: boolean },
): Promise<PruneResult> {
  return collect(store, { ...options, keepCache: true }, ({ layers, blobs, cache }) => {
    const dropped = new Set(cache.flatMap(digestsInFile));
    return {
      references: [],
      blobs: blobs.filter((d) => dropped.has(d)),
      layers: layers.filter((d) => dropped.has(d)),
      chains: [],
      cache: cache.filter((path) => options.dropRecord(basename(path))),
      leftovers: [],
      quarantined: [],
    };
  });
}

async function collect(
  store: Store,
  options: PruneOptions & { later?: boolean },
  pick: (all: Garbage) => Garbage,
): Promise<PruneResult> {
  try {
    // Made before the exclusive lock is taken: making it takes the shared one.
    using trash = options.dryRun ? undefined : createTrash(store);
    let garbage: Garbage;
    let bytes = 0;
    {
      using _lock = store.lock('exclusive');
      garbage = pick(findGarbage(store, options));
      if (trash !== undefined) renameAway(store, garbage, trash);
      else if (!options.dryRun) bytes = await removeAtOnce(store, garbage);
    }
    for (const diffId of garbage.layers) options.dropLayer?.(diffId);
    for (const chainId of garbage.chains) options.dropChain?.(chainId);
    if (options.dryRun) bytes = await sumOf(pathsOf(store.root, garbage));
    else if (trash !== undefined) {
      bytes = await sumOf((await readdir(trash.directory)).map((name) => trash.path(name)));
      if (options.later) trash.discardLater();
      else await rm(trash.directory, { recursive: true, force: true });
    }
    return {
      references: garbage.references.map((r) => r.reference),
      blobs: garbage.blobs,
      layers: garbage.layers,
      chains: garbage.chains,
      cacheRecords: garbage.cache.length,
      leftovers: garbage.leftovers.length,
      bytes,
    };
  } catch (error) {
    throw explainWriteError(error, store.root);
  }
}

function findGarbage(store: Store, options: PruneOptions): Garbage {
  const { root } = store;
  const roots = readRoots(root);
  const used = new Reached(root);
  for (const digest of roots.contained) used.add(digest);
  const references = roots.references.filter((r) => options.untag?.(r, used.digests.has(r.descriptor.digest)));
  const reached = reachFromRoots(store, roots, new Set(references));
  const cache = listFiles(join(root, 'cache')).map((path) => {
    const dropped = options.dropRecord?.(basename(path)) ?? false;
    return { path, dropped, digests: digestsInFile(path) };
  });
  const kept = options.keepCache ? cache.filter(({ dropped }) => !dropped) : [];
  for (const { digests } of kept) for (const digest of digests) reached.add(digest);

  const blobs = listDigests(root, 'blobs/sha256', 'blobs/sha512').filter((d) => !reached.digests.has(d));
  const layers = listDigests(root, 'layers').filter((d) => !reached.digests.has(d));
  const gone = new Set([...blobs, ...layers]);
  return {
    references,
    blobs,
    layers,
    chains: listDigests(root, 'chains').filter((c) => !reached.chains.has(c) && !reached.digests.has(c)),
    cache: cache.filter(({ dropped, digests }) => dropped || digests.some((d) => gone.has(d))).map(({ path }) => path),
    leftovers: [...roots.deadLeases, ...listAbandoned(root)],
    quarantined: [
      ...[...new Set(listDigests(root, 'quarantine'))]
        // Nothing asks for it any more, or it came again.
        .filter((d) => !reached.digests.has(d) || store.hasBlob(d))
        .flatMap((d) => [quarantinePath(root, d), `${quarantinePath(root, d)}.json`]),
      ...listTreesAside(root, used),
    ],
  };
}

/** Unpacked layers that were set aside and that no container may run on any more. */
function listTreesAside(root: string, used: Reached): string[] {
  return readdirSync(join(root, 'quarantine')).flatMap((name) => {
    const digest = digestOfName(name.split('.')[0]!);
    const isTree = name.includes(TREE_ASIDE) && digest !== undefined && !used.digests.has(digest);
    return isTree ? [join(root, 'quarantine', name)] : [];
  });
}

function reachFromRoots(store: Store, roots: Roots, dropped: ReadonlySet<RefRecord>): Reached {
  const reached = new Reached(store.root);
  for (const digest of roots.leased) reached.add(digest);
  for (const digest of roots.contained) reached.add(digest);
  for (const record of roots.references) if (!dropped.has(record)) reached.add(record.descriptor.digest);
  return reached;
}

function listDigests(root: string, ...directories: string[]): Digest[] {
  const out: Digest[] = [];
  for (const directory of directories) {
    for (const name of readdirSync(join(root, directory))) {
      const digest = digestOfName(name.replace('.json', ''));
      if (digest !== undefined) out.push(digest);
    }
  }
  return out;
}

function listFiles(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(directory, entry.name));
}

function pathsOf(root: string, garbage: Garbage): string[] {
  // Whoever names comes before what is named: killed in between, no record names what is missing.
  const documents = garbage.blobs.filter((d) => (readDocument(root, d)?.kind ?? 'other') !== 'other');
  const first = new Set(documents);
  return [
    ...garbage.cache,
    ...documents.map((d) => blobPath(root, d)),
    ...garbage.chains.map((c) => chainDirectory(root, c)),
    ...garbage.layers.map((d) => layerDirectory(root, d)),
    ...garbage.blobs.filter((d) => !first.has(d)).map((d) => blobPath(root, d)),
    ...garbage.leftovers,
    ...garbage.quarantined,
  ];
}

/** Undefined where the disk is too full even for a directory. */
function createTrash(store: Store): Ingest | undefined {
  try {
    return Ingest.create(store, 'trash');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOSPC' || code === 'EDQUOT') return undefined;
    throw error;
  }
}

/** Where there is no room to rename to: while it is locked. */
async function removeAtOnce(store: Store, garbage: Garbage): Promise<number> {
  for (const { reference } of garbage.references) store.deleteRef(reference);
  let bytes = 0;
  for (const path of pathsOf(store.root, garbage)) {
    bytes += await sumOf([path]);
    await rm(path, { recursive: true, force: true });
  }
  return bytes;
}

/** Not synced: what a crash brings back is garbage still. */
function renameAway(store: Store, garbage: Garbage, trash: Ingest): void {
  for (const { reference } of garbage.references) store.deleteRef(reference);
  let count = 0;
  for (const path of pathsOf(store.root, garbage)) {
    try {
      renameSync(path, trash.path(String(count++)));
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      // An abandoned write may be cleaned up by its owner's last breath.
      if (code === 'ENOENT') continue;
      // A mount point cannot be renamed; its mount belongs to somebody who died, and it goes another time.
      if (code !== 'EBUSY') throw error;
    }
  }
}

/** Bytes on disk below a path. */
async function sumOf(paths: string[]): Promise<number> {
  let sum = 0;
  for (const path of paths) {
    const stat = await lstat(path).catch(() => undefined);
    if (stat === undefined) continue;
    // A file with other names stays on the disk under those.
    if (stat.isDirectory() || stat.nlink === 1) sum += stat.blocks * 512;
    if (stat.isDirectory()) sum += await sumOf((await readdir(path)).map((name) => join(path, name)));
  }
  return sum;
}
