import { type Digest, isDigest } from '../../core/digest.ts';
import { WIRE_ERRORS } from '../wire/errors.ts';
import { isRepositoryName, isTag } from '../wire/names.ts';
import { WireFailure } from './failure.ts';

/** What a manifest is asked for by. */
export type ManifestReference = { tag: string; digest?: undefined } | { digest: Digest; tag?: undefined };

/** An end point of OCI distribution-spec v1.1.1 §Endpoints, with what its path names, checked. */
export type Route =
  | { name: 'base'; repository?: undefined }
  | { name: 'catalog'; repository?: undefined }
  | { name: 'unknown'; repository?: undefined }
  | { name: 'tags'; repository: string }
  | { name: 'uploads'; repository: string }
  | { name: 'referrers'; repository: string; digest: Digest }
  | { name: 'blob'; repository: string; digest: Digest }
  | { name: 'manifest'; repository: string; reference: ManifestReference }
  | { name: 'upload'; repository: string; id: string };

const UPLOAD_ID = /^[A-Za-z0-9][A-Za-z0-9._=-]{0,127}$/;
/** A name, a kind, a digest, percent-encoded. */
const MAX_PATH = 2048;
/** What the storage takes as a part of a key. */
const MAX_COMPONENT = 200;

/**
 * Finds the end point of a path (without query). Names are matched as they stand, so an encoded `..` or `/` is no name;
 * only the last part is decoded, since clients encode the colon of digests. Throws a `WireFailure` for a bad name or
 * digest, and for a bad tag: no manifest has one (404), nor can be given one by PUT (400).
 */
export function parseRoute(path: string, method = 'GET'): Route {
  if (path === '/v2/' || path === '/v2') return { name: 'base' };
  if (!path.startsWith('/v2/') || path.length > MAX_PATH) return { name: 'unknown' };
  if (path === '/v2/_catalog') return { name: 'catalog' };
  const last = path.lastIndexOf('/');
  const kindStart = path.lastIndexOf('/', last - 1);
  const kind = path.slice(kindStart + 1, last);
  const tail = path.slice(last + 1);
  const before = path.slice('/v2/'.length, Math.max(kindStart, 0));
  if (kind === 'manifests')
    return { name: 'manifest', repository: nameOf(before), reference: referenceOf(tail, method) };
  if (kind === 'blobs' && tail === 'uploads') return { name: 'uploads', repository: nameOf(before) };
  if (kind === 'blobs') return { name: 'blob', repository: nameOf(before), digest: digestOf(tail) };
  if (kind === 'uploads' && before.endsWith('/blobs')) {
    const repository = nameOf(before.slice(0, -'/blobs'.length));
    return tail === '' ? { name: 'uploads', repository } : { name: 'upload', repository, id: uploadOf(tail) };
  }
  if (kind === 'tags' && tail === 'list') return { name: 'tags', repository: nameOf(before) };
  if (kind === 'referrers') return { name: 'referrers', repository: nameOf(before), digest: digestOf(tail) };
  return { name: 'unknown' };
}

function nameOf(text: string): string {
  if (isRepositoryName(text) && text.split('/').every((part) => part.length <= MAX_COMPONENT)) return text;
  throw new WireFailure(WIRE_ERRORS.nameInvalid, 'invalid repository name', { detail: { name: text.slice(0, 300) } });
}

function referenceOf(text: string, method: string): ManifestReference {
  const reference = decode(text);
  if (isDigest(reference)) return { digest: reference };
  if (isTag(reference)) return { tag: reference };
  if (reference.includes(':')) throw badDigest(reference);
  if (method !== 'PUT') throw manifestUnknown({ tag: reference.slice(0, 300) });
  throw new WireFailure(WIRE_ERRORS.tagInvalid, 'invalid tag', { detail: { tag: reference.slice(0, 300) } });
}

function digestOf(text: string): Digest {
  const digest = decode(text);
  if (isDigest(digest)) return digest;
  throw badDigest(digest);
}

/** For digests in queries as well. */
export function badDigest(text: string): WireFailure {
  return new WireFailure(WIRE_ERRORS.digestInvalid, 'invalid digest: wanted sha256:<64 hex> or sha512:<128 hex>', {
    detail: { digest: text.slice(0, 300) },
  });
}

export function manifestUnknown(detail: object): WireFailure {
  return new WireFailure(WIRE_ERRORS.manifestUnknown, 'the repository has no such manifest', { detail });
}

function uploadOf(id: string): string {
  if (UPLOAD_ID.test(id)) return id;
  throw new WireFailure(WIRE_ERRORS.blobUploadUnknown, 'no such upload');
}

function decode(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
