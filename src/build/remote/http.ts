import type { IncomingMessage } from 'node:http';
import { ImagoError, isImagoError } from '../../core/errors.ts';
import { withRetries } from '../../registry/client/attempts.ts';
import { discardBody } from '../../registry/client/body.ts';
import { exchange } from '../../registry/client/exchange.ts';
import { followRedirects } from '../../registry/client/redirect.ts';
import { openSession, type Session } from '../../registry/client/session.ts';
import { describeTlsError } from '../../registry/client/tls.ts';
import type { ClientOptions } from '../../registry/client/types.ts';
import { httpAuthorization, type RemoteRights } from './secrets.ts';

const NOT_MODIFIED = 304;

/** GETs over HTTP(S) for ADD: proxies, certificates, retries and time limits as the registry client has them. */
export class UrlClient implements Disposable {
  readonly #session: Session;
  readonly #signal: AbortSignal | undefined;
  readonly #rights: RemoteRights;

  constructor(options: ClientOptions, signal: AbortSignal | undefined, rights: RemoteRights = {}) {
    this.#session = openSession(options);
    this.#signal = signal;
    this.#rights = rights;
  }

  /**
   * The answer, redirects followed: 200, or 304 for a conditional request. The user info of the URL, or
   * the secret for its host, is sent to that host only, and shown nowhere. Throws `REMOTE_STATUS`, `REMOTE_UNREACHABLE`, `BAD_REDIRECT`, `PROXY_FAILED`, `TLS_…`, `BAD_SECRET`.
   */
  async get(source: URL, headers: Readonly<Record<string, string>>): Promise<IncomingMessage> {
    const { url, secrets, authorization } = this.#credentials(source);
    const { timing, connections } = this.#session;
    const signal = this.#signal;
    const proxied = connections.proxy(url) !== undefined;
    const context = () => ({ method: 'GET', url, registry: url.host, proxied, secrets });
    const rules = { method: 'GET', insecure: false, answers: [NOT_MODIFIED] };
    try {
      const { response } = await withRetries(this.#session, { tries: timing.tries, answers: [], signal, context }, () =>
        followRedirects(url, rules, (at, home) =>
          exchange({
            method: 'GET',
            url: at,
            headers: {
              'User-Agent': 'imago',
              'Accept-Encoding': 'identity',
              ...headers,
              ...(home && authorization !== undefined ? { Authorization: authorization } : {}),
            },
            agent: connections.agent(at, false),
            timing,
            signal,
          }),
        ),
      );
      const status = response.statusCode!;
      if (status === 200 || status === NOT_MODIFIED) return response;
      await discardBody(response);
      throw badStatus(url, status);
    } catch (error) {
      throw describeFailure(error, url);
    }
  }

  #credentials(source: URL): Credentials {
    const own = splitCredentials(source);
    const authorization = httpAuthorization(source, this.#rights);
    if (authorization === undefined) return own;
    return { ...own, authorization, secrets: [...own.secrets, authorization.replace(/^Bearer /, '')] };
  }

  [Symbol.dispose](): void {
    this.#session[Symbol.dispose]();
  }
}

interface Credentials {
  /** Without them. */
  url: URL;
  secrets: string[];
  authorization: string | undefined;
}

function splitCredentials(source: URL): Credentials {
  const url = new URL(source);
  const [user, password] = [decode(url.username), decode(url.password)];
  url.username = '';
  url.password = '';
  url.hash = '';
  if (user === '' && password === '') return { url, secrets: [], authorization: undefined };
  const basic = Buffer.from(`${user}:${password}`).toString('base64');
  return { url, secrets: [password, basic], authorization: `Basic ${basic}` };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** A query may be a signature. */
export function showRemote(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}${url.search === '' ? '' : '?…'}`;
}

function badStatus(url: URL, status: number): ImagoError {
  return new ImagoError('REMOTE_STATUS', `${showRemote(url)}: invalid response status ${status}`, {
    remedy: status === 404 || status === 410 ? 'check the URL' : undefined,
  });
}

/** The client's errors speak of registries; these do not. */
function describeFailure(error: unknown, url: URL): unknown {
  if (!isImagoError(error)) return error;
  const shown = showRemote(url);
  const { cause } = error;
  const make = (code: string, problem: string, remedy: string): ImagoError =>
    new ImagoError(code, `${shown}: ${problem}`, { remedy, cause: error });
  switch (error.code) {
    case 'BAD_REDIRECT':
      return make(error.code, error.message.replace(/ \(.*/, ''), 'name the address that it ends at');
    case 'REGISTRY_UNREACHABLE':
    case 'CONNECTION_BROKEN':
    case 'BAD_ANSWER': {
      const code = cause instanceof Error && 'code' in cause ? String(cause.code) : error.code;
      return make('REMOTE_UNREACHABLE', `cannot be fetched (${code})`, 'check the URL, the network and its proxies');
    }
    case 'STALLED':
      return make(error.code, 'nothing came any more', 'check the network and try again');
  }
  const tls = cause instanceof Error ? describeTlsError(cause as NodeJS.ErrnoException, url.host) : undefined;
  if (tls === undefined) return error;
  return make(tls.code, tls.summary, `put its CA into /etc/imago/certs.d/${url.host}/ca.crt`);
}
