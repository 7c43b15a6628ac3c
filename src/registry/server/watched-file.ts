import { statSync } from 'node:fs';
import { ImagoError } from '../../core/errors.ts';
import { readingFile, readSettingsFile } from './settings-file.ts';

/** How often, at most, a file is looked at, in milliseconds. */
const LOOK_MS = 1000;

/**
 * What is made of a small file, made again when the file changes. The first reading throws what is wrong; later ones
 * keep what was good and tell `onProblem` once, so that a half-written file locks nobody out.
 */
export class WatchedFile<T> {
  readonly #path: string;
  readonly #parse: (text: string) => T;
  readonly #onProblem: (error: Error) => void;
  readonly #limit: number;
  #stamp = '';
  #lookedAt = 0;
  /** What `onProblem` was told last. */
  #told = '';
  #value: T;

  constructor(
    path: string,
    parse: (text: string) => T,
    { onProblem = () => {}, limit = 16 << 20 }: { onProblem?: (error: Error) => void; limit?: number } = {},
  ) {
    this.#path = path;
    this.#parse = parse;
    this.#onProblem = onProblem;
    this.#limit = limit;
    this.#value = this.#load();
    this.#lookedAt = performance.now();
  }

  /** Looks at the file at most once a second. */
  read(): T {
    const now = performance.now();
    if (now - this.#lookedAt < LOOK_MS) return this.#value;
    this.#lookedAt = now;
    try {
      if (this.#stampNow() !== this.#stamp) this.#value = this.#load();
      this.#told = '';
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#told) this.#onProblem(error as Error);
      this.#told = message;
    }
    return this.#value;
  }

  #stampNow(): string {
    const { ino, size, mtimeMs } = readingFile(this.#path, () => statSync(this.#path));
    return `${ino}:${size}:${mtimeMs}`;
  }

  #load(): T {
    const stamp = this.#stampNow();
    const { size } = statSync(this.#path);
    if (size > this.#limit) {
      throw new ImagoError('FILE_TOO_LARGE', `${this.#path} is too large`, { want: `≤ ${this.#limit}`, got: size });
    }
    const value = this.#parse(readSettingsFile(this.#path));
    this.#stamp = stamp;
    return value;
  }
}
