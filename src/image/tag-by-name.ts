import { ImagoError } from '../core/errors.ts';
import { formatReference, parseReference, type Reference } from '../oci/reference.ts';
import type { Store } from '../store/store.ts';
import { resolveImage } from './resolve.ts';
import { tagImage } from './tags.ts';

/** A name that a user wants to give: with a tag, without a digest. Throws `BAD_REFERENCE`. */
export function parseTag(text: string): Reference {
  const reference = parseReference(text);
  if (reference.digest === undefined) return reference;
  throw new ImagoError('BAD_REFERENCE', 'refusing to create a tag with a digest reference', { got: text });
}

/** Gives an image one more name, taking it from what had it before. Returns the name in full. */
export function tagByName(store: Store, source: string, target: string): string {
  const reference = formatReference(parseTag(target));
  const { target: descriptor } = resolveImage(store, source);
  // From before it is named until it is: another command may remove the source meanwhile.
  using lease = store.lease('tag');
  lease.add(descriptor.digest);
  tagImage(store, reference, descriptor);
  return reference;
}
