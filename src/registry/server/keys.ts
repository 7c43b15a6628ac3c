import { type Digest, digestAlgorithm, digestHex, isDigest } from '../../core/digest.ts';
import { isRepositoryName, isTag } from '../wire/names.ts';

/**
 * Where the registry keeps its documents (`DocumentStorage`). Repository names have no part that begins with `_`, so
 * nothing here can be mistaken for a repository.
 *
 * ```
 * repositories/NAME/_manifests/ALG/HEX        ManifestLink: the repository has this manifest, and answers it as this type
 * repositories/NAME/_blobs/ALG/HEX            BlobLink: the repository has this blob
 * repositories/NAME/_tags/TAG                 TagRecord
 * repositories/NAME/_referrers/ALG/HEX/ALG/HEX  Referrer: by subject, then by the manifest that refers to it
 * catalog/NAME/_repository                    the repository exists (empty object)
 * gc/condemned/ALG/HEX                        CondemnedRecord: the collector is about to remove this blob
 * ```
 *
 * A ManifestLink of a pull-through cache is written anew when the manifest is used: its time says when that was last.
 * A blob (a manifest's bytes are one, too) lives as long as a ManifestLink of any repository names it, or it is
 * younger than the grace period, counted from the later of its own publication and its youngest BlobLink.
 */
export const REPOSITORIES_PREFIX = 'repositories/';
export const CATALOG_PREFIX = 'catalog/';
export const CONDEMNED_PREFIX = 'gc/condemned/';

const CATALOG_LEAF = '/_repository';

function digestPath(digest: Digest): string {
  return `${digestAlgorithm(digest)}/${digestHex(digest)}`;
}

function manifestsPrefix(repository: string): string {
  return `${REPOSITORIES_PREFIX}${repository}/_manifests/`;
}

export function manifestKey(repository: string, digest: Digest): string {
  return manifestsPrefix(repository) + digestPath(digest);
}

function blobLinksPrefix(repository: string): string {
  return `${REPOSITORIES_PREFIX}${repository}/_blobs/`;
}

export function blobLinkKey(repository: string, digest: Digest): string {
  return blobLinksPrefix(repository) + digestPath(digest);
}

export function tagsPrefix(repository: string): string {
  return `${REPOSITORIES_PREFIX}${repository}/_tags/`;
}

export function tagKey(repository: string, tag: string): string {
  return tagsPrefix(repository) + tag;
}

export function referrersPrefix(repository: string, subject: Digest): string {
  return `${REPOSITORIES_PREFIX}${repository}/_referrers/${digestPath(subject)}/`;
}

export function referrerKey(repository: string, subject: Digest, referrer: Digest): string {
  return referrersPrefix(repository, subject) + digestPath(referrer);
}

export function catalogKey(repository: string): string {
  return CATALOG_PREFIX + repository + CATALOG_LEAF;
}

export function condemnedKey(digest: Digest): string {
  return CONDEMNED_PREFIX + digestPath(digest);
}

/** What a key is about; undefined for keys of other kinds. */
export type ParsedKey =
  | { kind: 'manifest' | 'blob'; repository: string; digest: Digest }
  | { kind: 'tag'; repository: string; tag: string }
  | { kind: 'referrer'; repository: string; subject: Digest; digest: Digest }
  | { kind: 'catalog'; repository: string }
  | { kind: 'condemned'; digest: Digest };

const REPOSITORY_KEY = /^repositories\/(.+?)\/_(manifests|blobs|tags|referrers)\/(.+)$/;

export function parseKey(key: string): ParsedKey | undefined {
  if (key.startsWith(CATALOG_PREFIX) && key.endsWith(CATALOG_LEAF)) {
    const repository = key.slice(CATALOG_PREFIX.length, -CATALOG_LEAF.length);
    return isRepositoryName(repository) ? { kind: 'catalog', repository } : undefined;
  }
  if (key.startsWith(CONDEMNED_PREFIX)) {
    const digest = parseDigestPath(key.slice(CONDEMNED_PREFIX.length));
    return digest === undefined ? undefined : { kind: 'condemned', digest };
  }
  const [, repository = '', family, rest = ''] = REPOSITORY_KEY.exec(key) ?? [];
  if (!isRepositoryName(repository)) return undefined;
  if (family === 'tags') return isTag(rest) ? { kind: 'tag', repository, tag: rest } : undefined;
  if (family === 'referrers') {
    const cut = rest.indexOf('/', rest.indexOf('/') + 1);
    const subject = parseDigestPath(rest.slice(0, cut));
    const digest = parseDigestPath(rest.slice(cut + 1));
    return subject && digest && { kind: 'referrer', repository, subject, digest };
  }
  const digest = parseDigestPath(rest);
  return digest && { kind: family === 'blobs' ? 'blob' : 'manifest', repository, digest };
}

function parseDigestPath(path: string): Digest | undefined {
  const digest = path.replace('/', ':');
  return isDigest(digest) ? digest : undefined;
}
