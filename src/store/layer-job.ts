import type { Digest, DigestAlgorithm } from '../core/digest.ts';
import type { LayerFacts } from '../formats/erofs/facts.ts';
import type { Compression } from '../system/compression.ts';
import type { PackedError } from '../system/worker-error.ts';

/** Where a job's bytes come from. Plain data: jobs cross threads. */
export type JobInput =
  | { kind: 'file'; path: string; offset: number; length: number }
  | { kind: 'ring'; ring: SharedArrayBuffer }
  | { kind: 'bytes'; bytes: Uint8Array };

/** What an image's layer may be compressed by. */
export type LayerCompression = Extract<Compression, 'none' | 'gzip' | 'zstd'>;

/** Turn a (compressed) tar into the synced files of a layer in a directory: `TAR`, `LAYER`/layer.erofs, layer.json. */
export interface IngestJob {
  kind: 'ingest';
  input: JobInput;
  /** Default: told by the first bytes. */
  compression?: LayerCompression;
  directory: string;
  /** Keep the compressed bytes too, as `COMPRESSED`. */
  keep: boolean;
  /**
   * A file that gets the bytes as they come, behind the first `length` of them: these it has already, and they are
   * read before the input. With `keep` it is synced in the end, in the place of `COMPRESSED`.
   */
  partial?: { path: string; length: number };
  /** The largest tar to take, in bytes. */
  largest?: number;
  /** Algorithm of the DiffID. */
  algorithm: DigestAlgorithm;
  /** Algorithm of the digest over the bytes as they came. */
  sourceAlgorithm: DigestAlgorithm;
  /** What must come out; checked before anything heavy is synced. */
  expect: { digest?: Digest; size?: number; diffId?: Digest };
}

/** Read a tar that is in the store and make its index anew. */
export interface ReindexJob {
  kind: 'reindex';
  path: string;
  algorithm: DigestAlgorithm;
  /** Write the files of the layer into this directory; else only compare with `index`. */
  directory?: string;
  /** Path of the index as it is. */
  index?: string;
}

/** Hash a file. */
export interface HashJob {
  kind: 'hash';
  path: string;
  algorithm: DigestAlgorithm;
}

export type LayerJob = IngestJob | ReindexJob | HashJob;

export interface IngestOutcome {
  diffId: Digest;
  tarSize: number;
  facts: LayerFacts;
  /** Of the bytes as they came. */
  source: { digest: Digest; size: number };
  compression: LayerCompression;
}

export type ReindexOutcome =
  | {
      diffId: Digest;
      tarSize: number;
      facts: LayerFacts;
      /** `index` has these very bytes. */
      same: boolean;
    }
  /** The tar cannot be indexed, and why; its digest tells whether it is damaged. */
  | { diffId: Digest; size: number; failure: PackedError };

export interface HashOutcome {
  digest: Digest;
  size: number;
}

/** layer.json: what is worth knowing of a layer without reading it. */
export interface LayerRecord {
  diffId: Digest;
  tarSize: number;
  facts: LayerFacts;
}

export const FILES = {
  tar: 'tar',
  compressed: 'compressed',
  layer: 'layer',
  index: 'layer.erofs',
  record: 'layer.json',
  origins: 'origin.json',
} as const;

/** The bytes of layer.json. */
export function formatRecord({ diffId, tarSize, facts }: LayerRecord): string {
  return `${JSON.stringify({ diffId, tarSize, facts })}\n`;
}
