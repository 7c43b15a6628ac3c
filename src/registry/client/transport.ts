import type { Readable } from 'node:stream';
import { discardBody, readBody, readStart } from './body.ts';
import { Endpoint } from './endpoint.ts';
import { describeAnswer, MAX_ERROR_BODY } from './errors.ts';
import { listHosts } from './hosts.ts';
import type { Arrival } from './redirect.ts';
import { formatScopes, isPull, parseScopes } from './scopes.ts';
import { openSession, type Session } from './session.ts';
import { showUrl } from './shown-url.ts';
import type { ClientOptions, RegistryRequest, RegistryResponse, Transport } from './types.ts';

/**
 * What a mirror may answer for: content, not lists, which a cache has only in parts; and not whether there is a blob,
 * which is a pusher's question.
 */
const CONTENT = /^(?:(?:GET|HEAD) \/v2\/.+\/manifests\/|GET \/v2\/.+\/blobs\/)[^/]+$/;

/**
 * Opens a registry as references name it: docker.io, localhost:5000. Nothing is sent yet. Dispose it to close its
 * connections. Throws `BAD_REGISTRY`, `BAD_REGISTRIES_FILE`.
 */
export function openTransport(registry: string, options: ClientOptions = {}): Transport {
  return new HttpTransport(registry, options);
}

class HttpTransport implements Transport {
  readonly registry: string;
  readonly #session: Session;
  readonly #mirrors: Endpoint[];
  readonly #origin: Endpoint;
  /** How to tell what broke a body, for `read`. */
  readonly #describe = new WeakMap<Readable, (error: unknown) => unknown>();

  constructor(registry: string, options: ClientOptions) {
    this.registry = registry;
    const hosts = listHosts(registry, options);
    this.#session = openSession(options);
    const endpoints = hosts.map((host) => new Endpoint(host, this.#session));
    this.#origin = endpoints.pop()!;
    this.#mirrors = endpoints;
  }

  async request(request: RegistryRequest): Promise<RegistryResponse> {
    const { options, timing } = this.#session;
    const own = request.afterwards === true ? undefined : options.signal;
    const signals = [own, request.signal].filter((signal) => signal !== undefined);
    const signal = signals.length > 1 ? AbortSignal.any(signals) : signals[0];
    signal?.throwIfAborted();
    let failure: unknown;
    for (const endpoint of this.#order(request)) {
      const { mirror } = endpoint.host;
      const sent = mirror ? throughMirror(request, endpoint.host.prefix) : request;
      const arrival = await endpoint.send(sent, mirror ? 1 : timing.tries, signal).catch((error: unknown) => {
        if (signal?.aborted) throw error;
        if (!mirror) failure = error;
        endpoint.rest();
      });
      if (arrival === undefined) continue;
      const status = arrival.response.statusCode!;
      if (request.answers.includes(status) && !(mirror && status >= 400)) return this.#take(arrival, endpoint, sent);
      if (mirror) await discardBody(arrival.response);
      else failure = await this.#failureOf(arrival, endpoint, sent);
      const broken = status >= 500 || status === 429;
      if (broken) endpoint.rest();
      else if (!mirror) break;
    }
    throw failure;
  }

  async read(response: RegistryResponse, limit: number): Promise<Buffer> {
    try {
      return await readBody(response.body, limit, response.url);
    } catch (error) {
      throw this.#describe.get(response.body)?.(error) ?? error;
    }
  }

  /** Mirrors first, those that failed lately last: they may still be better than a dead registry. */
  #order(request: RegistryRequest): Endpoint[] {
    if (!CONTENT.test(`${request.method} ${request.target}`) || !isPull(request.scopes ?? [])) return [this.#origin];
    const awake = this.#mirrors.filter((mirror) => !mirror.rests);
    return [...awake, this.#origin, ...this.#mirrors.filter((mirror) => mirror.rests)];
  }

  #take({ response, url }: Arrival, endpoint: Endpoint, request: RegistryRequest): RegistryResponse {
    response.once('error', () => endpoint.rest());
    this.#describe.set(response, (error) => endpoint.describeBreak(error, request, url));
    return { status: response.statusCode!, headers: response.headers, url: showUrl(url), body: response };
  }

  async #failureOf({ response, url }: Arrival, endpoint: Endpoint, request: RegistryRequest): Promise<Error> {
    const body = await readStart(response, MAX_ERROR_BODY);
    return describeAnswer(response.statusCode!, body, endpoint.context(request, url));
  }

  [Symbol.dispose](): void {
    this.#session[Symbol.dispose]();
  }
}

/** The same request below a mirror's prefix. */
function throughMirror(request: RegistryRequest, prefix: string): RegistryRequest {
  if (prefix === '') return request;
  const scopes = formatScopes(parseScopes(request.scopes ?? [])).map((scope) =>
    scope.replace(/^repository:/, `repository:${prefix}/`),
  );
  return { ...request, target: request.target.replace(/^\/v2\//, `/v2/${prefix}/`), scopes };
}
