import { createHash } from 'node:crypto';
import { closeSync, fstatSync, mkdirSync, readFileSync, readSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { byteString } from '../../core/bytes.ts';
import { ImagoError, isImagoError } from '../../core/errors.ts';
import type { Time } from '../../core/time.ts';
import { explainWrites } from '../../store/errors.ts';
import { Ingest } from '../../store/ingest.ts';
import type { Store } from '../../store/store.ts';
import { writeAll } from '../../system/atomic.ts';
import { stepKey } from '../cache.ts';
import { plainFile } from '../context/plain-source.ts';
import type { FileReader, SourceNode } from '../context/source.ts';
import type { Selected } from '../copy/select.ts';
import { showRemote, UrlClient } from './http.ts';
import type { RemoteRights } from './secrets.ts';
import type { UrlSource } from './url.ts';

/** Of a file from the network, as BuildKit gives it. */
const MODE = 0o600;
const EPOCH: Time = { sec: 0, nsec: 0 };
/** A download that breaks begins anew so many times. */
const MAX_TRIES = 3;
/** RFC 9110 §8.8.2.2: older than this when it was sent, Last-Modified tells versions apart. */
const STRONG_MS = 60_000;

/** What an earlier build found behind a URL. */
interface Remembered {
  digest: string;
  mtime: number;
  etag?: string;
  lastModified?: string;
}

export interface RemoteContext extends RemoteRights {
  store: Store;
  noCache: boolean;
  signal?: AbortSignal;
}

/**
 * A file that ADD fetches. It is asked for once: where the server says that it is what it was, its bytes come only if
 * the cache has no layer of them. Close it: it keeps a file.
 */
export class RemoteFile implements Disposable {
  readonly #source: UrlSource;
  readonly #checksum: string | undefined;
  readonly #context: RemoteContext;
  readonly #client: UrlClient;
  #known: Pick<Remembered, 'digest' | 'mtime'> | undefined;
  #spool: { ingest: Ingest; fd: number } | undefined;

  constructor(source: UrlSource, checksum: string | undefined, context: RemoteContext) {
    this.#source = source;
    this.#checksum = checksum;
    this.#context = context;
    this.#client = new UrlClient({}, context.signal, context);
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
    this.#drop();
  }

  /** All that shapes the file in an image: for the cache. With a checksum nothing is asked of the network. */
  async identity(): Promise<string[]> {
    const { name } = this.#source;
    if (this.#checksum !== undefined) return ['url', name, this.#checksum];
    if (this.#known === undefined) await this.#ask();
    const { digest, mtime } = this.#known!;
    return ['url', name, `sha256:${digest}`, String(mtime)];
  }

  /** The file, fetched by now. Throws `DIGEST_MISMATCH`, and as `UrlClient.get`. */
  async select(): Promise<Selected> {
    if (this.#spool === undefined) await this.#fetch({});
    return { name: byteString(this.#source.name), node: spoolNode(this.#spool!.fd, this.#known!.mtime), below: [] };
  }

  async #ask(): Promise<void> {
    const old = this.#context.noCache ? undefined : this.#recall();
    const headers: Record<string, string> = {};
    if (old?.etag !== undefined) headers['If-None-Match'] = old.etag;
    else if (old?.lastModified !== undefined) headers['If-Modified-Since'] = old.lastModified;
    if ((await this.#fetch(headers, old)) === 'unchanged') this.#known = old;
  }

  /** `old`: what a 304, or the same ETag, stands for. */
  async #fetch(headers: Readonly<Record<string, string>>, old?: Remembered): Promise<'unchanged' | 'fetched'> {
    for (let tried = 1; ; tried++) {
      const response = await this.#client.get(this.#source.url, headers);
      const same = response.statusCode === 304 || (old?.etag !== undefined && response.headers.etag === old.etag);
      if (same && old !== undefined) {
        response.destroy();
        return 'unchanged';
      }
      try {
        const digest = await this.#receive(response);
        this.#known = { digest, mtime: timeOf(response) };
        this.#checkDigest(digest);
        this.#remember(response, this.#known);
        return 'fetched';
      } catch (error) {
        this.#drop();
        this.#context.signal?.throwIfAborted();
        if ((isImagoError(error) && error.code !== 'STALLED') || !isBroken(error)) throw error;
        if (tried >= MAX_TRIES) throw brokenDownload(this.#source.url, error);
      } finally {
        response.destroy();
      }
    }
  }

  /** Writes the body to a file of the store's, which nobody else sees, and gives its digest in hex. */
  async #receive(response: IncomingMessage): Promise<string> {
    const { store, signal } = this.#context;
    this.#drop();
    if (response.statusCode !== 200) throw new Error(`no body in an answer of ${response.statusCode}`);
    const ingest = Ingest.create(store, 'remote');
    this.#spool = { ingest, fd: ingest.openFile('body') };
    const { fd } = this.#spool;
    const hasher = createHash('sha256');
    const write = async (body: AsyncIterable<Uint8Array>): Promise<void> => {
      for await (const chunk of body) {
        hasher.update(chunk);
        explainWrites(store.root, () => writeAll(fd, chunk));
      }
    };
    const encoding = response.headers['content-encoding'] ?? 'identity';
    if (encoding === 'identity') await pipeline(response, write, { signal });
    else if (encoding === 'gzip') {
      // Not asked for, but sent: the file is what it was before.
      const { createGunzip } = await import('node:zlib');
      await pipeline(response, createGunzip(), write, { signal });
    } else {
      throw new ImagoError('BAD_ANSWER', `${showRemote(this.#source.url)}: the server packed the file on its way`, {
        want: 'no Content-Encoding',
        got: encoding.slice(0, 40),
      });
    }
    return hasher.digest('hex');
  }

  #checkDigest(digest: string): void {
    if (this.#checksum === undefined || this.#checksum === `sha256:${digest}`) return;
    throw wrongDigest(this.#source.url, this.#checksum, `sha256:${digest}`);
  }

  /** Beside the digests of inputs, and swept with them. */
  get #path(): string {
    return join(this.#context.store.root, 'cache', 'inputs', stepKey(['url', this.#source.url.href]));
  }

  #recall(): Remembered | undefined {
    try {
      const { digest, mtime, etag, lastModified } = JSON.parse(readFileSync(this.#path, 'utf8')) as Remembered;
      if (!/^[0-9a-f]{64}$/.test(digest) || !Number.isSafeInteger(mtime)) return undefined;
      if (!isHeader(etag) || !isHeader(lastModified)) return undefined;
      return { digest, mtime, etag, lastModified };
    } catch {
      return undefined;
    }
  }

  /** Best effort: without it the file is fetched again. */
  #remember({ headers }: IncomingMessage, { digest, mtime }: Pick<Remembered, 'digest' | 'mtime'>): void {
    const { etag, 'last-modified': modified, date } = headers;
    const strong = modified !== undefined && Date.parse(date ?? '') - Date.parse(modified) >= STRONG_MS;
    const record: Remembered = { digest, mtime, etag, ...(strong ? { lastModified: modified } : {}) };
    try {
      mkdirSync(join(this.#path, '..'), { recursive: true });
      if (etag === undefined && !strong) rmSync(this.#path, { force: true });
      else writeFileSync(this.#path, JSON.stringify(record), { mode: 0o600 });
    } catch {
      // A full disk, say.
    }
  }

  #drop(): void {
    if (this.#spool === undefined) return;
    closeSync(this.#spool.fd);
    this.#spool.ingest[Symbol.dispose]();
    this.#spool = undefined;
  }
}

export function wrongDigest(url: URL, want: string, got: string): ImagoError {
  return new ImagoError('DIGEST_MISMATCH', `digest mismatch for ${showRemote(url)}`, {
    want,
    got,
    remedy: 'the file was changed: check it, then correct --checksum',
  });
}

function isHeader(value: unknown): boolean {
  return value === undefined || (typeof value === 'string' && /^[\x20-\x7e]{1,1000}$/.test(value));
}

function timeOf({ headers }: IncomingMessage): number {
  const time = Date.parse(headers['last-modified'] ?? '');
  return Number.isNaN(time) ? EPOCH.sec : Math.floor(time / 1000);
}

function isBroken(error: unknown): boolean {
  if (isImagoError(error)) return true;
  const code = String((error as NodeJS.ErrnoException).code ?? '');
  return /^(?:ECONNRESET|EPIPE|ECONNABORTED|ETIMEDOUT|ERR_STREAM_PREMATURE_CLOSE|HPE_.*|Z_.*)$/.test(code);
}

function brokenDownload(url: URL, cause: unknown): ImagoError {
  return new ImagoError('DOWNLOAD_BROKEN', `the download of ${showRemote(url)} broke again and again`, {
    remedy: 'check the network and try again',
    cause,
  });
}

function spoolNode(fd: number, mtime: number): SourceNode {
  const read: FileReader['read'] = (buffer, offset, length, position) => readSync(fd, buffer, offset, length, position);
  return plainFile({
    mode: MODE,
    mtime: { sec: mtime, nsec: 0 },
    size: fstatSync(fd).size,
    open: () => ({ read, close: () => {} }),
  });
}
