import { ImagoError } from '../core/errors.ts';

/** What a git URL of a build names. */
export interface GitSource {
  /** For git itself, without what the build adds to it. */
  url: string;
  /** Branch, tag, `refs/…` or commit; undefined: what the remote has as HEAD. */
  ref?: string | undefined;
  /** Of the repository, 'a/b'; undefined: all of it. */
  subdir?: string | undefined;
  /** What the commit's hash must start with. */
  checksum?: string | undefined;
  keepGitDir?: boolean | undefined;
  /** Default true. */
  submodules?: boolean | undefined;
  /** The checksum, in full, is what is fetched: the ref may be elsewhere by now. */
  fetchByCommit?: boolean | undefined;
}

const SCP = /^[A-Za-z0-9_.][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9._-]*:(?!\/\/)/;
/** They may stand without a value. */
const FLAGS: ReadonlySet<string> = new Set(['keep-git-dir', 'submodules', 'fetch-by-commit']);
/** What git itself allows in a name (git-check-ref-format(1)), and no refspec. */
const REF = /^(?![-+])[^\x00-\x20\x7f~^:?*[\\]+$/;

/**
 * Reads BuildKit's forms of a git URL: `https://host/x.git`, `git://…`, `ssh://…`, `user@host:x.git`, each with
 * `#ref:subdir` or `?ref=…&subdir=…&checksum=…&keep-git-dir=…&submodules=…` (also `tag`, `branch`, `commit`,
 * `mtime`, `fetch-by-commit`).
 * Undefined for what is no git URL: http ones are only if their path ends with `.git`. Throws `BAD_GIT_URL`.
 */
export function parseGitUrl(text: string): GitSource | undefined {
  const [before, fragment = ''] = split(text, '#');
  const [url, query = ''] = split(before, '?');
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(url)?.[1]?.toLowerCase();
  const isGit =
    scheme === undefined
      ? SCP.test(url)
      : scheme === 'git' || scheme === 'ssh' || (/^https?$/.test(scheme) && url.endsWith('.git'));
  if (!isGit) return undefined;
  const [ref, subdir = ''] = split(fragment, ':');
  const source: GitSource = { url, ref: ref === '' ? undefined : ref, subdir: cleanSubdir(subdir) };
  readQuery(source, query, text);
  if (source.ref !== undefined && !REF.test(source.ref)) throw badUrl(text, `${JSON.stringify(source.ref)} is no ref`);
  return source;
}

function split(text: string, mark: string): [string, string?] {
  const at = text.indexOf(mark);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

/** Against the root, so that it does not lead out of the repository; undefined for all of it. */
function cleanSubdir(text: string): string | undefined {
  const out: string[] = [];
  for (const part of text.split('/')) {
    if (part === '..') out.pop();
    else if (part !== '' && part !== '.') out.push(part);
  }
  return out.length === 0 ? undefined : out.join('/');
}

function readQuery(source: GitSource, query: string, text: string): void {
  if (query === '') return;
  const seen = new Set<string>();
  for (const [name, value] of new URLSearchParams(query)) {
    if (seen.has(name)) throw badUrl(text, `${name} is given twice`);
    seen.add(name);
    if (value === '' && !FLAGS.has(name)) throw badUrl(text, `${name} has no value`);
    if (name === 'ref') setRef(source, value, text);
    else if (name === 'tag') setRef(source, value.startsWith('refs/tags/') ? value : `refs/tags/${value}`, text);
    else if (name === 'branch') setRef(source, value.startsWith('refs/heads/') ? value : `refs/heads/${value}`, text);
    else if (name === 'subdir') {
      const subdir = cleanSubdir(value);
      if (source.subdir !== undefined && source.subdir !== subdir) throw badUrl(text, 'two different subdirs');
      source.subdir = subdir;
    } else if (name === 'checksum' || name === 'commit') source.checksum = value;
    else if (name === 'keep-git-dir') source.keepGitDir = readBoolean(name, value, text);
    else if (name === 'submodules') source.submodules = readBoolean(name, value, text);
    else if (name === 'fetch-by-commit') source.fetchByCommit = readBoolean(name, value, text);
    else if (name !== 'mtime') throw badUrl(text, `unexpected ${JSON.stringify(name)}`);
    // Files have the commit's time either way: when they were checked out means nothing.
    else if (value !== 'checkout' && value !== 'commit') throw badUrl(text, 'mtime is neither checkout nor commit');
  }
  if (source.fetchByCommit === true && !isCommit(source.checksum) && !isCommit(source.ref)) {
    throw badUrl(text, 'fetch-by-commit needs a whole commit as checksum');
  }
}

function isCommit(text: string | undefined): boolean {
  return /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text ?? '');
}

function setRef(source: GitSource, ref: string, text: string): void {
  if (source.ref !== undefined && source.ref !== ref) throw badUrl(text, 'two different refs');
  source.ref = ref;
}

function readBoolean(name: string, value: string, text: string): boolean {
  if (['', '1', 't', 'true'].includes(value.toLowerCase())) return true;
  if (['0', 'f', 'false'].includes(value.toLowerCase())) return false;
  throw badUrl(text, `${name} is neither true nor false`);
}

function badUrl(text: string, problem: string): ImagoError {
  return new ImagoError('BAD_GIT_URL', `bad git URL: ${problem}`, {
    want: 'https://host/name.git#ref:subdir, or ?ref=, subdir=, checksum=, keep-git-dir=, submodules= behind it',
    got: hideCredentials(text),
  });
}

/** The URL without a password or token. */
export function hideCredentials(url: string): string {
  return url.replace(/(:\/\/)[^/@\s]+@/g, '$1***@');
}
