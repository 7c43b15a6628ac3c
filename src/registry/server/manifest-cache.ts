import type { Digest } from '../../core/digest.ts';

/** Bytes of manifests by digest, which never change; the least recently used go when it is full. */
export class ManifestCache {
  readonly #limit: number;
  readonly #entries = new Map<Digest, Buffer>();
  #bytes = 0;

  /** @param limit Bytes. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get(digest: Digest): Buffer | undefined {
    const bytes = this.#entries.get(digest);
    if (bytes === undefined) return undefined;
    this.#entries.delete(digest);
    this.#entries.set(digest, bytes);
    return bytes;
  }

  /** The bytes must have this digest. */
  add(digest: Digest, bytes: Buffer): void {
    if (bytes.length > this.#limit || this.#entries.has(digest)) return;
    this.#entries.set(digest, bytes);
    this.#bytes += bytes.length;
    for (const [oldest, dropped] of this.#entries) {
      if (this.#bytes <= this.#limit) return;
      this.#entries.delete(oldest);
      this.#bytes -= dropped.length;
    }
  }
}
