import { type Digest, isDigest } from '../../core/digest.ts';
import { isImagoError } from '../../core/errors.ts';
import { randomHex } from '../../system/random.ts';
import { pageSize } from './names.ts';
import type { S3Bucket } from './s3-bucket.ts';
import { type PartBuffers, PartWriter } from './s3-part-writer.ts';
import {
  BLOBS,
  type BlobData,
  isPointerSize,
  pointerKey,
  readPointer,
  removeData,
  writeGone,
  writePointer,
} from './s3-pointer.ts';
import { streamData } from './s3-stream.ts';
import type { BlobStat, BlobStorage, ByteRange, OpenBlob, Version } from './storage.ts';

/** Bytes of a blob that is kept in its pointer: manifests and configs come with one request then. */
export const MAX_INLINE: number = 64 * 2 ** 10;
/** Each round means that somebody else published or removed the same digest in that moment. */
const ROUNDS = 100;

/**
 * A blob is a pointer `blobs/<algorithm>/<hex>` and, where it is larger than 64 KiB, objects `data/<upload>/<part>`,
 * which are never written twice. Publishing and removing are one conditional write of the pointer each.
 */
export class S3Blobs implements BlobStorage {
  readonly #bucket: S3Bucket;
  readonly #buffers: PartBuffers;

  constructor(bucket: S3Bucket, buffers: PartBuffers) {
    this.#bucket = bucket;
    this.#buffers = buffers;
  }

  async statBlob(digest: Digest): Promise<BlobStat | undefined> {
    const pointer = (await readPointer(this.#bucket, pointerKey(digest), { head: true }))?.blob;
    return pointer && { size: pointer.size, version: pointer.version, modified: pointer.modified };
  }

  async openBlob(digest: Digest, range?: ByteRange): Promise<OpenBlob | undefined> {
    const read = async () => (await readPointer(this.#bucket, pointerKey(digest)))?.blob;
    const pointer = await read();
    if (pointer === undefined) return undefined;
    const stream = streamData(this.#bucket, pointer, range ?? { start: 0, end: pointer.size }, read);
    return { size: pointer.size, version: pointer.version, stream };
  }

  async putBlob(digest: Digest, bytes: Uint8Array): Promise<void> {
    const id = randomHex(16);
    if (bytes.length <= MAX_INLINE) {
      await this.publish(digest, { id, size: bytes.length, parts: [], inline: Buffer.from(bytes) });
      return;
    }
    const writer = new PartWriter(this.#bucket, this.#buffers, id, 0);
    await writer.write(bytes);
    await writer.flush();
    await writer.settle();
    await this.publish(digest, { id, size: bytes.length, parts: writer.stored(), inline: Buffer.alloc(0) });
  }

  /**
   * Points the digest to `data`, and removes the data that it pointed to before. `confirm` is asked after each reading
   * of the pointer, before it is written.
   */
  async publish(digest: Digest, data: BlobData, confirm?: () => Promise<void>): Promise<void> {
    const key = pointerKey(digest);
    for (let round = 1; ; round++) {
      const before = await readPointer(this.#bucket, key);
      await confirm?.();
      try {
        await writePointer(this.#bucket, key, data, before);
      } catch (error) {
        if (!isImagoError(error, 'STORAGE_CONFLICT') || round === ROUNDS) throw error;
        continue;
      }
      const old = before?.blob;
      // It is published; what is left behind is the sweep's.
      if (old !== undefined && old.id !== data.id && old.parts.length > 0) {
        await removeData(this.#bucket, old.id).catch(() => undefined);
      }
      return;
    }
  }

  async removeBlob(digest: Digest, version: Version): Promise<boolean> {
    const key = pointerKey(digest);
    const before = await readPointer(this.#bucket, key, { head: true });
    if (before?.blob?.version !== version) return false;
    try {
      await writeGone(this.#bucket, key, before);
    } catch (error) {
      if (isImagoError(error, 'STORAGE_CONFLICT')) return false;
      throw error;
    }
    await removeData(this.#bucket, before.blob.id);
    return true;
  }

  async listBlobs(
    options: { after?: string; limit?: number } = {},
  ): Promise<{ digests: Digest[]; next: string | undefined }> {
    const after = options.after === undefined ? undefined : BLOBS + options.after.replace(':', '/');
    const page = await this.#bucket.list(BLOBS, after, pageSize(options.limit));
    const digests = page.entries
      .filter((entry) => isPointerSize(entry.size))
      .map((entry) => entry.key.slice(BLOBS.length).replace('/', ':'))
      .filter((text) => isDigest(text));
    return { digests, next: page.next?.slice(BLOBS.length).replace('/', ':') };
  }

  /** Whether the digest points to the data of this upload. */
  async pointsTo(digest: Digest, id: string): Promise<boolean> {
    return (await readPointer(this.#bucket, pointerKey(digest), { head: true }))?.blob?.id === id;
  }
}
