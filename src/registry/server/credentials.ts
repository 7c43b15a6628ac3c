/** What an `Authorization` header brings. An empty user is nobody: some clients send that where they know none. */
export type Credentials =
  | { scheme: 'basic'; user: string; password: string }
  | { scheme: 'bearer'; token: string }
  | { scheme: 'none' }
  | { scheme: 'unknown' };

/** RFC 7617 §2, RFC 6750 §2.1. */
export function parseAuthorization(header: string | undefined): Credentials {
  if (header === undefined || header === '') return { scheme: 'none' };
  const [, scheme = '', value = ''] = /^([A-Za-z]+) +([^\s]+) *$/.exec(header) ?? [];
  if (scheme.toLowerCase() === 'bearer') return { scheme: 'bearer', token: value };
  if (scheme.toLowerCase() !== 'basic') return { scheme: 'unknown' };
  const text = Buffer.from(value, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 0) return { scheme: 'unknown' };
  if (text === ':') return { scheme: 'none' };
  return { scheme: 'basic', user: text.slice(0, colon), password: text.slice(colon + 1) };
}
