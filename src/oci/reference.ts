import { type Digest, parseDigest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';

/** The name of an image, in full: nothing is implied. `path` is the repository without its registry. */
export interface Reference {
  domain: string;
  path: string;
  tag?: string;
  digest?: Digest;
}

const DEFAULT_DOMAIN = 'docker.io';
const LEGACY_DOMAIN = 'index.docker.io';
const OFFICIAL = 'library/';
const DEFAULT_TAG = 'latest';
const MAX_PATH = 255;

// The grammar of github.com/distribution/reference v0.6.0, regexp.go.
const HOST_COMPONENT = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const HOST = `(?:${HOST_COMPONENT}(?:\\.${HOST_COMPONENT})*|\\[[a-fA-F0-9:]+\\])`;
const DOMAIN = `${HOST}(?::[0-9]+)?`;
const PATH_COMPONENT = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const PATH = `${PATH_COMPONENT}(?:/${PATH_COMPONENT})*`;
const TAG = '\\w[\\w.-]{0,127}';
const DIGEST = '[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}';
const REFERENCE = new RegExp(`^(?:(${DOMAIN})/)?(${PATH})(?::(${TAG}))?(?:@(${DIGEST}))?$`);
// A longer text cannot match, and the nested repetitions above must not be fed megabytes.
const MAX_TEXT = 4096;

/**
 * A reference as people type it → in full, by Docker's rules (distribution/reference v0.6.0, normalize.go):
 * `alpine` → docker.io/library/alpine:latest. Without tag and digest the tag is `latest`, unless `defaultTag` is false.
 * Throws `BAD_REFERENCE` with Docker's words.
 */
export function parseReference(text: string, options: { defaultTag?: boolean } = {}): Reference {
  if (/^[a-f0-9]{64}$/.test(text)) {
    throw badReference(text, `invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`);
  }
  if (text.length > MAX_TEXT) throw badReference(text, 'invalid reference format: too long');
  const { domain, remainder } = splitDomain(text);
  const colon = remainder.indexOf(':');
  const remote = colon < 0 ? remainder : remainder.slice(0, colon);
  if (/[A-Z]/.test(remote)) {
    throw badReference(text, `invalid reference format: repository name (${remote}) must be lowercase`);
  }
  const match = REFERENCE.exec(`${domain}/${remainder}`);
  if (match === null) throw badReference(text, 'invalid reference format');
  const path = match[2]!;
  if (path.length > MAX_PATH) {
    throw badReference(text, `invalid reference format: repository name must not be more than ${MAX_PATH} characters`);
  }
  const reference: Reference = { domain: match[1]!, path };
  if (match[3] !== undefined) reference.tag = match[3];
  if (match[4] !== undefined) reference.digest = parseDigest(match[4]);
  if (match[3] === undefined && match[4] === undefined && options.defaultTag !== false) reference.tag = DEFAULT_TAG;
  return reference;
}

/** `domain/path[:tag][@digest]`, the key of the store. Reads back with `parseReference`. */
export function formatReference(reference: Reference): string {
  return suffixed(repositoryName(reference), reference);
}

/** The short form that Docker prints: docker.io/library/alpine:latest → `alpine:latest`. */
export function familiarReference(reference: Reference): string {
  return suffixed(familiarName(reference), reference);
}

/** `domain/path`, without tag and digest. */
export function repositoryName(reference: Reference): string {
  return `${reference.domain}/${reference.path}`;
}

/** The repository as Docker prints it: without docker.io/ and library/. */
export function familiarName(reference: Reference): string {
  if (reference.domain !== DEFAULT_DOMAIN) return repositoryName(reference);
  const path = reference.path;
  if (!path.startsWith(OFFICIAL)) return path;
  const name = path.slice(OFFICIAL.length);
  return name.includes('/') ? path : name;
}

function splitDomain(text: string): { domain: string; remainder: string } {
  const slash = text.indexOf('/');
  if (slash < 0) return { domain: DEFAULT_DOMAIN, remainder: OFFICIAL + text };
  const first = text.slice(0, slash);
  let domain = DEFAULT_DOMAIN;
  let remainder = text;
  // Upper case is not allowed in a namespace, so it must be a host name.
  if (first === LEGACY_DOMAIN) remainder = text.slice(slash + 1);
  else if (first === 'localhost' || /[.:A-Z]/.test(first)) {
    domain = first;
    remainder = text.slice(slash + 1);
  }
  if (domain === DEFAULT_DOMAIN && !remainder.includes('/')) remainder = OFFICIAL + remainder;
  return { domain, remainder };
}

function suffixed(name: string, { tag, digest }: Reference): string {
  return `${name}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

function badReference(text: string, message: string): ImagoError {
  const shown = text.length > 100 ? `${text.slice(0, 100)}…` : text;
  const got = shown !== '' && message.includes(shown) ? {} : { got: JSON.stringify(shown) };
  return new ImagoError('BAD_REFERENCE', message, {
    ...got,
    remedy: 'a name is [HOST[:PORT]/]PATH[:TAG][@DIGEST] in lower case, as debian:bookworm',
  });
}
