import { createHash } from 'node:crypto';
import { once, setMaxListeners } from 'node:events';
import { close, mkdtempSync, openSync, read, rmSync, write } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Digest, digestAlgorithm, digestHex } from '../../core/digest.ts';
import { ImagoError } from '../../core/errors.ts';

const readAt = promisify(read);
const writeAt = promisify(write);
const closeFile = promisify(close);
const CHUNK = 1 << 20;

/**
 * A blob on its way in, that any number of readers follow at their own pace: the bytes go through a file without a
 * name, so that memory stays flat and a crash leaves nothing. The last byte is withheld until the digest was verified.
 */
export class Spool {
  readonly size: number;
  readonly digest: Digest;
  readonly #fd: number;
  readonly #moved = new EventTarget();
  /** Bytes that readers may have. */
  #readable = 0;
  #verified = false;
  #failure: unknown;
  /** Its maker, until `release`, and those who read and write. */
  #users = 1;

  /** `directory` is for large files: not one in memory. */
  constructor(directory: string, blob: { digest: Digest; size: number }) {
    this.digest = blob.digest;
    this.size = blob.size;
    const temporary = mkdtempSync(join(directory, 'imago-spool-'));
    try {
      this.#fd = openSync(join(temporary, 'blob'), 'wx+', 0o600);
    } finally {
      rmSync(temporary, { recursive: true, force: true });
    }
    setMaxListeners(0, this.#moved);
  }

  /** Takes the blob in. Where it fails, or is not what it should be, so does every reader; nothing is thrown. */
  async fill(source: AsyncIterable<Uint8Array>): Promise<void> {
    const hash = createHash(digestAlgorithm(this.digest));
    let written = 0;
    this.#users++;
    try {
      for await (const chunk of source) {
        if (written + chunk.length > this.size) throw this.#mismatch('bytes', this.size, 'more');
        hash.update(chunk);
        for (let at = 0; at < chunk.length; ) {
          at += (await writeAt(this.#fd, chunk, at, chunk.length - at, written + at)).bytesWritten;
        }
        written += chunk.length;
        this.#advance(Math.min(written, Math.max(0, this.size - 1)));
      }
      if (written !== this.size) throw this.#mismatch('bytes', this.size, written);
      const got = hash.digest('hex');
      if (got !== digestHex(this.digest)) throw this.#mismatch('digest', digestHex(this.digest), got);
      this.#verified = true;
      this.#advance(this.size);
    } catch (error) {
      this.#failure = error ?? new Error('failed');
      this.#moved.dispatchEvent(new Event('moved'));
    } finally {
      await this.#leave();
    }
  }

  /** The blob from its beginning. To be consumed or returned. */
  follow(): AsyncIterableIterator<Uint8Array, undefined> {
    this.#users++;
    let at = 0;
    let left = false;
    let pending: Promise<unknown> = Promise.resolve();
    const end = async (): Promise<IteratorReturnResult<undefined>> => {
      if (!left) {
        left = true;
        await this.#leave();
      }
      return { done: true, value: undefined };
    };
    const step = async (): Promise<IteratorResult<Uint8Array, undefined>> => {
      if (left) return end();
      try {
        const value = await this.#read(at);
        if (value === undefined) return await end();
        at += value.length;
        return { done: false, value };
      } catch (error) {
        await end();
        throw error;
      }
    };
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      next: () => {
        const next = step();
        pending = next.catch(() => {});
        return next;
      },
      // The file must not be closed below a read.
      return: () => pending.then(end),
    };
  }

  /** Lets go of it: the file is closed when nobody follows it any more. */
  release(): Promise<void> {
    return this.#leave();
  }

  /** Some bytes from `at` on, when there are some; undefined at the verified end. */
  async #read(at: number): Promise<Uint8Array | undefined> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      if (at < this.#readable) break;
      if (this.#verified) return undefined;
      await once(this.#moved, 'moved');
    }
    const length = Math.min(CHUNK, this.#readable - at);
    const { bytesRead, buffer } = await readAt(this.#fd, Buffer.allocUnsafe(length), 0, length, at);
    return buffer.subarray(0, bytesRead);
  }

  #advance(readable: number): void {
    this.#readable = readable;
    this.#moved.dispatchEvent(new Event('moved'));
  }

  async #leave(): Promise<void> {
    if (--this.#users === 0) await closeFile(this.#fd);
  }

  #mismatch(what: string, want: string | number, got: string | number): ImagoError {
    return new ImagoError('UPSTREAM_LIED', `${this.digest} came from upstream with the wrong ${what}`, { want, got });
  }
}
