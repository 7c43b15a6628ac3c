import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';

/** What a transport needs to know besides the request; all of it optional. */
export interface ClientOptions {
  /** Plain HTTP, and TLS certificates that nobody vouches for, also with hosts that are not loopback. */
  insecure?: boolean;
  /** Docker's config.json with credentials. Default: $DOCKER_CONFIG/config.json, ~/.docker/config.json. */
  dockerConfig?: string;
  /** Instead of what the config has, for every request to the registry that the client was made for. */
  credentials?: Credentials;
  /** Directories with HOST[:PORT]/{*.crt,*.cert,*.key}. Default: /etc/imago/certs.d, /etc/containers/certs.d, /etc/docker/certs.d and ~/.config/imago/certs.d. */
  certificates?: readonly string[];
  /** Mirrors and insecure hosts by registry (docs/registries.md). Default: $IMAGO_REGISTRIES, else /etc/imago/registries.json and ~/.config/imago/registries.json. */
  registries?: string;
  /** Told when a request is tried again, before the pause. */
  onRetry?: (event: RetryEvent) => void;
  /** Ends everything that the client does. */
  signal?: AbortSignal;
}

export interface Credentials {
  username: string;
  /** A password, or an access token where the registry takes one. */
  password: string;
  /** OAuth2 refresh token (config.json `identitytoken`) instead of a password. */
  identityToken?: string;
}

export interface RetryEvent {
  /** Without secrets. */
  url: string;
  attempt: number;
  delayMs: number;
  reason: string;
}

export interface RegistryRequest {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** `/v2/…` with its query, or a full URL that the registry gave (an upload's Location). */
  target: string;
  headers?: Record<string, string>;
  /** A function makes the body anew for each try; the length goes into `headers`. */
  body?: Uint8Array | (() => AsyncIterable<Uint8Array>);
  /** Distribution token scopes: `repository:library/debian:pull,push`. */
  scopes?: readonly string[];
  /** Statuses that are answers; any other becomes a typed error with the registry's own words. */
  answers: readonly number[];
  /** Broken connections, 408, 429 and 5xx are tried again. Default: where the body can be made again. */
  retry?: boolean;
  signal?: AbortSignal;
}

export interface RegistryResponse {
  status: number;
  headers: IncomingHttpHeaders;
  /** Where the answer came from at last, without its secrets. */
  url: string;
  /** Consume or destroy it. Fails with `STALLED` after the stall timeout without a byte. */
  body: Readable;
}

/** One registry (and its mirrors), with its credentials, connections and retries. */
export interface Transport extends Disposable {
  /** As in references: docker.io, localhost:5000. */
  readonly registry: string;
  request(request: RegistryRequest): Promise<RegistryResponse>;
  /** An answer's body whole. Throws `RESPONSE_TOO_LARGE` beyond `limit` bytes. */
  read(response: RegistryResponse, limit: number): Promise<Buffer>;
}
