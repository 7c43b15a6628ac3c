import { diffContainer } from '../container/commit.ts';
import { findContainer } from '../container/record.ts';
import type { Store } from '../store/store.ts';
import type { Change } from '../tree/diff.ts';

/** What a container changed over its image, as `docker diff` lists it. Throws `NO_SUCH_CONTAINER`. */
export function diffByName(store: Store, container: string): Change[] {
  return diffContainer(store, findContainer(store, container));
}
