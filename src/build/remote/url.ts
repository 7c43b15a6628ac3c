import { ImagoError } from '../../core/errors.ts';
import { type GitSource, parseGitUrl } from '../../system/git-url.ts';

/** A file that ADD fetches. */
export interface UrlSource {
  readonly kind: 'url';
  readonly url: URL;
  /** What it is called in a directory: the last name of its path. */
  readonly name: string;
}

/** A repository that ADD fetches. */
export interface RepositorySource {
  readonly kind: 'git';
  readonly git: GitSource;
}

/**
 * What an operand of ADD names that is not in the build context; undefined for a path. As BuildKit: `git://`, `ssh://`,
 * `user@host:path` are repositories, `http[s]://` is one where its path ends with `.git`, and a file otherwise.
 * Throws `BAD_SOURCE`, `BAD_GIT_URL`.
 */
export function parseRemote(text: string): UrlSource | RepositorySource | undefined {
  const git = parseGitUrl(text);
  if (git !== undefined) return { kind: 'git', git };
  if (!/^https?:\/\//.test(text)) return undefined;
  const url = URL.parse(text);
  if (url === null) throw new ImagoError('BAD_SOURCE', `malformed URL: ${redactUrls(text)}`);
  // BuildKit's frontend always names the file itself: Content-Disposition has no say.
  return { kind: 'url', url, name: lastName(url) ?? '__unnamed__' };
}

/** The last name of a URL's path, where it can be a file's. */
export function lastName(url: URL): string | undefined {
  let path = url.pathname;
  try {
    path = decodeURIComponent(path);
  } catch {
    // Not UTF-8 behind the %: as it is written.
  }
  const name = path.split('/').findLast((part) => part !== '');
  return name === '.' || name === '..' || name?.includes('\0') ? undefined : name;
}

/** Text as people may see it: what stands before the `@` of a URL is a password or a token. */
export function redactUrls(text: string): string {
  return text.replace(/\b(https?:\/\/)[^/?#\s]*@/gi, '$1xxxxx@');
}
