import { read } from 'node:fs';
import { promisify } from 'node:util';
import { blobDamaged } from './errors.ts';
import { closeFile } from './files-area.ts';
import type { ByteStream, FileBytes } from './storage.ts';

const readAt: (
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: number,
) => Promise<{ bytesRead: number }> = promisify(read);

/** Bytes of a read: large enough that a read costs little, small enough that many streams at once cost little memory. */
const CHUNK = 2 ** 20;

/**
 * The bytes from `start` to `end` of an open file, which it closes at the end, at an error and at `return()`. Reads one
 * chunk ahead of the consumer. `name` is for the error where the file is shorter.
 */
export class ByteFile implements ByteStream {
  #fd: number | undefined;
  #at: number;
  readonly #start: number;
  readonly #end: number;
  readonly #name: string;
  #ahead: Promise<Uint8Array | undefined> | undefined;

  constructor(fd: number, start: number, end: number, name: string) {
    this.#fd = fd;
    this.#at = start;
    this.#start = start;
    this.#end = end;
    this.#name = name;
  }

  get file(): FileBytes {
    return {
      fd: this.#fd!,
      start: this.#start,
      end: this.#end,
      read: async (position, length) => {
        this.#at = position;
        return (await this.#read(length))!;
      },
    };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array, undefined>> {
    try {
      const value = await (this.#ahead ?? this.#read());
      this.#ahead = value === undefined ? undefined : this.#read();
      // Told at the next call; here only that it is not "unhandled".
      this.#ahead?.catch(() => undefined);
      if (value !== undefined) return { done: false, value };
    } catch (error) {
      await this.return();
      throw error;
    }
    return this.return();
  }

  async return(): Promise<{ done: true; value: undefined }> {
    const fd = this.#fd;
    this.#fd = undefined;
    // A number that is closed while a read uses it may be another file's by then.
    await this.#ahead?.catch(() => undefined);
    this.#ahead = undefined;
    if (fd !== undefined) await closeFile(fd);
    return { done: true, value: undefined };
  }

  async #read(most = CHUNK): Promise<Uint8Array | undefined> {
    if (this.#fd === undefined || this.#at >= this.#end) return undefined;
    const length = Math.min(most, this.#end - this.#at);
    const buffer = Buffer.allocUnsafeSlow(length);
    const { bytesRead } = await readAt(this.#fd, buffer, 0, length, this.#at);
    if (bytesRead === 0) throw blobDamaged(this.#name, this.#end - this.#start, this.#at - this.#start);
    this.#at += bytesRead;
    return bytesRead === length ? buffer : buffer.subarray(0, bytesRead);
  }
}
