import { ImagoError } from '../../core/errors.ts';

/** The value of one of the build's secrets; undefined where it is not given. */
export type ReadSecret = (id: string) => Uint8Array | undefined;

/** What may be asked of the network with which rights. */
export interface RemoteRights {
  readSecret?: ReadSecret;
}

/**
 * What a build's secrets give as `Authorization` for a URL: `HTTP_AUTH_TOKEN_<host>` (a bearer's), else
 * `HTTP_AUTH_HEADER_<host>`, the host without its port (docs.docker.com/build/building/secrets). Throws `BAD_SECRET`.
 */
export function httpAuthorization({ hostname }: URL, { readSecret }: RemoteRights): string | undefined {
  const host = hostname.replace(/^\[|\]$/g, '');
  const token = header(`HTTP_AUTH_TOKEN_${host}`, readSecret);
  return token === undefined ? header(`HTTP_AUTH_HEADER_${host}`, readSecret) : `Bearer ${token}`;
}

/**
 * The same for a repository: `GIT_AUTH_HEADER` and `GIT_AUTH_TOKEN`, those for its host first, as
 * `GIT_AUTH_TOKEN.<host>`. Undefined for other schemes than http and https. Throws `BAD_SECRET`.
 */
export function gitAuthorization(url: string, { readSecret }: RemoteRights): string | undefined {
  const parsed = URL.parse(url);
  if (parsed === null || !/^https?:$/.test(parsed.protocol)) return undefined;
  for (const suffix of [`.${parsed.host}`, '']) {
    const whole = header(`GIT_AUTH_HEADER${suffix}`, readSecret);
    if (whole !== undefined) return whole;
    const token = header(`GIT_AUTH_TOKEN${suffix}`, readSecret);
    // As GitHub and GitLab take it (BuildKit, source/git).
    if (token !== undefined) return `Basic ${Buffer.from(`x-access-token:${token}`).toString('base64')}`;
  }
  return undefined;
}

function header(id: string, readSecret: ReadSecret | undefined): string | undefined {
  const value = readSecret?.(id);
  if (value === undefined) return undefined;
  // Files end with a line break.
  const text = Buffer.from(value).toString('latin1').trim();
  if (/^[\x20-\x7e]+$/.test(text)) return text;
  throw new ImagoError('BAD_SECRET', `the secret ${id} cannot be sent in a header`, {
    want: 'one line of printable characters',
  });
}
