import { parseReference } from '../oci/reference.ts';
import { openRepository, type Repository } from '../registry/client/repository.ts';
import { openTransport } from '../registry/client/transport.ts';
import type { ClientOptions, Transport } from '../registry/client/types.ts';

/** Repositories that one command works with: those of one registry share its connections and tokens. */
export class Registries implements Disposable {
  readonly #options: ClientOptions;
  readonly #transports: Map<string, Transport> = new Map();

  constructor(options: ClientOptions) {
    this.#options = options;
  }

  open(reference: { domain: string; path: string }): Repository {
    return openRepository(reference, this.#options, this.#transport(reference.domain));
  }

  /** By its name in full: docker.io/library/debian. */
  named(name: string): Repository {
    return this.open(parseReference(name));
  }

  /**
   * A repository to write to. All that is asked of it is asked with the right to push: so no mirror answers whether it
   * has a blob, and one token does for all. Dispose it before this object.
   */
  openTarget(reference: { domain: string; path: string }): Repository {
    const transport = this.#transport(reference.domain);
    const pull = `repository:${reference.path}:pull`;
    const widened: Transport = {
      registry: transport.registry,
      request: (request) =>
        transport.request({
          ...request,
          scopes: request.scopes?.map((scope) => (scope === pull ? `${pull},push` : scope)),
        }),
      read: (response, limit) => transport.read(response, limit),
      [Symbol.dispose]() {},
    };
    return openRepository(reference, this.#options, widened);
  }

  #transport(domain: string): Transport {
    let transport = this.#transports.get(domain);
    if (transport === undefined) {
      transport = openTransport(domain, this.#options);
      this.#transports.set(domain, transport);
    }
    return transport;
  }

  [Symbol.dispose](): void {
    for (const transport of this.#transports.values()) transport[Symbol.dispose]();
    this.#transports.clear();
  }
}
