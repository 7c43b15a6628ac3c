import { formatPlatform, normalizePlatform, type Platform } from './platform.ts';
import { familiarName, parseReference } from './reference.ts';

/** Parts of a package URL (github.com/package-url/purl-spec). */
export interface PackageUrl {
  type: string;
  /** May have slashes. */
  namespace?: string;
  name: string;
  version?: string;
  /** Those with no value are left out. */
  qualifiers?: Readonly<Record<string, string | undefined>>;
}

export function formatPurl({ type, namespace, name, version, qualifiers = {} }: PackageUrl): string {
  const path = [...(namespace ?? '').split('/'), name].filter((part) => part !== '').map(encode);
  const query = Object.entries(qualifiers)
    .filter((entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== '')
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${encode(value)}`);
  const at = version === undefined || version === '' ? '' : `@${encode(version)}`;
  return `pkg:${type}/${path.join('/')}${at}${query.length === 0 ? '' : `?${query.join('&')}`}`;
}

/** As BuildKit names images in attestations: `pkg:docker/alpine@3.17?platform=linux%2Famd64`. */
export function imagePurl(reference: string, platform?: Platform): string {
  const named = parseReference(reference);
  const name = familiarName(named);
  const slash = name.lastIndexOf('/');
  return formatPurl({
    type: 'docker',
    namespace: slash < 0 ? undefined : name.slice(0, slash),
    name: name.slice(slash + 1),
    version: named.tag,
    qualifiers: {
      digest: named.digest,
      platform: platform === undefined ? undefined : formatPlatform(normalizePlatform(platform)),
    },
  });
}

/** Percent-encoding with the characters that purl leaves as they are: a colon, and RFC 3986's unreserved ones. */
function encode(text: string): string {
  return encodeURIComponent(text)
    .replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%3A', ':');
}
