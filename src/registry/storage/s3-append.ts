import { isImagoError } from '../../core/errors.ts';
import { blobDamaged } from './errors.ts';
import { MAX_INLINE } from './s3-blobs.ts';
import type { S3Bucket } from './s3-bucket.ts';
import { type PartBuffers, PartWriter } from './s3-part-writer.ts';
import { DATA, type Part } from './s3-pointer.ts';
import { type ReadState, readState, tailOf, type UploadState, uploadSize, writeState } from './s3-upload-state.ts';
import type { Version } from './storage.ts';

/** Parts after which the record is written, so that a replica that dies loses no more. */
const CHECKPOINT = 8;
/** A last part that is smaller is taken up again by the next append, so that no blob is cut into crumbs. */
const CRUMB = 2 ** 20;

/**
 * Appends a source to an upload whose record was read. Returns the new size. Where the source fails, what came before
 * is recorded. Where somebody else wrote the record meanwhile, `STORAGE_CONFLICT`, and nothing of this is left.
 */
export async function appendParts(
  bucket: S3Bucket,
  buffers: PartBuffers,
  id: string,
  read: ReadState,
  source: AsyncIterable<Uint8Array>,
): Promise<number> {
  const session = new AppendSession(bucket, buffers, id, read);
  let failure: { error: unknown } | undefined;
  try {
    await session.carryOver();
    const iterator = source[Symbol.asyncIterator]();
    for (;;) {
      const result = await iterator.next().catch((error: unknown) => {
        failure = { error };
        return { done: true as const, value: undefined };
      });
      if (result.done === true) break;
      try {
        await session.write(result.value);
      } catch (error) {
        await iterator.return?.();
        throw error;
      }
    }
    await session.finish();
  } catch (error) {
    if (isImagoError(error, 'STORAGE_CONFLICT')) await session.abandon();
    throw failure === undefined || isImagoError(error, 'STORAGE_CONFLICT') ? error : failure.error;
  }
  if (failure !== undefined) throw failure.error;
  return uploadSize(session.state);
}

class AppendSession {
  state: UploadState;
  #etag: Version;
  readonly #bucket: S3Bucket;
  readonly #id: string;
  readonly #writer: PartWriter;
  /** Parts that stay as they are. */
  readonly #base: Part[];
  readonly #crumb: Part | undefined;
  #recorded = 0;

  constructor(bucket: S3Bucket, buffers: PartBuffers, id: string, read: ReadState) {
    this.state = read.state;
    this.#etag = read.etag;
    this.#bucket = bucket;
    this.#id = id;
    const last = read.state.parts.at(-1);
    this.#crumb = last !== undefined && last.size < CRUMB ? last : undefined;
    this.#base = this.#crumb === undefined ? read.state.parts : read.state.parts.slice(0, -1);
    this.#writer = new PartWriter(bucket, buffers, id, this.#base.length);
  }

  async carryOver(): Promise<void> {
    if (this.#crumb !== undefined) {
      const object = await this.#bucket.read(this.#keyOf(this.#crumb));
      const got = object?.bytes.length ?? 0;
      if (object === undefined || got !== this.#crumb.size) {
        throw blobDamaged(this.#keyOf(this.#crumb), this.#crumb.size, got);
      }
      await this.#writer.write(object.bytes);
    }
    await this.#writer.write(tailOf(this.state));
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#writer.write(bytes);
    const stored = this.#writer.stored();
    if (stored.length >= this.#recorded + CHECKPOINT) await this.#record(stored, '');
  }

  async finish(): Promise<void> {
    const tail = this.#writer.rest();
    if (tail.length > MAX_INLINE) await this.#writer.flush();
    await this.#writer.settle();
    await this.#record(this.#writer.stored(), Buffer.from(this.#writer.rest()).toString('base64'));
  }

  /**
   * Removes what this session brought, after it was told that another wrote the record. Not after other errors: a record
   * whose answer was lost may name the parts.
   */
  async abandon(): Promise<void> {
    const now = await readState(this.#bucket, this.#id).catch(() => undefined);
    if (now !== undefined) await this.#writer.remove([...now.state.parts, ...this.state.parts]);
  }

  async #record(stored: Part[], tail: string): Promise<void> {
    const state = { ...this.state, parts: [...this.#base, ...stored], tail };
    this.#etag = await writeState(this.#bucket, this.#id, state, this.#etag);
    this.state = state;
    if (this.#recorded === 0 && this.#crumb !== undefined) {
      await this.#bucket.remove(this.#keyOf(this.#crumb)).catch(() => undefined);
    }
    this.#recorded = stored.length;
  }

  #keyOf(part: Part): string {
    return `${DATA}${this.#id}/${part.name}`;
  }
}
