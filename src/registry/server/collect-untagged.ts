import type { Digest } from '../../core/digest.ts';
import type { RegistryStorage } from '../storage/storage.ts';
import { type ListedKey, listRepositoryKeys, readChildren } from './collect-mark.ts';
import { decodeDocument, deleteVersion, type ManifestLink, type TagRecord } from './documents.ts';
import { manifestKey, referrerKey } from './keys.ts';

/** The manifests of one repository, and what keeps them. */
interface Listing {
  repository: string;
  manifests: Map<Digest, { modified: number }>;
  tagged: Digest[];
  /** By subject. */
  referrers: Map<Digest, Digest[]>;
}

export interface RemoveOptions {
  /** What is younger stays. */
  graceMs: number;
  dryRun: boolean;
  /** Called before each removal. */
  guard: () => Promise<void>;
  onRemove: (repository: string, digest: Digest) => void;
}

/**
 * Removes manifests that no tag of their repository reaches: not by itself, by an index, or as a referrer of one that is
 * reached. Younger ones than the grace period stay, with all that they reach; so the period must be longer than the time
 * from a manifest's push to that of its tag or index.
 */
export async function removeUntagged(storage: RegistryStorage, options: RemoveOptions): Promise<void> {
  for await (const listing of listRepositories(storage)) {
    const oldest = Date.now() - options.graceMs;
    const kept = await reach(storage, listing, oldest);
    for (const digest of listing.manifests.keys()) {
      if (kept.has(digest)) continue;
      await options.guard();
      if (options.dryRun || (await removeLink(storage, listing.repository, digest, oldest))) {
        options.onRemove(listing.repository, digest);
      }
    }
  }
}

async function* listRepositories(storage: RegistryStorage): AsyncGenerator<Listing> {
  let listing: Listing | undefined;
  for await (const page of listRepositoryKeys(storage)) {
    for (const entry of page) {
      if (entry.parsed.kind === 'condemned') continue;
      const { repository } = entry.parsed;
      // All keys of a repository begin with NAME/_, and no other's do: they come in one run.
      if (listing !== undefined && listing.repository !== repository) {
        yield listing;
        listing = undefined;
      }
      listing ??= { repository, manifests: new Map(), tagged: [], referrers: new Map() };
      await addKey(storage, listing, entry);
    }
  }
  if (listing !== undefined) yield listing;
}

async function addKey(storage: RegistryStorage, listing: Listing, { key, modified, parsed }: ListedKey): Promise<void> {
  if (parsed.kind === 'manifest') listing.manifests.set(parsed.digest, { modified });
  else if (parsed.kind === 'referrer') {
    listing.referrers.set(parsed.subject, [...(listing.referrers.get(parsed.subject) ?? []), parsed.digest]);
  } else if (parsed.kind === 'tag') {
    const document = await storage.readDocument(key);
    if (document !== undefined) listing.tagged.push(decodeDocument<TagRecord>(document).digest);
  }
}

/** What tags and young manifests reach. */
async function reach(storage: RegistryStorage, listing: Listing, oldest: number): Promise<Set<Digest>> {
  const young = [...listing.manifests].filter(([, { modified }]) => modified > oldest).map(([digest]) => digest);
  const kept = new Set<Digest>();
  const next = [...listing.tagged, ...young];
  for (let digest = next.pop(); digest !== undefined; digest = next.pop()) {
    if (kept.has(digest)) continue;
    kept.add(digest);
    next.push(...(listing.referrers.get(digest) ?? []));
    if (listing.manifests.has(digest)) next.push(...(await readChildren(storage, digest)));
  }
  return kept;
}

/** Takes a manifest out of its repository. False where it is younger than that: pushed or pulled again meanwhile. */
export async function removeLink(
  storage: RegistryStorage,
  repository: string,
  digest: Digest,
  oldest: number,
): Promise<boolean> {
  const key = manifestKey(repository, digest);
  const document = await storage.readDocument(key);
  if (document === undefined || document.modified > oldest) return false;
  const { subject } = decodeDocument<ManifestLink>(document);
  const entry = subject === undefined ? undefined : referrerKey(repository, subject, digest);
  const referrer = entry === undefined ? undefined : await storage.readDocument(entry);
  if (!(await deleteVersion(storage, key, document.version))) return false;
  if (referrer !== undefined) await deleteVersion(storage, entry!, referrer.version);
  return true;
}
