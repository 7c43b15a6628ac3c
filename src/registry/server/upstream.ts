import type { Digest } from '../../core/digest.ts';

interface Asking {
  signal?: AbortSignal;
}

/**
 * The registry that a pull-through cache stands before. Undefined is its own word that it has none (or shows none); all
 * else that goes wrong is thrown.
 */
export interface Upstream {
  /** For logs and answers: `https://registry-1.docker.io`. */
  readonly title: string;
  /** The digest of a tag. */
  headManifest(repository: string, tag: string, options?: Asking): Promise<Digest | undefined>;
  /** Verified. */
  getManifest(
    repository: string,
    digest: Digest,
    options?: Asking,
  ): Promise<{ bytes: Buffer; mediaType: string } | undefined>;
  /** Bytes. */
  statBlob(repository: string, digest: Digest, options?: Asking): Promise<number | undefined>;
  /** Not verified; may end early or late. */
  readBlob(repository: string, blob: { digest: Digest; size: number }, options?: Asking): AsyncIterable<Uint8Array>;
}
