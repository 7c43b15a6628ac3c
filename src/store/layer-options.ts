import type { Digest } from '../core/digest.ts';
import type { LayerFacts } from '../formats/erofs/facts.ts';

/** A region of a file (default: from 0 to its end), the bytes as they come, or a download. */
export type LayerSource =
  | { path: string; offset?: number; length?: number }
  | AsyncIterable<Uint8Array>
  | LayerDownload;

/** Bytes that can be had from any offset on. `expect` must tell their digest and size. */
export interface LayerDownload {
  /** `signal` tells that nobody wants them any more. */
  openAt(offset: number, signal?: AbortSignal): AsyncIterable<Uint8Array>;
}

export interface IngestLayerOptions {
  /** What is promised of the layer. `digest` and `size` are of the bytes as given, `diffId` is of the tar in them. */
  expect?: { digest?: Digest; size?: number; diffId?: Digest };
  /** Keep the compressed bytes as a blob too. */
  keepBlob?: boolean;
  /** Of the bytes as given; default: OCI's, by their compression. */
  mediaType?: string;
  /** A repository that has the bytes as given, remembered with them. */
  repository?: string;
  /** The largest tar to take, in bytes. */
  largest?: number;
  /** Gets the bytes read so far of the source, and the source's length where it is known. */
  onProgress?: (done: number, total: number | undefined) => void;
  /** All that `source` gave is on its way to the thread that makes a layer of it; not called where there is none. */
  onTaken?: () => void;
  signal?: AbortSignal;
}

export interface LayerResult {
  diffId: Digest;
  tarSize: number;
  facts: LayerFacts;
  /** The bytes as given, where they were compressed in a way that a registry takes. */
  compressed?: { digest: Digest; size: number; mediaType: string };
  /** The layer was here before: nothing was read where `expect.diffId` told so. */
  existed: boolean;
}
