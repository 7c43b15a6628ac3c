import { Agent as PlainAgent } from 'node:http';
import { Agent as TlsAgent } from 'node:https';
import type { SecureContext } from 'node:tls';
import { DOCKER_HUB } from './hosts.ts';
import { findProxy } from './proxy.ts';
import { type HostCertificates, makeSecureContext, readHostCertificates } from './tls.ts';
import type { ClientOptions } from './types.ts';

/** Connections that wait for the next request, for each host. */
const MAX_IDLE = 16;
/** Bytes that a socket takes before it waits for its reader or writer. */
const HIGH_WATER_MARK = 512 * 1024;

/** The kept connections of a transport: one agent a scheme, host and port, with its proxy and its certificates. */
export class Connections implements Disposable {
  readonly #options: ClientOptions;
  readonly #agents = new Map<string, PlainAgent>();
  readonly #certificates = new Map<string, HostCertificates>();
  readonly #retired: PlainAgent[] = [];
  /** Counts up when what is trusted changes. */
  generation = 0;

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  /** Throws `BAD_CERTIFICATES`. */
  agent(url: URL, insecure: boolean): PlainAgent {
    const key = `${url.origin} ${insecure}`;
    const known = this.#agents.get(key);
    if (known !== undefined) return known;
    const proxy = this.proxy(url);
    const common = {
      keepAlive: true,
      maxFreeSockets: MAX_IDLE,
      highWaterMark: HIGH_WATER_MARK,
      ...(proxy === undefined ? {} : { proxyEnv: { http_proxy: proxy, https_proxy: proxy } }),
    };
    const agent =
      url.protocol === 'https:'
        ? new TlsAgent({ ...common, secureContext: this.#context(url), rejectUnauthorized: !insecure })
        : new PlainAgent(common);
    this.#agents.set(key, agent);
    return agent;
  }

  proxy(url: URL): string | undefined {
    return findProxy(url, this.#options.environment ?? process.env);
  }

  /**
   * From now on the machine's certificate authorities count, too. False where they did already in that generation, so
   * that trying again would change nothing.
   */
  addSystemAuthorities(generation: number): boolean {
    if (generation > 0) return false;
    if (this.generation === 0) {
      this.generation = 1;
      // Connections in use end by themselves: they were trusted.
      for (const [key, agent] of this.#agents) {
        if (!key.startsWith('https:')) continue;
        this.#agents.delete(key);
        this.#retired.push(agent);
      }
    }
    return true;
  }

  #context(url: URL): SecureContext {
    let found = this.#certificates.get(url.host);
    if (found === undefined) {
      const port = url.port === '' ? [`${url.hostname}:443`] : [];
      const hub = url.hostname === `registry-1.${DOCKER_HUB}` ? [DOCKER_HUB] : [];
      found = readHostCertificates([url.host, ...port, ...hub], this.#options);
      this.#certificates.set(url.host, found);
    }
    return makeSecureContext(found, this.generation > 0);
  }

  [Symbol.dispose](): void {
    for (const agent of [...this.#agents.values(), ...this.#retired]) agent.destroy();
    this.#agents.clear();
  }
}
