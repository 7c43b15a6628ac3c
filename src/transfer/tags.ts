import { ImagoError } from '../core/errors.ts';
import { parseReference, type Reference } from '../oci/reference.ts';
import { openRepository } from '../registry/client/repository.ts';
import type { ClientOptions } from '../registry/client/types.ts';

export interface ListTagsOptions extends ClientOptions {
  /** Tags, at most. */
  limit?: number;
}

/**
 * The tags of a repository in a registry, in its order, page by page as they are asked for. Throws `BAD_REFERENCE`, and
 * what the registry's client throws.
 */
export async function* listRemoteTags(repository: string, options: ListTagsOptions = {}): AsyncGenerator<string> {
  const { limit = Number.POSITIVE_INFINITY, ...client } = options;
  const reference = parseRepository(repository);
  if (limit <= 0) return;
  let count = 0;
  await using source = openRepository(reference, client);
  for await (const tag of source.listTags()) {
    yield tag;
    if (++count >= limit) return;
  }
}

/** Throws `BAD_REFERENCE` for a name with a tag or digest. */
export function parseRepository(text: string): Reference {
  const reference = parseReference(text, { defaultTag: false });
  if (reference.tag === undefined && reference.digest === undefined) return reference;
  throw new ImagoError('BAD_REFERENCE', 'this names one image, not a repository', {
    got: text,
    remedy: 'leave out the tag and the digest',
  });
}
