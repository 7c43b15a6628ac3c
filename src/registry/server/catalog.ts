import { isRepositoryName } from '../wire/names.ts';
import type { Exchange } from './exchange.ts';
import { CATALOG_PREFIX, catalogKey, parseKey } from './keys.ts';
import { listKeys, nextPage, readPageRequest } from './pages.ts';
import { sendJson } from './responses.ts';

/** `GET /v2/_catalog`, of Docker's registry: repositories that anything was ever pushed to, ordered as if each ended in '/'. */
export async function listCatalog(exchange: Exchange): Promise<void> {
  const { limit, last } = readPageRequest(exchange, isRepositoryName);
  const after = last === undefined ? undefined : catalogKey(last);
  const { keys, more } = await listKeys(exchange, CATALOG_PREFIX, limit, after);
  const repositories = keys.flatMap((key) => {
    const parsed = parseKey(key);
    return parsed?.kind === 'catalog' ? [parsed.repository] : [];
  });
  const link = more ? nextPage(exchange, '/v2/_catalog', limit, repositories.at(-1)!) : {};
  sendJson(exchange, { repositories }, link);
}
