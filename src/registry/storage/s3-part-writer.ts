import { randomHex } from '../../system/random.ts';
import type { S3Bucket } from './s3-bucket.ts';
import { DATA, type Part } from './s3-pointer.ts';

/** Bytes of a part. Each is held in memory until S3 has it: so large, and no larger. */
const PART_SIZE = 4 * 2 ** 20;
/** Parts of one upload on their way at a time: what hides the distance to S3. */
const PARALLEL = 4;

/** Buffers that are kept for the next part: the collector of garbage lets go of large ones late. */
const MAX_IDLE = 8;

/** Bounds the parts of all uploads that are on their way at a time, so that many uploads do not fill the memory. */
export class PartBuffers {
  #permits: number;
  readonly #waiting: (() => void)[] = [];
  readonly #idle: Buffer[] = [];

  constructor(permits: number) {
    this.#permits = permits;
  }

  make(): Buffer {
    return this.#idle.pop() ?? Buffer.allocUnsafeSlow(PART_SIZE);
  }

  /** Resolves when one more part may be sent. */
  async permit(): Promise<void> {
    if (this.#permits > 0) this.#permits--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** A part was sent; its buffer comes back where nothing can be reading it any more. */
  sent(buffer: Buffer | undefined): void {
    if (buffer !== undefined && this.#idle.length < MAX_IDLE) this.#idle.push(buffer);
    const next = this.#waiting.shift();
    if (next === undefined) this.#permits++;
    else next();
  }
}

/** Cuts a stream into objects `data/<id>/<name>`, several on their way while the next fills. */
export class PartWriter {
  readonly #bucket: S3Bucket;
  readonly #buffers: PartBuffers;
  readonly #id: string;
  readonly #first: number;
  readonly #parts: (Part & { stored: boolean })[] = [];
  readonly #underway = new Set<Promise<void>>();
  #buffer: Buffer | undefined;
  #filled = 0;
  #failure: { error: unknown } | undefined;

  /** `first`: the number of the first part, which only makes names sort. */
  constructor(bucket: S3Bucket, buffers: PartBuffers, id: string, first: number) {
    this.#bucket = bucket;
    this.#buffers = buffers;
    this.#id = id;
    this.#first = first;
  }

  /** Resolves when more may come; throws what failed since. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let rest = bytes; rest.length > 0; ) {
      this.#buffer ??= this.#buffers.make();
      const taken = rest.subarray(0, PART_SIZE - this.#filled);
      this.#buffer.set(taken, this.#filled);
      this.#filled += taken.length;
      rest = rest.subarray(taken.length);
      if (this.#filled === PART_SIZE) await this.flush();
    }
  }

  /** Sends what is left as a part, whatever its size. */
  async flush(): Promise<void> {
    while (this.#underway.size >= PARALLEL) await Promise.race(this.#underway);
    this.#check();
    if (this.#buffer === undefined || this.#filled === 0) return;
    await this.#buffers.permit();
    const buffer = this.#buffer;
    const bytes = buffer.subarray(0, this.#filled);
    const number = (this.#first + this.#parts.length).toString(16).padStart(6, '0');
    const part = { name: `${number}-${randomHex(4)}`, size: bytes.length, stored: false };
    this.#parts.push(part);
    this.#buffer = undefined;
    this.#filled = 0;
    const sending = this.#send(part, bytes).finally(() => {
      this.#buffers.sent(part.stored ? buffer : undefined);
      this.#underway.delete(sending);
    });
    this.#underway.add(sending);
  }

  /** Waits for all that is on its way; throws what failed. */
  async settle(): Promise<void> {
    await Promise.all(this.#underway);
    this.#check();
  }

  /** What is stored without a gap. */
  stored(): Part[] {
    const end = this.#parts.findIndex((part) => !part.stored);
    return this.#parts.slice(0, end < 0 ? undefined : end).map(({ name, size }) => ({ name, size }));
  }

  /** What came in and is in no part yet. */
  rest(): Uint8Array {
    return this.#buffer?.subarray(0, this.#filled) ?? new Uint8Array();
  }

  /** Takes away parts that no record names; what fails is left to the sweep. */
  async remove(keep: readonly Part[]): Promise<void> {
    await Promise.all(this.#underway);
    const kept = new Set(keep.map((part) => part.name));
    for (const { name } of this.#parts) {
      if (!kept.has(name)) await this.#bucket.remove(`${DATA}${this.#id}/${name}`).catch(() => undefined);
    }
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #send(part: { name: string; stored: boolean }, bytes: Uint8Array): Promise<void> {
    try {
      await this.#bucket.write(`${DATA}${this.#id}/${part.name}`, bytes);
      part.stored = true;
    } catch (error) {
      this.#failure ??= { error };
    }
  }
}
