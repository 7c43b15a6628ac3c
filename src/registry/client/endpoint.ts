import type { IncomingMessage } from 'node:http';
import { ImagoError } from '../../core/errors.ts';
import { imagoVersion } from '../../system/version.ts';
import { withRetries } from './attempts.ts';
import { Authorizer } from './authorize.ts';
import { discardBody } from './body.ts';
import { findCredentials } from './credentials.ts';
import { describeBreak, type RequestContext } from './errors.ts';
import { exchange } from './exchange.ts';
import type { Host } from './hosts.ts';
import { findScheme } from './probe.ts';
import { type Arrival, followRedirects, resolveLocation } from './redirect.ts';
import type { Session } from './session.ts';
import type { RegistryRequest } from './types.ts';

/** How long a host that failed is not asked where another one can be. */
const REST_MS = 30_000;
/** 401s of one request: the first teaches, the second may be about a token that ran out. */
const MAX_REFUSALS = 2;

/** One host with the API of a registry: its scheme, its credentials, its retries. */
export class Endpoint {
  readonly host: Host;
  readonly authorizer: Authorizer;
  readonly #session: Session;
  #base: Promise<URL> | undefined;
  readonly #offline: boolean;
  #restsUntil = 0;

  constructor(host: Host, session: Session, options: { offline?: boolean } = {}) {
    this.host = host;
    this.#session = session;
    this.#offline = options.offline === true;
    this.authorizer = new Authorizer({
      session,
      registry: host.name,
      insecure: host.insecure,
      findCredentials: async () =>
        (host.mirror ? undefined : session.options.credentials) ?? findCredentials(host.name, session.options),
      ...options,
    });
  }

  get rests(): boolean {
    return performance.now() < this.#restsUntil;
  }

  rest(): void {
    this.#restsUntil = performance.now() + REST_MS;
  }

  /** Sends a request with whatever credentials it takes, and again where that may help. Throws typed errors. */
  async send(request: RegistryRequest, tries: number, signal: AbortSignal | undefined): Promise<Arrival> {
    const { target, answers } = request;
    const guess = new URL(`${this.host.scheme ?? 'https'}://${this.host.authority}/`);
    let url = URL.parse(target, guess) ?? guess;
    const context = (): RequestContext => this.context(request, url);
    const rules = { tries: request.retry === false ? 1 : tries, answers, signal, context };
    return withRetries(this.#session, rules, async () => {
      const base = await this.#findBase(signal);
      url = resolveLocation(target, base, this.host);
      return this.#sendAuthorized(request, url, url.origin === base.origin, signal);
    });
  }

  context(
    { method, reference, scopes }: Pick<RegistryRequest, 'method' | 'reference' | 'scopes'>,
    url: URL,
  ): RequestContext {
    return {
      method,
      url,
      registry: this.host.name,
      reference,
      scopes,
      login: this.#offline,
      proxied: this.#session.connections.proxy(url) !== undefined,
      secrets: this.authorizer.secrets(),
    };
  }

  /** The typed error of a body that broke. */
  describeBreak(error: unknown, request: RegistryRequest, url: URL): unknown {
    return describeBreak(error, this.context(request, url));
  }

  async #sendAuthorized(
    request: RegistryRequest,
    first: URL,
    own: boolean,
    signal: AbortSignal | undefined,
  ): Promise<Arrival> {
    const { method, answers, reference } = request;
    const scopes = [...(request.scopes ?? [])];
    const rules = { method, insecure: this.host.insecure, answers };
    let bodySent = false;
    for (let refusals = 0; ; refusals++) {
      const authorization = own
        ? await this.authorizer.header(scopes, { method, url: first, reference, scopes }, signal)
        : undefined;
      const arrival = await followRedirects(first, rules, (url, home) => {
        if (bodySent && request.retry === false) throw cannotSendAgain(url);
        return this.#exchange(request, url, home ? authorization : undefined, signal, () => {
          bodySent = true;
        });
      });
      const { statusCode, headers } = arrival.response;
      if (statusCode !== 401 || !own || !arrival.home || refusals >= MAX_REFUSALS) return arrival;
      if (bodySent && request.retry === false) return arrival;
      if (!(await this.authorizer.learn(headers, authorization, scopes))) return arrival;
      await discardBody(arrival.response);
    }
  }

  #exchange(
    request: RegistryRequest,
    url: URL,
    authorization: string | undefined,
    signal: AbortSignal | undefined,
    onBody: () => void,
  ): Promise<IncomingMessage> {
    const headers: Record<string, string> = {
      'User-Agent': `imago/${imagoVersion()}`,
      // Bytes are compared with their digest: nothing in between is to recode them.
      'Accept-Encoding': 'identity',
      ...request.headers,
    };
    if (authorization !== undefined) headers.Authorization = authorization;
    const { connections, timing } = this.#session;
    const agent = connections.agent(url, this.host.insecure);
    return exchange({ method: request.method, url, headers, body: request.body, agent, timing, signal, onBody });
  }

  async #findBase(signal: AbortSignal | undefined): Promise<URL> {
    this.#base ??= findScheme(this.host, this.#session, async (answer) => {
      if (answer.statusCode === 401) await this.authorizer.learn(answer.headers, undefined, []);
    });
    try {
      return await this.#base;
    } catch (error) {
      this.#base = undefined;
      signal?.throwIfAborted();
      throw error;
    }
  }
}

function cannotSendAgain(url: URL): ImagoError {
  return new ImagoError('BAD_REDIRECT', `${url.host} redirects an upload that cannot be sent again`);
}
