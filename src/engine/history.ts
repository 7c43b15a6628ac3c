import type { Digest } from '../core/digest.ts';
import type { Image } from '../image/image.ts';
import { resolveImage } from '../image/resolve.ts';
import { layerSize } from '../image/sizes.ts';
import type { Platform } from '../oci/platform.ts';
import type { Store } from '../store/store.ts';

/** A step that made an image. */
export interface HistoryStep {
  /** The image, for its newest step only. */
  id: Digest | undefined;
  /** RFC 3339. */
  created: string | undefined;
  createdBy: string;
  comment: string;
  /** Bytes of the layer's tar; 0 where the step made none. */
  size: number;
  diffId: Digest | undefined;
}

/** The steps of an image, the newest first. Layers that its history does not speak of are steps without a text. */
export function listHistory(store: Store, name: string, platform?: Platform): HistoryStep[] {
  return historyOf(store, resolveImage(store, name, platform));
}

function historyOf(store: Store, image: Image): HistoryStep[] {
  const steps: HistoryStep[] = [];
  let used = 0;
  const push = (
    entry: { created?: string; created_by?: string; comment?: string },
    diffId: Digest | undefined,
  ): void => {
    steps.push({
      id: undefined,
      created: entry.created,
      createdBy: entry.created_by ?? '',
      comment: entry.comment ?? '',
      size: diffId === undefined ? 0 : layerSize(store, diffId),
      diffId,
    });
  };
  for (const entry of image.config.history ?? []) {
    push(entry, entry.empty_layer === true ? undefined : image.diffIds[used++]);
  }
  while (used < image.diffIds.length) push({}, image.diffIds[used++]);
  steps.reverse();
  if (steps[0] !== undefined) steps[0].id = image.id;
  return steps;
}
