import type { Digest } from '../core/digest.ts';

/**
 * Where a layer is on its way: known, queued behind others, going up (`done` of `total` bytes: of the tar where it is
 * compressed on the way), there; or it was there, or taken over from another repository (`from`) of the registry, or
 * it is one that no registry need have.
 */
export type PushedLayerStatus = 'preparing' | 'waiting' | 'pushing' | 'pushed' | 'exists' | 'mounted' | 'skipped';

export type PushEvent =
  /** Begins; in full, without a tag. */
  | { type: 'repository'; name: string }
  | { type: 'layer'; diffId: Digest; status: PushedLayerStatus; done?: number; total?: number; from?: string }
  /** Of an index only one image went: the others are not here, and not at this registry. */
  | { type: 'partial'; reference: string; index: Digest; pushed: Digest }
  /** The tag is there. Size in bytes of what it names. */
  | { type: 'done'; reference: string; tag: string; digest: Digest; size: number };

export type OnPushEvent = (event: PushEvent) => void;
