import type { Digest } from '../../core/digest.ts';
import type { RegistryStorage } from '../storage/storage.ts';
import type { Authorize } from './authorize.ts';
import type { FoundManifest } from './documents.ts';
import type { ManifestReference } from './route.ts';

/** Bounds on what clients may do; each has a default in `DEFAULT_LIMITS`. */
export interface Limits {
  /** Bytes of a manifest; more is answered with 413. At most 4 MiB, which all clients support. */
  manifestBytes: number;
  /** Bytes of a blob; more is answered with 413. */
  blobBytes: number;
  /** Uploads that are open at once in one repository; more is answered with 429. */
  openUploadsPerRepository: number;
  /** The same of the whole registry. */
  openUploads: number;
  /** Tags that one push by digest may set with `?tag=`. */
  tagsPerPush: number;
  /** Blobs and manifests that one manifest may name. */
  referencesPerManifest: number;
  /** Entries of a page of tags, repositories or referrers, whatever `n` says. */
  pageEntries: number;
  /** Bytes of manifests that are kept in memory. */
  manifestCacheBytes: number;
}

export const DEFAULT_LIMITS: Readonly<Limits> = {
  manifestBytes: 4 * 1024 * 1024,
  blobBytes: 1024 ** 4,
  openUploadsPerRepository: 1000,
  openUploads: 10_000,
  tagsPerPush: 100,
  referencesPerManifest: 10_000,
  pageEntries: 1000,
  manifestCacheBytes: 32 * 1024 * 1024,
};

/** What one request was and how it ended; given when its answer is over. Holds no secrets: no query, no headers. */
export interface RequestEvent {
  /** Ours, also in the answer's `X-Request-Id`. */
  id: string;
  method: string;
  /** Without the query. */
  path: string;
  /** The kind of end point; `unknown` for what is none. Few values: fit for a metric's label. */
  route: RouteName;
  repository?: string;
  /** The tag, digest or upload that the path named. */
  reference?: string;
  user?: string;
  remote: string;
  userAgent: string;
  /** 0 where the client went away before an answer began. */
  status: number;
  /** Bodies only. */
  bytesIn: number;
  bytesOut: number;
  milliseconds: number;
  /** The client went away before the answer's end. */
  aborted: boolean;
  /** The first wire error of an error answer. */
  error?: { code: string; message: string };
  /** What our side failed with (answers of 5xx), for the log: never sent to a client. */
  cause?: unknown;
}

export type RouteName =
  | 'base'
  | 'catalog'
  | 'tags'
  | 'referrers'
  | 'manifest'
  | 'blob'
  | 'uploads'
  | 'upload'
  | 'unknown';

/**
 * Where pulls go on for what is not here: a pull-through cache. Both throw a `WireFailure` for what the client is to be
 * told, and nothing is stored under a name before its digest was checked.
 */
export interface PullThrough {
  /**
   * A manifest, fetched where it is missing or where the tag may have moved; what is here where upstream cannot be
   * reached. It was asked for now, and so it stays for a while.
   */
  findManifest(repository: string, reference: ManifestReference): Promise<FoundManifest | undefined>;
  /**
   * A blob that the repository does not have. Undefined where upstream has none either. `open` streams it whole, while it
   * is being stored; not called for HEAD.
   */
  findBlob(
    repository: string,
    digest: Digest,
  ): Promise<{ size: number; open(): Promise<AsyncIterable<Uint8Array>> } | undefined>;
}

export interface HandlerOptions {
  storage: RegistryStorage;
  /** Absent: everybody may do everything. */
  authorize?: Authorize;
  limits?: Partial<Limits>;
  /** Pushes and deletes are answered with 405. */
  readOnly?: boolean;
  /** False: deletes of tags, manifests and blobs are answered with 405. Default true. */
  deletes?: boolean;
  /**
   * What a manifest may name that the repository does not have. `children` (default): the manifests of an index.
   * `everything`: blobs, too. `nothing`: neither.
   */
  sparse?: 'nothing' | 'children' | 'everything';
  /** A mount without `from` takes a blob from any repository that the client may pull from. Default: only where there is no `authorize`. */
  automaticMounts?: boolean;
  proxy?: PullThrough;
  /** Told when a request is over. Must not throw. */
  onRequest?: (event: RequestEvent) => void;
}
