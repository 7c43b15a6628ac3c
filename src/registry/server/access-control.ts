import type { IncomingHttpHeaders } from 'node:http';
import { formatChallenge } from '../wire/challenge.ts';
import { isRepositoryName } from '../wire/names.ts';
import type { Access, Authorize, AuthorizeRequest, Decision, Refused } from './authorize.ts';
import { parseAuthorization } from './credentials.ts';
import type { PasswordFile } from './htpasswd.ts';
import type { Permits } from './rules.ts';
import { coversAccess, formatScope } from './scopes.ts';
import type { TokenIssuer, TokenVerifier } from './tokens.ts';

export interface AccessControl {
  /** Users who may log in with a password. */
  passwords?: PasswordFile;
  permits: Permits;
  /** Tokens of this registry's own end point: the rules are asked again when one is shown. */
  issuer?: TokenIssuer;
  /** Tokens of a server elsewhere, whose `access` claim decides. */
  verifier?: TokenVerifier;
  /** Where clients get tokens, for challenges; undefined: they send passwords. */
  realm?: (headers: IncomingHttpHeaders) => string;
  /** The registry's name in challenges and tokens. */
  service: string;
}

/** The registry's door: passwords and tokens, then the rules. */
export function createAuthorize(control: AccessControl): Authorize {
  return async (request, access) => {
    const credentials = parseAuthorization(request.headers.authorization);
    const challenge = (error?: string): string[] => [challengeFor(control, request, access, error)];
    if (credentials.scheme === 'bearer') return decideByToken(control, credentials.token, access, challenge);
    if (credentials.scheme === 'basic' && control.passwords !== undefined) {
      const check = await control.passwords.check(credentials.user, credentials.password);
      if (check === 'busy') return BUSY;
      if (check === 'wrong') return unauthorized('the user name or the password is wrong', challenge());
      return control.permits(credentials.user, access)
        ? { ok: true, user: credentials.user }
        : denied(credentials.user, access);
    }
    if (credentials.scheme === 'none' && control.permits(undefined, access)) return { ok: true };
    return unauthorized('authentication required', challenge());
  };
}

async function decideByToken(
  { issuer, verifier, permits }: AccessControl,
  text: string,
  access: Access,
  challenge: (error: string) => string[],
): Promise<Decision> {
  const own = await issuer?.verify(text);
  const token = own ?? (await verifier?.verify(text));
  if (token === undefined) return unauthorized('the token is not valid, or no longer', challenge('invalid_token'));
  const user = token.user === undefined ? {} : { user: token.user };
  // An anonymous token of our own is as good as none, and gets the root: its bearer found the token end point.
  const root = access.repository === undefined && access.action === 'pull';
  if (own !== undefined && !root && !permits(own.user, access)) {
    return own.user === undefined
      ? unauthorized('authentication required', challenge('insufficient_scope'))
      : denied(own.user, access);
  }
  if (coversAccess(token.access, access)) return { ok: true, ...user };
  // 401 and not the 403 of RFC 6750: clients of registries fetch a token with the scope that they are told.
  return unauthorized('the token is for something else', challenge('insufficient_scope'));
}

export const BUSY: Refused = {
  ok: false,
  status: 429,
  challenges: [],
  message: 'too many passwords are being checked: come again',
  retryAfter: 1,
};

function unauthorized(message: string, challenges: string[]): Refused {
  return { ok: false, status: 401, challenges, message };
}

function denied(user: string, { repository, action }: Access): Refused {
  const what = repository === undefined ? 'list the catalog' : `${action} ${repository}`;
  return { ok: false, status: 403, challenges: [], user, message: `not allowed to ${what}` };
}

/** RFC 7617 §2, RFC 6750 §3. One challenge only: given two, some clients take the one that they cannot answer. */
function challengeFor(control: AccessControl, request: AuthorizeRequest, access: Access, error?: string): string {
  if (control.realm === undefined) return basicChallenge(control.service);
  const scope = [access, ...mountSource(request, access)].map(formatScope).join(' ');
  return formatChallenge('Bearer', {
    realm: control.realm(request.headers),
    service: control.service,
    ...(scope === '' ? {} : { scope }),
    ...(error === undefined ? {} : { error }),
  });
}

/** What a mount needs besides: a client that asks for the token that it is told of gets it in one go. */
function mountSource({ method, url }: AuthorizeRequest, { action }: Access): Access[] {
  if (method !== 'POST' || action !== 'push') return [];
  const query = new URLSearchParams(/\?(.*)$/.exec(url ?? '')?.[1]);
  const from = query.has('mount') ? query.get('from') : null;
  return from !== null && isRepositoryName(from) ? [{ repository: from, action: 'pull' }] : [];
}

export function basicChallenge(realm: string): string {
  return formatChallenge('Basic', { realm, charset: 'UTF-8' });
}
