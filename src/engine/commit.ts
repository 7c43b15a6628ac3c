import { commitContainer } from '../container/commit.ts';
import { findContainer } from '../container/record.ts';
import type { Digest } from '../core/digest.ts';
import { parseTag } from '../image/tag-by-name.ts';
import { keepUntagged, tagImage } from '../image/tags.ts';
import { formatReference } from '../oci/reference.ts';
import type { Store } from '../store/store.ts';

export interface CommitRequest {
  /** The new image's name; without it the image is known by its ID alone. */
  reference?: string;
  author?: string;
  message?: string;
  /** Dockerfile instructions, see `applyChanges`. */
  changes?: readonly string[];
  /** Hold the container's processes meanwhile (default). */
  pause?: boolean;
}

/** Makes an image of what a container is by now. Throws `NO_SUCH_CONTAINER`, `BAD_REFERENCE`, `BAD_CHANGE`. */
export async function commitByName(store: Store, container: string, request: CommitRequest = {}): Promise<Digest> {
  const reference = request.reference === undefined ? undefined : formatReference(parseTag(request.reference));
  const record = findContainer(store, container);
  const { applyChanges } = await import('./change.ts');
  using lease = store.lease('commit');
  const { id, descriptor } = await commitContainer(store, lease, record, {
    created: new Date().toISOString(),
    author: request.author,
    message: request.message,
    pause: request.pause,
    change: (draft) => applyChanges(draft, request.changes ?? []),
  });
  if (reference === undefined) keepUntagged(store, descriptor);
  else tagImage(store, reference, descriptor);
  return id;
}
