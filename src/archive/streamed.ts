import { type Digest, isDigest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { readTar, type TarItem } from '../formats/tar/read.ts';
import { ingestLayer } from '../store/ingest-layer.ts';
import type { LayerResult } from '../store/layer-options.ts';
import { hasLayer, layerRecord } from '../store/layers.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import { detectCompression } from '../system/compression.ts';
import {
  type ArchiveContent,
  documentTooLarge,
  type LayerWish,
  MAX_DOCUMENT,
  missingFile,
  tellStored,
} from './content.ts';
import { MemberNames } from './member-names.ts';
import { checkDigest } from './plan.ts';

/** All documents together that are kept until the end of the stream tells which are needed. Bytes. */
const MAX_DOCUMENTS = 64 * 1024 * 1024;
/** Enough to tell a layer from a document: a tar's first header block. */
const HEAD = 512;

interface StreamOptions {
  signal?: AbortSignal;
  onProgress?: (name: string, done: number, total: number) => void;
  onStored?: (digest: Digest) => void;
}

type Taken =
  | { kind: 'document'; bytes: Uint8Array }
  | { kind: 'layer'; result: LayerResult; size: number }
  | { kind: 'neither'; error: unknown };

/**
 * An archive that comes once, from first to last byte, as from a pipe: what its members are is told by documents that
 * may come at its end. So whatever looks like a layer goes into the store as one, and what no image turns out to need
 * is garbage there; nothing is written twice.
 */
export class StreamedContent implements ArchiveContent {
  readonly title: string;
  readonly #names: MemberNames<Taken> = new MemberNames();
  #documents = 0;

  private constructor(title: string) {
    this.title = title;
  }

  /** Takes the whole stream. Throws `TAR_*`, and what `ingestLayer` throws but for members that are no layers. */
  static async take(
    store: Store,
    lease: Lease,
    source: AsyncIterable<Uint8Array>,
    title: string,
    options: StreamOptions = {},
  ): Promise<StreamedContent> {
    const content = new StreamedContent(title);
    for await (const item of readTar(source)) {
      const { entry } = item;
      if (entry.type !== 'file') content.#names.add(entry, { kind: 'neither', error: undefined });
      else content.#names.add(entry, await content.#take(store, lease, item, options));
    }
    return content;
  }

  has(name: string): boolean {
    return this.#names.find(name) !== undefined;
  }

  read(name: string): Uint8Array | undefined {
    const taken = this.#names.find(name);
    if (taken?.kind === 'layer') throw documentTooLarge(this.title, name, taken.size);
    return taken?.kind === 'document' ? taken.bytes : undefined;
  }

  async ingest(store: Store, lease: Lease, name: string, wish: LayerWish): Promise<LayerResult> {
    const taken = this.#names.find(name);
    if (taken === undefined) throw missingFile(this.title, name, wish.digest ?? wish.diffId);
    if (taken.kind === 'neither') throw taken.error;
    if (taken.kind === 'document') {
      const { digest, size, diffId, mediaType } = wish;
      // A damaged layer need not look like one: its digest explains that.
      if (digest !== undefined) checkDigest(this, name, taken.bytes, digest);
      return ingestLayer(store, lease, once(taken.bytes), {
        expect: { digest, size, diffId },
        keepBlob: digest !== undefined,
        mediaType,
      });
    }
    checkResult(taken, wish, `'${name}' in ${this.title}`);
    return taken.result;
  }

  async #take(store: Store, lease: Lease, item: TarItem, options: StreamOptions): Promise<Taken> {
    const { path, dataSize } = item.entry;
    const body = item.body()[Symbol.asyncIterator]();
    const { head, ended } = await readHead(body);
    if (!looksLikeLayer(head)) {
      if (dataSize > MAX_DOCUMENT) return { kind: 'neither', error: documentTooLarge(this.title, path, dataSize) };
      return { kind: 'document', bytes: await this.#readDocument(head, ended ? undefined : body, dataSize) };
    }
    const digest = digestFromName(path);
    if (digest !== undefined && hasLayer(store, digest)) {
      lease.add(digest);
      const { diffId, tarSize, facts } = layerRecord(store, digest);
      if (tarSize === dataSize)
        return { kind: 'layer', result: { diffId, tarSize, facts, existed: true }, size: dataSize };
    }
    try {
      const result = await ingestLayer(store, lease, resume(head, body), {
        expect: { digest, size: dataSize },
        keepBlob: digest !== undefined,
        signal: options.signal,
        onProgress: options.onProgress && ((done) => options.onProgress?.(path, done, dataSize)),
      });
      tellStored(result, options.onStored);
      return { kind: 'layer', result, size: dataSize };
    } catch (error) {
      // The stream's own end or damage is met again when it is read on; a full disk or Ctrl-C ends the load.
      if (!(error instanceof ImagoError) || options.signal?.aborted || error.code === 'DISK_FULL') throw error;
      return { kind: 'neither', error };
    }
  }

  async #readDocument(
    head: Uint8Array,
    body: AsyncIterator<Uint8Array> | undefined,
    size: number,
  ): Promise<Uint8Array> {
    this.#documents += size;
    if (this.#documents > MAX_DOCUMENTS) {
      throw new ImagoError('ARCHIVE_DOCUMENT', `${this.title} has too many documents for a stream`, {
        want: `at most ${MAX_DOCUMENTS} bytes together`,
        remedy: 'save it to a file and load that',
      });
    }
    const parts: Uint8Array[] = [head];
    for (let step = await body?.next(); step && !step.done; step = await body?.next())
      parts.push(Buffer.from(step.value));
    return Buffer.concat(parts);
  }

  [Symbol.dispose](): void {}
}

function checkResult(taken: { result: LayerResult; size: number }, wish: LayerWish, what: string): void {
  const { result, size } = taken;
  const digest = result.compressed?.digest ?? result.diffId;
  const fault = (code: string, want: string | number, got: string | number): ImagoError =>
    new ImagoError(code, `${what} is not the layer that the image names`, {
      want,
      got,
      remedy: 'get the archive again',
    });
  if (wish.size !== undefined && wish.size !== size) throw fault('SIZE_MISMATCH', wish.size, size);
  if (wish.digest !== undefined && wish.digest !== digest) throw fault('DIGEST_MISMATCH', wish.digest, digest);
  if (wish.diffId !== result.diffId) throw fault('DIFFID_MISMATCH', wish.diffId, result.diffId);
}

/** gzip, zstd, a tar's magic, or an end mark alone. A tar without magic (v7) has not been made a layer since 2013. */
function looksLikeLayer(head: Uint8Array): boolean {
  if (detectCompression(head) !== 'none') return true;
  if (head.length < HEAD) return false;
  return (
    Buffer.from(head.buffer, head.byteOffset + 257, 5).toString('latin1') === 'ustar' || head.every((b) => b === 0)
  );
}

/** 'blobs/sha256/<hex>' promises a digest. */
function digestFromName(path: string): Digest | undefined {
  const match = /(?:^|\/)blobs\/([a-z0-9]+)\/([0-9a-f]+)$/.exec(path);
  const digest = match && `${match[1]}:${match[2]}`;
  return digest && isDigest(digest) ? digest : undefined;
}

async function readHead(body: AsyncIterator<Uint8Array>): Promise<{ head: Uint8Array; ended: boolean }> {
  let head: Uint8Array = new Uint8Array(0);
  while (head.length < HEAD) {
    const step = await body.next();
    if (step.done) return { head, ended: true };
    head = Buffer.concat([head, step.value]);
  }
  return { head, ended: false };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function* resume(head: Uint8Array, body: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield head;
  for (let step = await body.next(); !step.done; step = await body.next()) yield step.value;
}
