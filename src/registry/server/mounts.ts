import type { Digest } from '../../core/digest.ts';
import { isRepositoryName } from '../wire/names.ts';
import type { Exchange } from './exchange.ts';
import { CATALOG_PREFIX, parseKey } from './keys.ts';
import { findBlob, findUncondemned, linkBlob, unlinkBlob } from './repositories.ts';

/** Repositories that an automatic mount looks into. */
const MAX_SOURCES = 1000;

/**
 * Links a blob of another repository that the client may pull from. False where that cannot be: the client uploads it.
 * OCI distribution-spec v1.1.1 §Mounting a blob from another repository; without `from` where automatic mounts are on.
 */
export async function mountBlob(
  exchange: Exchange,
  repository: string,
  digest: Digest,
  from: string | null,
): Promise<boolean> {
  const { registry } = exchange;
  if (!(await mayMount(exchange, digest, from))) return false;
  const stat = await findUncondemned(registry, digest);
  if (stat === undefined) return false;
  await linkBlob(registry, repository, digest, stat.size);
  // The link is written: a collector that comes now sees it. One that was quicker is seen here.
  if ((await findUncondemned(registry, digest)) !== undefined) return true;
  await unlinkBlob(registry, repository, digest);
  return false;
}

async function mayMount(exchange: Exchange, digest: Digest, from: string | null): Promise<boolean> {
  const { registry } = exchange;
  if (from !== null && from !== '') {
    if (!isRepositoryName(from) || !(await exchange.may({ repository: from, action: 'pull' }))) return false;
    return (await findBlob(registry, from, digest)) !== undefined;
  }
  if (exchange.automaticMounts === 'open') return true;
  return exchange.automaticMounts === 'asked' && (await findSource(exchange, digest));
}

async function findSource(exchange: Exchange, digest: Digest): Promise<boolean> {
  const { registry } = exchange;
  const { keys } = await registry.storage.listDocuments(CATALOG_PREFIX, { limit: MAX_SOURCES });
  for (const { key } of keys) {
    const parsed = parseKey(key);
    if (parsed?.kind !== 'catalog') continue;
    if ((await findBlob(registry, parsed.repository, digest)) === undefined) continue;
    if (await exchange.may({ repository: parsed.repository, action: 'pull' })) return true;
  }
  return false;
}
