import { listRecords } from '../container/record.ts';
import { isUntagged } from '../image/tags.ts';
import { familiarReference, parseReference } from '../oci/reference.ts';
import type { Store } from '../store/store.ts';

/** The names of images as people type them, with their tags. Reads no image. */
export function listImageNames(store: Store): string[] {
  return store
    .listRefs()
    .filter(({ reference }) => !isUntagged(reference))
    .map(({ reference }) => familiarReference(parseReference(reference)));
}

/** The names of all containers. */
export function listContainerNames(store: Store): string[] {
  return listRecords(store).map(({ name }) => name);
}
