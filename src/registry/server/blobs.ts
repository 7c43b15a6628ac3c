import type { Digest } from '../../core/digest.ts';
import type { BlobStat } from '../storage/storage.ts';
import { WIRE_ERRORS } from '../wire/errors.ts';
import { formatContentRange, parseByteRange } from '../wire/ranges.ts';
import type { Exchange } from './exchange.ts';
import { WireFailure } from './failure.ts';
import { blobLinkKey } from './keys.ts';
import { findBlob, findBlobForPush, unlinkBlob } from './repositories.ts';
import { type Headers, isUnchanged, matchesEtag, sendBytes, sendStream } from './responses.ts';

/** `GET` of a blob: whole, or one range (RFC 9110 §14). */
export async function getBlob(exchange: Exchange, repository: string, digest: Digest): Promise<void> {
  const { registry, request } = exchange;
  const linked = (await registry.storage.readDocument(blobLinkKey(repository, digest))) !== undefined;
  const rangeHeader = request.headers.range;
  const stat = linked && rangeHeader !== undefined ? await registry.storage.statBlob(digest) : undefined;
  const range = stat === undefined ? 'whole' : wantedRange(exchange, digest, stat.size);
  const headers = blobHeaders(digest);
  if (linked && isUnchanged(request.headers['if-none-match'], digest)) {
    if (await registry.storage.statBlob(digest)) return sendBytes(exchange, 304, headers);
  }
  if (range === 'unsatisfiable') throw unsatisfiable(stat!.size);
  const span = range === 'whole' ? undefined : range;
  const blob = linked ? await registry.storage.openBlob(digest, span) : undefined;
  if (blob === undefined) return getProxied(exchange, repository, digest);
  if (span === undefined) return sendStream(exchange, 200, headers, { stream: blob.stream, length: blob.size });
  headers['Content-Range'] = formatContentRange(span, blob.size);
  return sendStream(exchange, 206, headers, { stream: blob.stream, length: span.end - span.start });
}

/** `HEAD`: also how a push asks whether it may leave the upload out. */
export async function headBlob(exchange: Exchange, repository: string, digest: Digest): Promise<void> {
  const { registry, proxy, request } = exchange;
  const find = registry.readOnly ? findBlob : findBlobForPush;
  const stat: Pick<BlobStat, 'size'> | undefined =
    (await find(registry, repository, digest)) ?? (await proxy?.findBlob(repository, digest));
  if (stat === undefined) throw blobUnknown(digest);
  const headers = blobHeaders(digest);
  if (isUnchanged(request.headers['if-none-match'], digest)) return sendBytes(exchange, 304, headers);
  headers['Content-Length'] = stat.size;
  exchange.response.writeHead(200, headers).end();
}

export async function deleteBlob(exchange: Exchange, repository: string, digest: Digest): Promise<void> {
  if (!(await unlinkBlob(exchange.registry, repository, digest))) throw blobUnknown(digest);
  sendBytes(exchange, 202, {});
}

function blobUnknown(digest: Digest): WireFailure {
  return new WireFailure(WIRE_ERRORS.blobUnknown, 'the repository has no such blob', { detail: { digest } });
}

async function getProxied(exchange: Exchange, repository: string, digest: Digest): Promise<void> {
  const found = await exchange.proxy?.findBlob(repository, digest);
  if (found === undefined) throw blobUnknown(digest);
  const stream = await found.open();
  return sendStream(exchange, 200, blobHeaders(digest), { stream, length: found.size });
}

function blobHeaders(digest: Digest): Headers {
  return {
    'Content-Type': 'application/octet-stream',
    'Docker-Content-Digest': digest,
    'Accept-Ranges': 'bytes',
    ETag: `"${digest}"`,
  };
}

function wantedRange({ request }: Exchange, digest: Digest, size: number): ReturnType<typeof parseByteRange> {
  const condition = request.headers['if-range'] as string | undefined;
  if (condition !== undefined && !matchesEtag(condition, digest)) return 'whole';
  return parseByteRange(request.headers.range, size);
}

function unsatisfiable(size: number): WireFailure {
  return new WireFailure(WIRE_ERRORS.rangeInvalid, 'the range is outside of the blob', {
    detail: { size },
    headers: { 'Content-Range': `bytes */${size}` },
  });
}
