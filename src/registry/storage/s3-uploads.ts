import type { Digest } from '../../core/digest.ts';
import { isImagoError } from '../../core/errors.ts';
import { randomHex } from '../../system/random.ts';
import { uploadBusy, uploadOffset, uploadUnknown } from './errors.ts';
import { isUploadId, pageSize } from './names.ts';
import { appendParts } from './s3-append.ts';
import type { S3Blobs } from './s3-blobs.ts';
import type { S3Bucket } from './s3-bucket.ts';
import { type PartBuffers, PartWriter } from './s3-part-writer.ts';
import { type BlobData, removeData } from './s3-pointer.ts';
import { streamData } from './s3-stream.ts';
import { type ReadState, readState, tailOf, UPLOADS, uploadSize, uploadStat, writeState } from './s3-upload-state.ts';
import type { ByteStream, UploadStat, UploadStorage } from './storage.ts';

/** While a seal is younger, its publisher is taken to be alive. Requests end sooner. */
const SEAL_MS = 15_000;
/** A publisher that was held up longer than this since it sealed does not go on. */
const PUBLISH_MS = 5 * 60_000;
/** A seal is so old that its publisher gave up for certain: the upload may be discarded. */
const DEAD_SEAL_MS = 60 * 60_000;
const ROUNDS = 20;

/**
 * An upload is a record `uploads/<id>` and objects `data/<id>/<part>`. Who changes it writes the record conditionally:
 * of two, one is told `UPLOAD_BUSY`, at whichever replicas they are.
 */
export class S3Uploads implements UploadStorage {
  readonly #bucket: S3Bucket;
  readonly #buffers: PartBuffers;
  readonly #blobs: S3Blobs;
  /** Uploads that this process appends to: a second one need not travel to be refused. */
  readonly #active = new Set<string>();

  constructor(bucket: S3Bucket, buffers: PartBuffers, blobs: S3Blobs) {
    this.#bucket = bucket;
    this.#buffers = buffers;
    this.#blobs = blobs;
  }

  async createUpload(repository: string): Promise<UploadStat> {
    const id = randomHex(16);
    const started = Date.now();
    await writeState(this.#bucket, id, { repository, started, parts: [], tail: '' }, 'absent');
    return { id, size: 0, started, modified: started, repository };
  }

  async statUpload(id: string): Promise<UploadStat | undefined> {
    const read = await readState(this.#bucket, id);
    return read && uploadStat(id, read);
  }

  async appendUpload(id: string, offset: number, source: AsyncIterable<Uint8Array>): Promise<number> {
    if (this.#active.has(id)) throw uploadBusy(id);
    this.#active.add(id);
    try {
      const read = await this.#readOpen(id);
      if (read.state.sealed !== undefined) throw uploadBusy(id);
      const size = uploadSize(read.state);
      if (size !== offset) throw uploadOffset(id, size, offset);
      return await appendParts(this.#bucket, this.#buffers, id, read, source);
    } catch (error) {
      throw await this.#busyWhereConflict(id, error);
    } finally {
      this.#active.delete(id);
    }
  }

  async readUpload(id: string): Promise<ByteStream> {
    const read = await readState(this.#bucket, id);
    if (read === undefined) throw uploadUnknown(id);
    return streamUpload(this.#bucket, id, read);
  }

  async publishUpload(id: string, digest: Digest, size: number): Promise<void> {
    if (this.#active.has(id)) throw uploadBusy(id);
    this.#active.add(id);
    try {
      const read = await this.#readOpen(id);
      const now = uploadSize(read.state);
      if (now !== size) throw uploadOffset(id, now, size);
      const data = await this.#gather(id, read);
      const at = Date.now();
      await writeState(
        this.#bucket,
        id,
        { ...read.state, parts: data.parts, tail: data.inline.toString('base64'), sealed: { at, digest } },
        read.etag,
      );
      await this.#blobs.publish(digest, data, async () => {
        if (Date.now() - at > PUBLISH_MS) throw uploadBusy(id);
      });
    } catch (error) {
      throw await this.#busyWhereConflict(id, error);
    } finally {
      this.#active.delete(id);
    }
    // It is published; what is left of the record is discarded when it is too old.
    await this.#bucket.remove(UPLOADS + id).catch(() => undefined);
  }

  async discardUpload(id: string): Promise<void> {
    for (let round = 1; ; round++) {
      const read = await readState(this.#bucket, id, true);
      if (read === undefined) return;
      const { sealed } = read.state;
      if (sealed !== undefined) {
        if (await this.#blobs.pointsTo(sealed.digest, id)) return this.#bucket.remove(UPLOADS + id);
        if (Date.now() - sealed.at < DEAD_SEAL_MS) throw uploadBusy(id);
      }
      try {
        // First, so that nobody publishes what is being removed.
        await writeState(this.#bucket, id, { ...read.state, discarded: true }, read.etag);
        break;
      } catch (error) {
        if (!isImagoError(error, 'STORAGE_CONFLICT')) throw error;
        if (round === ROUNDS) throw uploadBusy(id, error);
      }
    }
    await removeData(this.#bucket, id);
    await this.#bucket.remove(UPLOADS + id);
  }

  async listUploads(
    options: { after?: string; limit?: number } = {},
  ): Promise<{ uploads: UploadStat[]; next: string | undefined }> {
    const after = options.after === undefined ? undefined : UPLOADS + options.after;
    const page = await this.#bucket.list(UPLOADS, after, pageSize(options.limit));
    const ids = page.entries.map((entry) => entry.key.slice(UPLOADS.length)).filter(isUploadId);
    const uploads: UploadStat[] = [];
    for (let at = 0; at < ids.length; at += 16) {
      const some = ids.slice(at, at + 16);
      // Discarded ones as well: who died while discarding is finished by the next.
      const states = await Promise.all(some.map((id) => readState(this.#bucket, id, true)));
      for (const [index, read] of states.entries()) if (read) uploads.push(uploadStat(some[index]!, read));
    }
    return { uploads, next: page.next?.slice(UPLOADS.length) };
  }

  async #readOpen(id: string): Promise<ReadState> {
    const read = await readState(this.#bucket, id);
    if (read === undefined) throw uploadUnknown(id);
    if (read.state.sealed !== undefined && Date.now() - read.state.sealed.at < SEAL_MS) throw uploadBusy(id);
    return read;
  }

  /** The upload's bytes as a blob's: few in the pointer, and otherwise none outside of parts. */
  async #gather(id: string, { state }: ReadState): Promise<BlobData> {
    const size = uploadSize(state);
    const inline = tailOf(state);
    if (state.parts.length === 0 || inline.length === 0) return { id, size, parts: state.parts, inline };
    const writer = new PartWriter(this.#bucket, this.#buffers, id, state.parts.length);
    await writer.write(inline);
    await writer.flush();
    await writer.settle();
    return { id, size, parts: [...state.parts, ...writer.stored()], inline: Buffer.alloc(0) };
  }

  async #busyWhereConflict(id: string, error: unknown): Promise<unknown> {
    if (!isImagoError(error, 'STORAGE_CONFLICT')) return error;
    return (await readState(this.#bucket, id)) === undefined ? uploadUnknown(id, error) : uploadBusy(id, error);
  }
}

async function* streamUpload(
  bucket: S3Bucket,
  id: string,
  { state }: ReadState,
): AsyncGenerator<Uint8Array, undefined> {
  const end = state.parts.reduce((sum, part) => sum + part.size, 0);
  const data = { id, size: end, parts: state.parts, inline: Buffer.alloc(0) };
  yield* streamData(bucket, data, { start: 0, end }, async () => data);
  const tail = tailOf(state);
  if (tail.length > 0) yield tail;
}
