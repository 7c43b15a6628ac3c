/** One entry of an error answer's list. OCI distribution-spec v1.1.1 §Error Codes. */
export interface WireError {
  code: string;
  message: string;
  detail?: unknown;
}

/** A kind of error: what goes over the wire, and the HTTP status that it usually comes with. */
export interface WireErrorKind {
  code: string;
  status: number;
  message: string;
}

type WireErrorName =
  | 'blobUnknown'
  | 'blobUploadInvalid'
  | 'blobUploadUnknown'
  | 'digestInvalid'
  | 'manifestBlobUnknown'
  | 'manifestInvalid'
  | 'manifestUnknown'
  | 'nameInvalid'
  | 'nameUnknown'
  | 'sizeInvalid'
  | 'unauthorized'
  | 'denied'
  | 'unsupported'
  | 'tooManyRequests'
  | 'tagInvalid'
  | 'rangeInvalid'
  | 'paginationInvalid'
  | 'unavailable'
  | 'unknown'
  | 'preconditionFailed'
  | 'notFound';

/** OCI distribution-spec v1.1.1 §Error Codes; the last seven are Docker's registry's own, which clients know as well. */
export const WIRE_ERRORS: Readonly<Record<WireErrorName, WireErrorKind>> = {
  blobUnknown: { code: 'BLOB_UNKNOWN', status: 404, message: 'blob unknown to registry' },
  blobUploadInvalid: { code: 'BLOB_UPLOAD_INVALID', status: 400, message: 'blob upload invalid' },
  blobUploadUnknown: { code: 'BLOB_UPLOAD_UNKNOWN', status: 404, message: 'blob upload unknown to registry' },
  digestInvalid: { code: 'DIGEST_INVALID', status: 400, message: 'provided digest did not match uploaded content' },
  manifestBlobUnknown: {
    code: 'MANIFEST_BLOB_UNKNOWN',
    status: 404,
    message: 'manifest references a manifest or blob unknown to registry',
  },
  manifestInvalid: { code: 'MANIFEST_INVALID', status: 400, message: 'manifest invalid' },
  manifestUnknown: { code: 'MANIFEST_UNKNOWN', status: 404, message: 'manifest unknown to registry' },
  nameInvalid: { code: 'NAME_INVALID', status: 400, message: 'invalid repository name' },
  nameUnknown: { code: 'NAME_UNKNOWN', status: 404, message: 'repository name not known to registry' },
  sizeInvalid: { code: 'SIZE_INVALID', status: 400, message: 'provided length did not match content length' },
  unauthorized: { code: 'UNAUTHORIZED', status: 401, message: 'authentication required' },
  denied: { code: 'DENIED', status: 403, message: 'requested access to the resource is denied' },
  unsupported: { code: 'UNSUPPORTED', status: 405, message: 'the operation is unsupported' },
  tooManyRequests: { code: 'TOOMANYREQUESTS', status: 429, message: 'too many requests' },
  tagInvalid: { code: 'TAG_INVALID', status: 400, message: 'manifest tag did not match URI' },
  rangeInvalid: { code: 'RANGE_INVALID', status: 416, message: 'invalid content range' },
  paginationInvalid: {
    code: 'PAGINATION_NUMBER_INVALID',
    status: 400,
    message: 'invalid number of results requested',
  },
  unavailable: { code: 'UNAVAILABLE', status: 503, message: 'service unavailable' },
  unknown: { code: 'UNKNOWN', status: 500, message: 'unknown error' },
  preconditionFailed: { code: 'PRECONDITION_FAILED', status: 412, message: 'the precondition does not hold' },
  notFound: { code: 'NOT_FOUND', status: 404, message: 'no such end point' },
};

/** The body of an error answer, JSON. */
export function encodeErrors(list: readonly WireError[]): Buffer {
  return Buffer.from(`${JSON.stringify({ errors: list })}\n`);
}

const MAX_ERRORS = 32;
const MAX_MESSAGE = 1000;

/**
 * What a registry said in an error answer; empty where the body is HTML, empty, or JSON of another kind. Never throws.
 * Bounded: at most 32 entries, messages of at most 1000 characters.
 */
export function parseErrors(body: Uint8Array): WireError[] {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8'));
  } catch {
    return [];
  }
  const errors = isObject(value) ? value.errors : undefined;
  if (!Array.isArray(errors)) return [];
  const out: WireError[] = [];
  for (const item of errors.slice(0, MAX_ERRORS)) {
    if (!isObject(item)) continue;
    const code = textOf(item.code);
    const message = textOf(item.message);
    if (code === '' && message === '') continue;
    out.push(item.detail === undefined ? { code, message } : { code, message, detail: item.detail });
  }
  return out;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, MAX_MESSAGE) : '';
}
