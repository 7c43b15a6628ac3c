import type { Digest } from '../../core/digest.ts';
import { WIRE_ERRORS } from '../wire/errors.ts';
import { isTag } from '../wire/names.ts';
import { readSmallBody } from './body.ts';
import { decodeDocument, type FoundManifest, type TagRecord } from './documents.ts';
import type { Exchange } from './exchange.ts';
import { WireFailure } from './failure.ts';
import { tagKey } from './keys.ts';
import {
  checkManifest,
  findManifest,
  readManifestBytes,
  removeManifest,
  removeTag,
  storeManifest,
  writeTag,
} from './manifest-store.ts';
import { type Headers, isUnchanged, matchesEtag, sendBytes } from './responses.ts';
import { type ManifestReference, manifestUnknown } from './route.ts';

/** `GET` and `HEAD`. What was pushed is answered, whatever `Accept` says: nothing is converted. */
export async function getManifest(exchange: Exchange, repository: string, reference: ManifestReference): Promise<void> {
  const { registry, request, response, proxy } = exchange;
  const found =
    proxy === undefined
      ? await findManifest(registry, repository, reference)
      : await proxy.findManifest(repository, reference);
  if (found === undefined) throw manifestUnknown(reference);
  const headers = manifestHeaders(found);
  if (isUnchanged(request.headers['if-none-match'], found.digest)) return sendBytes(exchange, 304, headers);
  if (request.method === 'HEAD') {
    headers['Content-Length'] = found.size;
    response.writeHead(200, headers).end();
    return;
  }
  const bytes = await readManifestBytes(registry, found.digest);
  if (bytes === undefined) throw manifestUnknown(reference);
  sendBytes(exchange, 200, headers, bytes);
}

/** `PUT`, by tag or by digest with any number of `?tag=`. OCI distribution-spec v1.1.1 §Pushing Manifests, end-7b of 1.2. */
export async function putManifest(exchange: Exchange, repository: string, reference: ManifestReference): Promise<void> {
  const { registry, request } = exchange;
  const tags = wantedTags(exchange, reference);
  const bytes = await readSmallBody(exchange, registry.limits.manifestBytes);
  const manifest = checkManifest(registry, bytes, request.headers['content-type'] ?? '', reference.digest);
  const expect = await readPrecondition(exchange, repository, reference);
  await storeManifest(registry, repository, manifest);
  for (const tag of tags) await writeTag(registry, repository, tag, manifest, expect);
  const { digest, facts } = manifest;
  const headers: Headers = {
    Location: `/v2/${repository}/manifests/${digest}`,
    'Docker-Content-Digest': digest,
  };
  if (facts.subject !== undefined) headers['OCI-Subject'] = facts.subject;
  if (reference.tag === undefined && tags.length > 0) headers['OCI-Tag'] = tags;
  sendBytes(exchange, 201, headers);
}

/** `DELETE` by digest takes the manifest and its tags; by tag, the tag alone. */
export async function deleteManifest(
  exchange: Exchange,
  repository: string,
  reference: ManifestReference,
): Promise<void> {
  const { registry } = exchange;
  const removed =
    reference.tag === undefined
      ? await removeManifest(registry, repository, reference.digest)
      : await removeTag(registry, repository, reference.tag);
  if (!removed) throw manifestUnknown(reference);
  sendBytes(exchange, 202, {});
}

function manifestHeaders(found: FoundManifest): Headers {
  return {
    'Content-Type': found.mediaType,
    'Docker-Content-Digest': found.digest,
    ETag: `"${found.digest}"`,
  };
}

function wantedTags({ query, registry }: Exchange, reference: ManifestReference): string[] {
  if (reference.tag !== undefined) return [reference.tag];
  const tags = [...new Set(query.getAll('tag'))];
  const bad = tags.find((tag) => !isTag(tag));
  if (bad !== undefined) {
    throw new WireFailure(WIRE_ERRORS.tagInvalid, 'invalid tag', { detail: { tag: bad.slice(0, 300) } });
  }
  if (tags.length > registry.limits.tagsPerPush) {
    throw new WireFailure(WIRE_ERRORS.unsupported, `at most ${registry.limits.tagsPerPush} tags at once`, {
      status: 414,
    });
  }
  return tags;
}

/**
 * `If-Match` and `If-None-Match` on a push by tag (RFC 9110 §13.1), so that two clients which change the same index do not
 * overwrite each other. Returns what the tag must still be when it is written.
 */
async function readPrecondition(
  { registry, request }: Exchange,
  repository: string,
  { tag }: ManifestReference,
): Promise<string | undefined> {
  const match = request.headers['if-match'];
  const noneMatch = request.headers['if-none-match'];
  if (tag === undefined || (match === undefined && noneMatch === undefined)) return undefined;
  const document = await registry.storage.readDocument(tagKey(repository, tag));
  const digest: Digest | undefined = document && decodeDocument<TagRecord>(document).digest;
  const holds =
    (match === undefined || (digest !== undefined && matchesEtag(match, digest))) &&
    (noneMatch === undefined || digest === undefined || !matchesEtag(noneMatch, digest));
  if (!holds) {
    throw new WireFailure(WIRE_ERRORS.preconditionFailed, 'the tag is not what the request expects', {
      detail: { digest },
    });
  }
  return document?.version ?? 'absent';
}
