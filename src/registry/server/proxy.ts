import type { Digest } from '../../core/digest.ts';
import { isImagoError } from '../../core/errors.ts';
import type { RegistryStorage } from '../storage/storage.ts';
import { WIRE_ERRORS } from '../wire/errors.ts';
import { isCollecting } from './collect-lease.ts';
import { USED_MS } from './collect-unused.ts';
import {
  decodeDocument,
  encodeDocument,
  type FoundManifest,
  type ManifestLink,
  type TagRecord,
  touchDocument,
} from './documents.ts';
import { WireFailure } from './failure.ts';
import { manifestKey, referrerKey, tagKey } from './keys.ts';
import type { Log } from './log.ts';
import { isSafe } from './manifest-store.ts';
import type { PullThrough } from './options.ts';
import { mapBounded } from './parallel.ts';
import { readManifestFacts } from './references.ts';
import { openRegistry, type Registry } from './registry.ts';
import { ensureRepository, linkBlob } from './repositories.ts';
import { Spool } from './spool.ts';
import type { Upstream } from './upstream.ts';

/** How long upstream may take where there is something to answer with, and where there is not. */
const PATIENCE_WITH_COPY_MS = 10_000;
const PATIENCE_MS = 60_000;
/** Upstream was not there: nobody asks again for so long, where a copy will do. */
const DEAD_MS = 10_000;
/** Codes that the client of `Upstream` throws where upstream answers, and says no. */
const REFUSALS: ReadonlySet<string> = new Set(['UNAUTHORIZED', 'DENIED']);
const MAX_DOWNLOADS = 100;

export interface ProxyOptions {
  storage: RegistryStorage;
  upstream: Upstream;
  log: Log;
  /** Milliseconds for which a tag is answered without asking upstream. */
  ttl: number;
  /** Where blobs go through on their way: a directory on a disk. */
  spool: string;
  /** Bytes; larger blobs are refused. */
  blobBytes: number;
}

/** A pull-through cache: what is not in the storage comes from upstream, is verified, and stays. */
export function createProxy(options: ProxyOptions): PullThrough {
  const cache = new Cache(options);
  return {
    findManifest: (repository, { tag, digest }) =>
      tag !== undefined ? cache.findTagged(repository, tag) : cache.findManifest(repository, digest),
    findBlob: (repository, digest) => cache.findBlob(repository, digest),
  };
}

class Cache {
  readonly #options: ProxyOptions;
  readonly #registry: Registry;
  readonly #refreshing = new Map<string, Promise<FoundManifest | undefined>>();
  readonly #downloads = new Map<string, Spool>();
  #deadUntil = 0;

  constructor(options: ProxyOptions) {
    this.#options = options;
    this.#registry = openRegistry({ storage: options.storage });
  }

  /** The tag as upstream has it, or had it within the TTL; the copy where upstream cannot be asked. */
  async findTagged(repository: string, tag: string): Promise<FoundManifest | undefined> {
    const { storage, ttl } = this.#options;
    const document = await storage.readDocument(tagKey(repository, tag));
    const copy = document && (await this.#findCopy(repository, decodeDocument<TagRecord>(document).digest));
    const now = Date.now();
    if (copy !== undefined && (now - document!.modified < ttl || now < this.#deadUntil)) return copy;
    return this.#once(`${repository}:${tag}`, async () => {
      try {
        return await this.#updateTag(repository, tag, copy);
      } catch (error) {
        this.#sayUnreachable(error, copy !== undefined, { repository, tag });
        return copy;
      }
    });
  }

  async findManifest(repository: string, digest: Digest): Promise<FoundManifest | undefined> {
    const copy = await this.#findCopy(repository, digest);
    if (copy !== undefined) return copy;
    return this.#once(`${repository}@${digest}`, async () => {
      try {
        return await this.#fetchManifest(repository, digest, PATIENCE_MS);
      } catch (error) {
        return this.#sayUnreachable(error, false, { repository, digest });
      }
    });
  }

  /** A manifest that is here; that it was asked for is written down, and then the collector leaves it. */
  async #findCopy(repository: string, digest: Digest): Promise<FoundManifest | undefined> {
    const { storage, log } = this.#options;
    const key = manifestKey(repository, digest);
    const document = await touchDocument(storage, key, USED_MS).catch((error) => {
      // A full disk: what is here is answered all the same.
      log.error('that a manifest was used is not written', error, { repository, digest });
      return storage.readDocument(key);
    });
    if (document === undefined || (await storage.statBlob(digest)) === undefined) return undefined;
    return { digest, ...decodeDocument<ManifestLink>(document) };
  }

  async findBlob(repository: string, digest: Digest): ReturnType<PullThrough['findBlob']> {
    const { storage, upstream, blobBytes } = this.#options;
    const running = this.#downloads.get(`${repository}@${digest}`);
    if (running !== undefined) return { size: running.size, open: async () => running.follow() };
    let size: number | undefined;
    try {
      size = await upstream.statBlob(repository, digest, { signal: AbortSignal.timeout(PATIENCE_MS) });
    } catch (error) {
      this.#sayUnreachable(error, false, { repository, digest });
    }
    if (size === undefined) return undefined;
    if (size > blobBytes) {
      throw new WireFailure(WIRE_ERRORS.denied, `the blob is larger than this registry takes: ${blobBytes} bytes`);
    }
    // Another repository brought it: upstream said that this one has it, too.
    const present = await storage.statBlob(digest);
    if (present?.size === size) {
      await linkBlob(this.#registry, repository, digest, size);
      return {
        size,
        open: async () => (await storage.openBlob(digest))?.stream ?? this.#download(repository, { digest, size }),
      };
    }
    return { size, open: async () => this.#download(repository, { digest, size }) };
  }

  /** Begins a download, or follows the one that is going on. It is finished and kept, whoever goes away. */
  #download(repository: string, blob: { digest: Digest; size: number }): AsyncIterable<Uint8Array> {
    const { upstream, spool: directory, log } = this.#options;
    const key = `${repository}@${blob.digest}`;
    const running = this.#downloads.get(key);
    if (running !== undefined) return running.follow();
    if (this.#downloads.size >= MAX_DOWNLOADS) {
      throw new WireFailure(WIRE_ERRORS.tooManyRequests, 'too many downloads from upstream', {
        headers: { 'Retry-After': '10' },
      });
    }
    const spool = new Spool(directory, blob);
    this.#downloads.set(key, spool);
    const reader = spool.follow();
    const kept = this.#keep(repository, spool, spool.follow());
    // A failed spool fails its readers: `kept` says it to the log.
    void spool.fill(upstream.readBlob(repository, blob));
    kept
      .catch((error) => log.error('a blob from upstream was not kept', error, { repository, digest: blob.digest }))
      .finally(() => {
        this.#downloads.delete(key);
        return spool.release();
      });
    return reader;
  }

  async #keep(repository: string, { digest, size }: Spool, source: AsyncIterableIterator<Uint8Array>): Promise<void> {
    const { storage } = this.#options;
    try {
      const { id } = await storage.createUpload(repository);
      try {
        // The source ends well only where the digest was right.
        await storage.appendUpload(id, 0, source);
        await storage.publishUpload(id, digest, size);
      } catch (error) {
        await storage.discardUpload(id).catch(() => {});
        throw error;
      }
      await linkBlob(this.#registry, repository, digest, size);
    } finally {
      await source.return?.();
    }
  }

  async #updateTag(
    repository: string,
    tag: string,
    copy: FoundManifest | undefined,
  ): Promise<FoundManifest | undefined> {
    const { storage, upstream } = this.#options;
    const patience = copy === undefined ? PATIENCE_MS : PATIENCE_WITH_COPY_MS;
    const digest = await upstream.headManifest(repository, tag, { signal: AbortSignal.timeout(patience) });
    if (digest === undefined) {
      await storage.deleteDocument(tagKey(repository, tag));
      return undefined;
    }
    const found =
      (await this.#findCopy(repository, digest)) ?? (await this.#fetchManifest(repository, digest, patience));
    if (found === undefined) return undefined;
    // Also where nothing changed: from when the document is counts the TTL.
    const { mediaType, size } = found;
    await storage.writeDocument(tagKey(repository, tag), encodeDocument({ mediaType, size, digest }));
    return found;
  }

  /** Fetches a manifest into the repository. */
  async #fetchManifest(repository: string, digest: Digest, patience: number): Promise<FoundManifest | undefined> {
    const { storage, upstream } = this.#options;
    const found = await upstream.getManifest(repository, digest, { signal: AbortSignal.timeout(patience) });
    if (found === undefined) return undefined;
    const size = found.bytes.length;
    const { mediaType, blobs, subject, artifactType, annotations } = readManifestFacts(found.bytes, found.mediaType);
    await storage.putBlob(digest, found.bytes);
    await ensureRepository(this.#registry, repository);
    if (subject !== undefined) {
      const referrer = {
        mediaType,
        digest,
        size,
        ...(artifactType && { artifactType }),
        ...(annotations && { annotations }),
      };
      await storage.writeDocument(referrerKey(repository, subject, digest), encodeDocument(referrer));
    }
    const link: ManifestLink = { mediaType, size, ...(subject && { subject }) };
    await storage.writeDocument(manifestKey(repository, digest), encodeDocument(link));
    // A collector may be about to remove what it needs: until then nobody begins to read it.
    if (await isCollecting(storage)) await mapBounded(blobs, (blob) => isSafe(this.#registry, blob));
    return { digest, ...link };
  }

  /** Says it to the log, and to the client where there is no copy to go on with. */
  #sayUnreachable(error: unknown, hasCopy: boolean, about: Record<string, string>): undefined {
    const { upstream, log } = this.#options;
    if (error instanceof WireFailure) throw error;
    log.error(hasCopy ? 'upstream cannot be asked: the copy is answered' : 'upstream cannot be asked', error, {
      upstream: upstream.title,
      ...about,
    });
    const refused = isImagoError(error) && REFUSALS.has(error.code);
    if (!refused) this.#deadUntil = Date.now() + DEAD_MS;
    if (hasCopy) return;
    if (refused) throw new WireFailure(WIRE_ERRORS.denied, `${upstream.title} does not let this registry pull that`);
    const reason = isImagoError(error) ? error.message : 'no answer';
    throw new WireFailure(WIRE_ERRORS.unavailable, `${upstream.title} cannot be asked: ${reason}`, {
      headers: { 'Retry-After': '10' },
      cause: error,
    });
  }

  #once(key: string, work: () => Promise<FoundManifest | undefined>): Promise<FoundManifest | undefined> {
    let running = this.#refreshing.get(key);
    if (running === undefined) {
      running = work().finally(() => this.#refreshing.delete(key));
      this.#refreshing.set(key, running);
    }
    return running;
  }
}
