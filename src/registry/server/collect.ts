import type { Digest } from '../../core/digest.ts';
import { isImagoError } from '../../core/errors.ts';
import type { RegistryStorage, UploadStat, Version } from '../storage/storage.ts';
import { CollectorLease } from './collect-lease.ts';
import { type ListedKey, listRepositoryKeys, type Marks, markManifests } from './collect-mark.ts';
import { type RemoveOptions, removeUntagged } from './collect-untagged.ts';
import { type CacheBounds, removeUnused } from './collect-unused.ts';
import { deleteVersion, encodeDocument } from './documents.ts';
import { CONDEMNED_PREFIX, condemnedKey, manifestKey, parseKey } from './keys.ts';
import { mapBounded } from './parallel.ts';

export interface CollectOptions {
  storage: RegistryStorage;
  /** A blob or untagged manifest stays while it, or the youngest link to it, is younger. Default: a day. */
  graceMs?: number;
  /** An upload that nothing was appended to for so long is discarded. Default: a week. */
  uploadMaxAgeMs?: number;
  /** Removes manifests that no tag reaches, too. */
  removeUntagged?: boolean;
  /** Of a pull-through cache: removes manifests that nobody pulled for long, and what does not fit. */
  cache?: CacheBounds | undefined;
  /** Tells what would go, and changes nothing. */
  dryRun?: boolean;
  onEvent?: (event: CollectEvent) => void;
  signal?: AbortSignal;
}

export type CollectEvent =
  | { kind: 'manifest'; repository: string; digest: Digest }
  | { kind: 'blob'; digest: Digest; bytes: number }
  | { kind: 'link'; key: string }
  | { kind: 'upload'; id: string; repository: string; bytes: number }
  /** It was to go, and is needed now. */
  | { kind: 'pardoned'; digest: Digest };

export interface CollectOutcome {
  /** Another collector is at work: nothing was done. */
  busy: boolean;
  /** Manifests of all repositories that stay. */
  manifests: number;
  removedManifests: number;
  removedBlobs: number;
  removedBytes: number;
  /** Links to blobs that are not there. */
  removedLinks: number;
  discardedUploads: number;
  /** Of uploads, and of what killed processes left. */
  discardedBytes: number;
  milliseconds: number;
}

const DAY = 24 * 60 * 60_000;
/** What a process is just writing looks like what a killed one left. */
const SWEEP_MS = DAY;

/**
 * Removes blobs that no manifest needs, while the registry serves, at any replica. What keeps it from taking a blob that a
 * push relies on, with no lock between the two:
 *
 * 1. A blob is condemned by a record with its version, written before the manifests are listed for the second time.
 * 2. A push writes its manifest, and reads the condemned records after that. So one of both sees the other: here the blob
 *    is pardoned, or there the push waits, and fails where the blob was removed. To a client that asks, a condemned blob
 *    does not exist: it uploads it, which makes a new version.
 * 3. Only the condemned version is removed.
 *
 * Only one collector runs at a time (a lease in the storage); what a killed one had condemned is judged anew by the next.
 */
export async function collectGarbage(options: CollectOptions): Promise<CollectOutcome> {
  const started = performance.now();
  const collection = new Collection(options);
  if (options.dryRun === true) await collection.run(undefined);
  else {
    await using lease = await CollectorLease.take(options.storage);
    if (lease === undefined) collection.outcome.busy = true;
    else await collection.run(lease);
  }
  collection.outcome.milliseconds = Math.round(performance.now() - started);
  return collection.outcome;
}

/** A blob, or links to one, that no manifest needed when the manifests were listed first. */
interface Candidate {
  digest: Digest;
  /** Undefined where there are only links. */
  blob: { version: Version; size: number } | undefined;
  links: { key: string; version: Version }[];
}

class Collection {
  readonly outcome: CollectOutcome = {
    busy: false,
    manifests: 0,
    removedManifests: 0,
    removedBlobs: 0,
    removedBytes: 0,
    removedLinks: 0,
    discardedUploads: 0,
    discardedBytes: 0,
    milliseconds: 0,
  };
  readonly #options: CollectOptions;
  readonly #storage: RegistryStorage;
  readonly #dryRun: boolean;
  readonly #graceMs: number;
  #lease: CollectorLease | undefined;
  /** Keys of manifests that a dry run only says to have removed. */
  readonly #gone = new Set<string>();

  constructor(options: CollectOptions) {
    this.#options = options;
    this.#storage = options.storage;
    this.#dryRun = options.dryRun === true;
    this.#graceMs = options.graceMs ?? DAY;
  }

  async run(lease: CollectorLease | undefined): Promise<void> {
    this.#lease = lease;
    await this.#discardUploads();
    await this.#removeManifests();
    const marks: Marks = { needed: new Set(), read: new Set(), manifests: 0 };
    const links = await this.#mark(marks);
    const candidates = await this.#condemn(marks, links);
    marks.manifests = 0;
    await this.#judge(marks, candidates);
    this.outcome.manifests = marks.manifests;
    await this.#sweep();
  }

  /** Lists what is needed, and for the digests that are linked when that was last. */
  async #mark(marks: Marks): Promise<Map<Digest, number>> {
    const youngest = new Map<Digest, number>();
    for await (const keys of this.#repositoryKeys()) {
      await this.#guard();
      await markManifests(this.#storage, keys, marks);
      for (const { parsed, modified } of keys) {
        if (parsed.kind !== 'blob') continue;
        youngest.set(parsed.digest, Math.max(youngest.get(parsed.digest) ?? 0, modified));
      }
    }
    return youngest;
  }

  /** Writes a record for each blob that nothing needs, and takes back those of dead collectors that do not apply. */
  async #condemn(marks: Marks, links: Map<Digest, number>): Promise<Map<Digest, Candidate>> {
    const oldest = Date.now() - this.#graceMs;
    const candidates = new Map<Digest, Candidate>();
    const isOld = (digest: Digest): boolean => !marks.needed.has(digest) && (links.get(digest) ?? 0) <= oldest;
    for await (const digests of this.#blobs()) {
      await mapBounded(digests.filter(isOld), async (digest) => {
        const stat = await this.#storage.statBlob(digest);
        if (stat === undefined || stat.modified > oldest) return;
        await this.#guard();
        if (!this.#dryRun) {
          await this.#storage.writeDocument(condemnedKey(digest), encodeDocument({ version: stat.version }));
        }
        candidates.set(digest, { digest, blob: { version: stat.version, size: stat.size }, links: [] });
      });
      for (const digest of digests) if (!candidates.has(digest)) links.delete(digest);
    }
    // Links that are left are of blobs that are not there.
    for (const digest of links.keys()) {
      if (isOld(digest) && !candidates.has(digest)) candidates.set(digest, { digest, blob: undefined, links: [] });
    }
    if (!this.#dryRun) await this.#pardonOthers(candidates);
    return candidates;
  }

  async #pardonOthers(candidates: Map<Digest, Candidate>): Promise<void> {
    for (let after: string | undefined; ; ) {
      const page = await this.#storage.listDocuments(CONDEMNED_PREFIX, after === undefined ? {} : { after });
      for (const { key } of page.keys) {
        const parsed = parseKey(key);
        if (parsed?.kind !== 'condemned' || candidates.get(parsed.digest)?.blob !== undefined) continue;
        await this.#guard();
        await this.#pardon(parsed.digest);
      }
      if (page.next === undefined) return;
      after = page.next;
    }
  }

  /** Lists again, and carries out what still holds. */
  async #judge(marks: Marks, candidates: Map<Digest, Candidate>): Promise<void> {
    for await (const keys of this.#repositoryKeys()) {
      await this.#guard();
      await markManifests(this.#storage, keys, marks);
      const linked = keys.filter(({ parsed }) => parsed.kind === 'blob' && candidates.has(parsed.digest));
      await mapBounded(linked, async ({ key, parsed }) => {
        const document = await this.#storage.readDocument(key);
        if (document === undefined || parsed.kind !== 'blob') return;
        candidates.get(parsed.digest)!.links.push({ key, version: document.version });
      });
    }
    await mapBounded([...candidates.values()], async (candidate) => {
      if (!marks.needed.has(candidate.digest)) await this.#remove(candidate);
      else if (candidate.blob !== undefined && !this.#dryRun) await this.#pardon(candidate.digest);
    });
  }

  async #remove({ digest, blob, links }: Candidate): Promise<void> {
    await this.#guard();
    if (blob !== undefined) {
      if (this.#dryRun || (await this.#storage.removeBlob(digest, blob.version))) {
        this.outcome.removedBlobs++;
        this.outcome.removedBytes += blob.size;
        this.#options.onEvent?.({ kind: 'blob', digest, bytes: blob.size });
      } else if ((await this.#storage.statBlob(digest)) !== undefined) return this.#pardon(digest);
    } else if ((await this.#storage.statBlob(digest)) !== undefined) return;
    for (const link of links) await this.#unlink(link);
    // Last: where it is gone, the blob was before.
    if (blob !== undefined && !this.#dryRun) await this.#storage.deleteDocument(condemnedKey(digest));
  }

  /** A link that was written since is that of a new upload. */
  async #unlink({ key, version }: Candidate['links'][number]): Promise<void> {
    if (!this.#dryRun && !(await deleteVersion(this.#storage, key, version))) return;
    this.outcome.removedLinks++;
    this.#options.onEvent?.({ kind: 'link', key });
  }

  async #pardon(digest: Digest): Promise<void> {
    await this.#storage.deleteDocument(condemnedKey(digest));
    this.#options.onEvent?.({ kind: 'pardoned', digest });
  }

  async #removeManifests(): Promise<void> {
    const options: RemoveOptions = {
      graceMs: this.#graceMs,
      dryRun: this.#dryRun,
      guard: () => this.#guard(),
      onRemove: (repository, digest) => {
        if (this.#dryRun) this.#gone.add(manifestKey(repository, digest));
        this.outcome.removedManifests++;
        this.#options.onEvent?.({ kind: 'manifest', repository, digest });
      },
    };
    const { removeUntagged: untagged = false, cache } = this.#options;
    if (untagged) await removeUntagged(this.#storage, options);
    if (cache !== undefined) await removeUnused(this.#storage, this.#repositoryKeys(), cache, options);
  }

  async #discardUploads(): Promise<void> {
    const oldest = Date.now() - (this.#options.uploadMaxAgeMs ?? 7 * DAY);
    for (let after: string | undefined; ; ) {
      const page = await this.#storage.listUploads(after === undefined ? {} : { after });
      for (const upload of page.uploads) if (upload.modified <= oldest) await this.#discard(upload);
      if (page.next === undefined) return;
      after = page.next;
    }
  }

  async #discard({ id, repository, size }: UploadStat): Promise<void> {
    await this.#guard();
    try {
      if (!this.#dryRun) await this.#storage.discardUpload(id);
    } catch (error) {
      // It is being published.
      if (isImagoError(error, 'UPLOAD_BUSY')) return;
      throw error;
    }
    this.outcome.discardedUploads++;
    this.outcome.discardedBytes += size;
    this.#options.onEvent?.({ kind: 'upload', id, repository, bytes: size });
  }

  async #sweep(): Promise<void> {
    await this.#guard();
    const { signal } = this.#options;
    const swept = await this.#storage.sweep({
      maxAgeMs: Math.max(SWEEP_MS, this.#options.uploadMaxAgeMs ?? 0),
      dryRun: this.#dryRun,
      ...(signal !== undefined && { signal }),
    });
    this.outcome.discardedBytes += swept.bytes;
  }

  async *#repositoryKeys(): AsyncGenerator<ListedKey[]> {
    for await (const keys of listRepositoryKeys(this.#storage)) yield keys.filter(({ key }) => !this.#gone.has(key));
  }

  async *#blobs(): AsyncGenerator<Digest[]> {
    for (let after: string | undefined; ; ) {
      const page = await this.#storage.listBlobs(after === undefined ? {} : { after });
      yield page.digests;
      if (page.next === undefined) return;
      after = page.next;
    }
  }

  async #guard(): Promise<void> {
    this.#options.signal?.throwIfAborted();
    await this.#lease?.renew();
  }
}
