import { createHash, type Hash } from 'node:crypto';
import type { Digest, DigestAlgorithm } from '../../core/digest.ts';

/** A blob's hash so far. */
export class RunningHash {
  readonly algorithm: DigestAlgorithm;
  /** Bytes hashed. */
  size = 0;
  readonly #hash: Hash;

  constructor(algorithm: DigestAlgorithm) {
    this.algorithm = algorithm;
    this.#hash = createHash(algorithm);
  }

  update(chunk: Uint8Array): void {
    this.#hash.update(chunk);
    this.size += chunk.length;
  }

  /** Ends it: nothing can be added after. */
  digest(): Digest {
    return `${this.algorithm}:${this.#hash.digest('hex')}`;
  }
}

/** An upload that went quiet hashes again what it has; that costs time only. */
const MAX_STATES = 4096;

/**
 * The hashes of uploads between their requests, so that PATCH, PATCH, PUT hashes every byte once. Kept by upload and
 * offset: whoever finds another offset (another replica went on, a request broke) hashes the upload again. The least
 * recently used are forgotten.
 */
export class HashStates {
  readonly #states = new Map<string, RunningHash>();

  /** Takes a state out; its user puts it back once its bytes are stored. */
  take(upload: string, offset: number): RunningHash | undefined {
    const state = this.#states.get(upload);
    this.#states.delete(upload);
    return state?.size === offset ? state : undefined;
  }

  keep(upload: string, state: RunningHash): void {
    this.#states.delete(upload);
    this.#states.set(upload, state);
    if (this.#states.size <= MAX_STATES) return;
    const oldest = this.#states.keys().next();
    if (!oldest.done) this.#states.delete(oldest.value);
  }

  forget(upload: string): void {
    this.#states.delete(upload);
  }
}

export function hashBytes(bytes: Uint8Array, algorithm: DigestAlgorithm): Digest {
  const hash = new RunningHash(algorithm);
  hash.update(bytes);
  return hash.digest();
}

export async function hashStream(source: AsyncIterable<Uint8Array>, algorithm: DigestAlgorithm): Promise<RunningHash> {
  const hash = new RunningHash(algorithm);
  for await (const chunk of source) hash.update(chunk);
  return hash;
}
