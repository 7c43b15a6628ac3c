import { type Digest, isDigest } from '../../core/digest.ts';
import { MEDIA_TYPES } from '../../oci/media-types.ts';
import { decodeDocument, type Referrer } from './documents.ts';
import type { Exchange } from './exchange.ts';
import { referrerKey, referrersPrefix } from './keys.ts';
import { nextPage, readPageRequest } from './pages.ts';
import { mapBounded } from './parallel.ts';
import { sendJson } from './responses.ts';

/** Bytes of a page, so that clients take it: they bound indexes at 4 MiB. One entry is never cut. */
const PAGE_BYTES = 3 * 2 ** 20;
/** Entries that are read at once, each of up to the size of a manifest. */
const STEP = 64;

/** `GET …/referrers/DIGEST`: an index of what refers to it. OCI distribution-spec v1.1.1 §Listing Referrers. */
export async function listReferrers(exchange: Exchange, repository: string, subject: Digest): Promise<void> {
  const { query, registry } = exchange;
  const { limit, last } = readPageRequest(exchange, isDigest);
  const artifactType = query.get('artifactType') || undefined;
  const manifests: Referrer[] = [];
  let bytes = 0;
  let after = last === undefined ? undefined : referrerKey(repository, subject, last as Digest);
  let next: string | undefined;
  do {
    const step = { limit: Math.min(STEP, Math.max(limit, 1)), ...(after === undefined ? {} : { after }) };
    const page = await registry.storage.listDocuments(referrersPrefix(repository, subject), step);
    const documents = await mapBounded(page.keys, ({ key }) => registry.storage.readDocument(key));
    next = undefined;
    for (const [index, document] of documents.entries()) {
      const referrer = document && decodeDocument<Referrer>(document);
      if (referrer === undefined || (artifactType !== undefined && referrer.artifactType !== artifactType)) continue;
      if (manifests.length >= limit || (manifests.length > 0 && bytes + document!.bytes.length > PAGE_BYTES)) {
        next = manifests.at(-1)?.digest;
        break;
      }
      manifests.push(referrer);
      bytes += document!.bytes.length;
      after = page.keys[index]!.key;
    }
    if (next !== undefined) break;
    after = page.next;
  } while (after !== undefined && limit > 0);
  const headers: Record<string, string> = { 'Content-Type': MEDIA_TYPES.index };
  if (artifactType !== undefined) headers['OCI-Filters-Applied'] = 'artifactType';
  const path = `/v2/${repository}/referrers/${subject}`;
  if (next !== undefined) Object.assign(headers, nextPage(exchange, path, limit, next));
  sendJson(exchange, { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests }, headers);
}
