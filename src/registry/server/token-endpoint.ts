import type { IncomingMessage, ServerResponse } from 'node:http';
import { BUSY, basicChallenge } from './access-control.ts';
import { parseAuthorization } from './credentials.ts';
import type { PasswordFile } from './htpasswd.ts';
import type { Permits } from './rules.ts';
import { grantScopes, parseScopes } from './scopes.ts';
import type { TokenIssuer } from './tokens.ts';

const MAX_FORM = 64 << 10;

export interface TokenEndpoint {
  passwords?: PasswordFile;
  permits: Permits;
  issuer: TokenIssuer;
  service: string;
  /** Whether tokens are given to those who bring no password. */
  anonymous: boolean;
}

interface TokenRequest {
  service: string | null;
  scopes: string[];
  user: string | undefined;
  password: string;
}

/**
 * Where clients get tokens: GET with Basic credentials or none (distribution v2.8 docs/spec/auth/token.md), and POST
 * with a form (docs/spec/auth/oauth.md; `grant_type=password` only). Resolves with the user, for the log.
 */
export async function answerTokenRequest(
  endpoint: TokenEndpoint,
  req: IncomingMessage,
  res: ServerResponse,
): Promise<string | undefined> {
  const request = req.method === 'POST' ? await readForm(req) : readQuery(req);
  if (typeof request === 'string') {
    sendJson(res, 400, { error: request });
    return undefined;
  }
  if (request.service !== null && request.service !== endpoint.service) {
    sendJson(res, 400, { error: 'invalid_request', error_description: `this is the service "${endpoint.service}"` });
    return undefined;
  }
  const { user } = request;
  const check =
    user === undefined
      ? endpoint.anonymous
        ? 'right'
        : 'wrong'
      : await endpoint.passwords?.check(user, request.password);
  if (check === 'busy') {
    res.setHeader('Retry-After', String(BUSY.retryAfter));
    sendJson(res, BUSY.status, { errors: [{ code: 'TOOMANYREQUESTS', message: BUSY.message }] });
    return undefined;
  }
  if (check !== 'right') {
    const message = user === undefined ? 'authentication required' : 'the user name or the password is wrong';
    res.setHeader('WWW-Authenticate', basicChallenge(endpoint.service));
    sendJson(res, 401, { errors: [{ code: 'UNAUTHORIZED', message }] });
    return undefined;
  }
  const access = grantScopes(parseScopes(request.scopes), (wanted) => endpoint.permits(user, wanted));
  const { token, expiresIn, issuedAt } = await endpoint.issuer.issue(user, access);
  const scope = access.map(({ type, name, actions }) => `${type}:${name}:${actions.join(',')}`).join(' ');
  sendJson(res, 200, {
    token,
    access_token: token,
    expires_in: expiresIn,
    issued_at: issuedAt.toISOString(),
    ...(req.method === 'POST' ? { scope } : {}),
  });
  return user;
}

/** An OAuth2 error code (RFC 6749 §5.2) where the request is none. */
function readQuery(req: IncomingMessage): TokenRequest | string {
  const credentials = parseAuthorization(req.headers.authorization);
  if (credentials.scheme === 'bearer' || credentials.scheme === 'unknown') return 'invalid_request';
  const query = new URLSearchParams(/\?(.*)$/.exec(req.url ?? '')?.[1] ?? '');
  return {
    service: query.get('service'),
    scopes: query.getAll('scope'),
    user: credentials.scheme === 'basic' ? credentials.user : undefined,
    password: credentials.scheme === 'basic' ? credentials.password : '',
  };
}

async function readForm(req: IncomingMessage): Promise<TokenRequest | string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_FORM) return 'invalid_request';
    chunks.push(chunk);
  }
  const form = new URLSearchParams(Buffer.concat(chunks).toString('utf8'));
  if (form.get('grant_type') !== 'password') return 'unsupported_grant_type';
  const user = form.get('username');
  if (user === null || user === '') return 'invalid_request';
  return { service: form.get('service'), scopes: form.getAll('scope'), user, password: form.get('password') ?? '' };
}

function sendJson(res: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(`${JSON.stringify(value)}\n`);
  res.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': body.length,
    // RFC 6749 §5.1.
    'Cache-Control': 'no-store',
  });
  res.end(body);
}
