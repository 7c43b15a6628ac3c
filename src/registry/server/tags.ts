import { WIRE_ERRORS } from '../wire/errors.ts';
import { isTag } from '../wire/names.ts';
import type { Exchange } from './exchange.ts';
import { WireFailure } from './failure.ts';
import { tagKey, tagsPrefix } from './keys.ts';
import { listKeys, nextPage, readPageRequest } from './pages.ts';
import { isRepositoryKnown } from './repositories.ts';
import { sendJson } from './responses.ts';

/** `GET …/tags/list`, in the order of bytes. OCI distribution-spec v1.1.1 §Listing Tags. */
export async function listTags(exchange: Exchange, repository: string): Promise<void> {
  const { limit, last } = readPageRequest(exchange, isTag);
  const prefix = tagsPrefix(repository);
  const after = last === undefined ? undefined : tagKey(repository, last);
  const { keys, more } = await listKeys(exchange, prefix, limit, after);
  const tags = keys.map((key) => key.slice(prefix.length));
  if (tags.length === 0 && !(await isRepositoryKnown(exchange.registry, repository))) {
    throw new WireFailure(WIRE_ERRORS.nameUnknown, 'the registry has no such repository', {
      detail: { name: repository },
    });
  }
  const link = more ? nextPage(exchange, `/v2/${repository}/tags/list`, limit, tags.at(-1)!) : {};
  sendJson(exchange, { name: repository, tags }, link);
}
