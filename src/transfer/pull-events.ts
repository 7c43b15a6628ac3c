import type { Digest } from '../core/digest.ts';
import type { RetryEvent } from '../registry/client/types.ts';

/**
 * Where a layer is on its way: about to be fetched, queued behind three others, coming in (`done` of `total` bytes as
 * they travel), all here and being settled, ready; or it was here before.
 */
export type LayerStatus = 'pulling' | 'waiting' | 'downloading' | 'downloaded' | 'complete' | 'exists';

export type PullEvent =
  /** Begins with one image: `tag` is what it is asked for by, a tag or a digest. */
  | { type: 'image'; repository: string; tag: string }
  /** `digest` is of the layer as it travels. */
  | { type: 'layer'; digest: Digest; status: LayerStatus; done?: number; total?: number }
  /** A request is tried again after a pause. `digest`: of the blob that it was for. */
  | ({ type: 'retry'; digest?: Digest } & RetryEvent)
  /** One image has its name. `digest` is what the name stands for. */
  | { type: 'done'; reference: string; digest: Digest; changed: boolean };

export type OnPullEvent = (event: PullEvent) => void;
