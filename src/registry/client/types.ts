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
  /** Limits of time and tries; for tests and odd networks. */
  timing?: Partial<Timing>;
  /** Instead of the process's, for proxies and places of files. */
  environment?: Readonly<Record<string, string | undefined>>;
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
  /** Bearer token for the registry itself (config.json `registrytoken`); nothing is asked of a token server then. */
  registryToken?: string;
}

/** Times in milliseconds. */
export interface Timing {
  /** Without a byte, while one is waited for. Default: $IMAGO_STALL_TIMEOUT, else 60 s; answers to uploads have five times that. */
  stallMs: number;
  /** Until a connection stands, TLS included (15 s). */
  connectMs: number;
  /** Before the second try; doubled for each one after it, with jitter, up to 10 s (500 ms). */
  retryMs: number;
  /** The longest `Retry-After` that is waited for (60 s). */
  maxRetryAfterMs: number;
  /** Of one request, the first included (5). */
  tries: number;
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
  /**
   * Distribution token scopes: `repository:library/debian:pull,push`. A GET of a blob, a GET or HEAD of a manifest, may
   * be answered by a mirror where all scopes are `pull`.
   */
  scopes?: readonly string[];
  /** Statuses that are answers; any other becomes a typed error with the registry's own words. */
  answers: readonly number[];
  /**
   * Broken connections, 408, 429 and 5xx are tried again (default). With false a body that is a function is called once
   * at most: also a 401 is then final after bytes were sent.
   */
  retry?: boolean;
  /** What errors call it: `debian:bookworm`. Default: made of the target. */
  reference?: string;
  signal?: AbortSignal;
  /** Sent also when the client's own signal has ended all else: it tidies up. */
  afterwards?: boolean;
}

export interface RegistryResponse {
  status: number;
  headers: IncomingHttpHeaders;
  /** Where the answer came from at last, without its secrets. */
  url: string;
  /**
   * Consume or destroy it. Fails with `STALLED` after the stall timeout without a byte (time in which the consumer does
   * not take what is there does not count), and with Node's own error where the connection breaks (`describeBreak`).
   */
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
