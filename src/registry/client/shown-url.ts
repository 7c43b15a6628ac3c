/** What a registry's URLs may say of a request; anything else in a query may be a signature or an upload's state. */
const HARMLESS = new Set(['digest', 'mount', 'from', 'n', 'last', 'artifactType', 'tag', 'service', 'scope', 'ns']);
const MAX_SHOWN = 300;

/** A URL for people, logs and errors: no user info, no fragment, of the query only what is no secret. */
export function showUrl(url: URL): string {
  const query = [...url.searchParams].filter(([name]) => HARMLESS.has(name)).map(([name, value]) => `${name}=${value}`);
  const text = `${url.protocol}//${url.host}${url.pathname}${query.length === 0 ? '' : `?${query.join('&')}`}`;
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

/** One line of text from outside: no control characters, at most `limit` characters, and no secret that was sent. */
export function showText(text: string, secrets: readonly string[] = [], limit = 300): string {
  let clean = text;
  for (const secret of secrets) if (secret.length >= 3) clean = clean.replaceAll(secret, '***');
  clean = clean.replace(/[\s\x00-\x1f\x7f-\x9f]+/g, ' ').trim();
  return clean.length > limit ? `${clean.slice(0, limit)}…` : clean;
}
