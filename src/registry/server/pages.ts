import { WIRE_ERRORS } from '../wire/errors.ts';
import { formatLink } from '../wire/link.ts';
import type { Exchange } from './exchange.ts';
import { WireFailure } from './failure.ts';

/** What `n` and `last` ask for: at most `limit` entries after `last`. */
export interface PageRequest {
  limit: number;
  last: string | undefined;
}

/** Throws 400 for an `n` that is no number, or a `last` that cannot be an entry. */
export function readPageRequest({ query, registry }: Exchange, isEntry: (text: string) => boolean): PageRequest {
  const n = query.get('n');
  const last = query.get('last') || undefined;
  if (n !== null && !/^\d{1,9}$/.test(n)) {
    throw new WireFailure(WIRE_ERRORS.paginationInvalid, 'n is not a number of entries', {
      detail: { n: n.slice(0, 100) },
    });
  }
  if (last !== undefined && !isEntry(last)) {
    throw new WireFailure(WIRE_ERRORS.paginationInvalid, 'last is not an entry of this list', {
      detail: { last: last.slice(0, 300) },
    });
  }
  return { limit: Math.min(n === null ? Number.POSITIVE_INFINITY : Number(n), registry.limits.pageEntries), last };
}

/** `Link` to the page after `last`; other parameters stay as they are. */
export function nextPage({ query }: Exchange, path: string, limit: number, last: string): Record<string, string> {
  const parameters = new URLSearchParams(query);
  parameters.set('n', String(limit));
  parameters.set('last', last);
  return { Link: formatLink({ url: `${path}?${parameters}`, rel: 'next' }) };
}

/** Deleted keys may stand in a storage's pages for a while, so that they are short: that many are asked for at least. */
const LEAST_PAGE = 100;

/** Exactly `limit` keys after `after`, or all that are left; `more` where others may follow. */
export async function listKeys(
  { registry }: Exchange,
  prefix: string,
  limit: number,
  after: string | undefined,
): Promise<{ keys: string[]; more: boolean }> {
  const keys: string[] = [];
  let from = after;
  while (keys.length < limit) {
    const step = { limit: Math.min(Math.max(limit - keys.length, LEAST_PAGE), 1000) };
    const page = await registry.storage.listDocuments(prefix, from === undefined ? step : { ...step, after: from });
    for (const { key } of page.keys) {
      if (keys.length === limit) return { keys, more: true };
      keys.push(key);
    }
    if (page.next === undefined) return { keys, more: false };
    from = page.next;
  }
  return { keys, more: limit > 0 };
}
