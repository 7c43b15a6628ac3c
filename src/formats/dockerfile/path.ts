/** Go's path.Clean: the shortest equal path; '' gives '.'. Works on text and byte strings alike. */
export function cleanSlashes(path: string): string {
  const rooted = path.startsWith('/');
  const out: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') out.push(part);
    else if (out.length > 0 && out.at(-1) !== '..') out.pop();
    else if (!rooted) out.push('..');
  }
  const text = out.join('/');
  return rooted ? `/${text}` : text === '' ? '.' : text;
}

/** `path` against `base` where it is relative; cleaned, absolute. A slash, or `/.`, at its end is kept as a slash. */
export function joinWorkdir(base: string, path: string): string {
  const joined = cleanSlashes(path.startsWith('/') ? path : `/${base}/${path}`);
  const directory = path === '' || path === '.' || path.endsWith('/') || path.endsWith('/.');
  return directory && joined !== '/' ? `${joined}/` : joined;
}
