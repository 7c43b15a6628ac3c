import type { IncomingMessage } from 'node:http';
import { ImagoError } from '../../core/errors.ts';
import { withRetries } from './attempts.ts';
import { readBody, readStart } from './body.ts';
import { describeAnswer, MAX_ERROR_BODY, type RequestContext } from './errors.ts';
import { exchange } from './exchange.ts';
import { mayBePlain } from './hosts.ts';
import { followRedirects } from './redirect.ts';
import type { Session } from './session.ts';
import { showText, showUrl } from './shown-url.ts';
import type { Credentials } from './types.ts';

export interface TokenRequest {
  realm: URL;
  service: string | undefined;
  scopes: readonly string[];
  credentials: Credentials | undefined;
  insecure: boolean;
  /** Ask for a refresh token as well, to be kept in place of the password. */
  offline?: boolean;
  signal: AbortSignal | undefined;
  context: Omit<RequestContext, 'url' | 'method'>;
}

export interface Token {
  text: string;
  /** When to ask for another one, by performance.now(). */
  freshUntil: number;
  refreshToken: string | undefined;
}

const CLIENT_ID = 'imago';
const MAX_TOKEN_BODY = 1024 * 1024;
/** Where the answer does not say: Docker token specification. */
const DEFAULT_LIFETIME_S = 60;
const MAX_LIFETIME_S = 24 * 3600;

/**
 * A bearer token from a registry's token server: GET as Docker's token specification has it, with Basic credentials or
 * none; POST as OAuth2 with a refresh token. Throws `BAD_TOKEN_REALM`, `BAD_TOKEN`, `UNAUTHORIZED`, …
 */
export async function requestToken(session: Session, request: TokenRequest): Promise<Token> {
  const { realm, credentials } = request;
  const refreshToken = credentials?.identityToken;
  const url = new URL(realm);
  const form = new URLSearchParams();
  const query = refreshToken === undefined ? url.searchParams : form;
  if (request.service !== undefined) query.set('service', request.service);
  if (refreshToken === undefined) {
    for (const scope of request.scopes) query.append('scope', scope);
    if (credentials !== undefined) query.set('account', credentials.username);
    if (request.offline) query.set('offline_token', 'true');
    query.set('client_id', CLIENT_ID);
  } else {
    query.set('grant_type', 'refresh_token');
    query.set('refresh_token', refreshToken);
    query.set('client_id', CLIENT_ID);
    if (request.scopes.length > 0) query.set('scope', request.scopes.join(' '));
  }
  const method = refreshToken === undefined ? 'GET' : 'POST';
  const answer = await askServer(session, request, url, method, refreshToken === undefined ? undefined : form);
  const context = { ...request.context, method, url: answer.url };
  if (answer.status !== 200) throw describeAnswer(answer.status, answer.body, context);
  return parseToken(answer.body, context);
}

/** The realm of a challenge as a URL. Throws `BAD_TOKEN_REALM` where a password must not travel there. */
export function parseRealm(realm: string, registry: string, insecure: boolean): URL {
  const url = URL.parse(realm);
  const plain = url?.protocol === 'http:' && mayBePlain(url, insecure);
  if (url === null || (url.protocol !== 'https:' && !plain)) {
    throw new ImagoError('BAD_TOKEN_REALM', `${registry} names a token server that cannot be trusted`, {
      want: 'an https URL',
      got: url === null ? showText(realm, [], 100) : showUrl(url),
      remedy: 'the registry is set up wrongly; --insecure takes plain HTTP where the network can be trusted',
    });
  }
  url.username = '';
  url.password = '';
  url.hash = '';
  return url;
}

async function askServer(
  session: Session,
  request: TokenRequest,
  url: URL,
  method: string,
  form: URLSearchParams | undefined,
): Promise<{ status: number; url: URL; body: Buffer }> {
  const { credentials, insecure, signal } = request;
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (form !== undefined) headers['Content-Type'] = 'application/x-www-form-urlencoded';
  else if (credentials !== undefined) headers.Authorization = formatBasic(credentials);
  const body = form === undefined ? undefined : Buffer.from(form.toString());
  const send = (to: URL): Promise<IncomingMessage> => {
    const agent = session.connections.agent(to, insecure);
    return exchange({ method, url: to, headers, body, agent, timing: session.timing, signal });
  };
  // Anonymous requests have nothing to lose; credentials go to the realm and nowhere else.
  const rules = { method, insecure, answers: [], abroad: credentials === undefined };
  const proxied = session.connections.proxy(url) !== undefined;
  const context = () => ({ ...request.context, method, url, proxied });
  let token: Buffer | undefined;
  const { response, url: last } = await withRetries(
    session,
    { tries: session.timing.tries, answers: [], signal, context },
    async () => {
      const arrival = await followRedirects(url, rules, send);
      // Within the try: a connection may break in the middle of it.
      if (arrival.response.statusCode === 200) {
        token = await readBody(arrival.response, MAX_TOKEN_BODY, showUrl(arrival.url));
      }
      return arrival;
    },
  );
  return { status: response.statusCode!, url: last, body: token ?? (await readStart(response, MAX_ERROR_BODY)) };
}

export function formatBasic({ username, password }: Credentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function parseToken(body: Buffer, context: RequestContext): Token {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch {
    throw badToken('no JSON', context);
  }
  const fields = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const text = fields.token || fields.access_token;
  // What goes into a header: RFC 6750 §2.1, and whatever else is printable.
  if (typeof text !== 'string' || !/^[\x21-\x7e]+$/.test(text)) throw badToken('no token', context);
  const { expires_in: lifetime, refresh_token: refreshToken } = fields;
  const seconds =
    typeof lifetime === 'number' && lifetime > 0 ? Math.min(lifetime, MAX_LIFETIME_S) : DEFAULT_LIFETIME_S;
  return {
    text,
    freshUntil: performance.now() + (seconds - Math.min(30, seconds / 4)) * 1000,
    refreshToken: typeof refreshToken === 'string' && refreshToken !== '' ? refreshToken : undefined,
  };
}

function badToken(got: string, { url, registry }: RequestContext): ImagoError {
  return new ImagoError('BAD_TOKEN', `the token server of ${registry} does not give a token`, {
    want: 'JSON with a token',
    got,
    path: showUrl(url),
    remedy: 'a proxy or a login page may be in between',
  });
}
