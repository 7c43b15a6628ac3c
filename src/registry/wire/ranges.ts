/** Bytes: inclusive start, exclusive end. */
export interface Span {
  start: number;
  end: number;
}

/** Fifteen digits stay exact as a number. */
const UPLOAD_RANGE = /^(?:bytes[ =])?(\d{1,15})-(\d{1,15})(?:\/(?:\d{1,15}|\*))?$/;
const BYTE_RANGE = /^bytes=(\d{0,15})-(\d{0,15})$/i;
const CONTENT_RANGE = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/i;

/**
 * `Content-Range` of an uploaded chunk and `Range` of an upload's state: `0-1023`, both ends inclusive
 * (OCI distribution-spec v1.1.1 §Pushing a blob in chunks). RFC 9110's form (`bytes 0-1023/*`) is taken, too: clients
 * send it. Undefined where it is neither.
 */
export function parseUploadRange(header: string): Span | undefined {
  const match = UPLOAD_RANGE.exec(header.trim());
  if (match === null) return undefined;
  const start = Number(match[1]);
  const end = Number(match[2]) + 1;
  return end > start ? { start, end } : undefined;
}

/** `Range` of an upload that has `size` bytes. Nothing yet is `0-0`, as all registries say it. */
export function formatUploadRange(size: number): string {
  return `0-${Math.max(size - 1, 0)}`;
}

/**
 * `Range` of a GET for something of `size` bytes (RFC 9110 §14.2). Several ranges, other units and bad syntax count as
 * no range, which the RFC permits; a range that ends before it begins is not satisfiable.
 */
export function parseByteRange(header: string | undefined, size: number): Span | 'whole' | 'unsatisfiable' {
  if (header === undefined) return 'whole';
  const match = BYTE_RANGE.exec(header.trim());
  if (match === null) return 'whole';
  const [, first = '', last = ''] = match;
  if (first === '') {
    if (last === '') return 'whole';
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size };
  }
  const start = Number(first);
  const end = last === '' ? size : Math.min(Number(last) + 1, size);
  return start < size && end > start ? { start, end } : 'unsatisfiable';
}

/** `Content-Range` of a 206 answer. */
export function formatContentRange(span: Span, size: number): string {
  return `bytes ${span.start}-${span.end - 1}/${size}`;
}

/** Reads it; `size` is undefined where the server does not tell (`*`). Undefined for bad syntax. */
export function parseContentRange(header: string): (Span & { size: number | undefined }) | undefined {
  const match = CONTENT_RANGE.exec(header.trim());
  if (match === null) return undefined;
  const start = Number(match[1]);
  const end = Number(match[2]) + 1;
  const size = match[3] === '*' ? undefined : Number(match[3]);
  return end > start && (size === undefined || end <= size) ? { start, end, size } : undefined;
}
