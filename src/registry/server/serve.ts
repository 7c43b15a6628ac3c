import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type AddressInfo, Server as NetServer, Socket } from 'node:net';
import { ImagoError } from '../../core/errors.ts';
import type { RegistryStorage } from '../storage/storage.ts';
import type { CollectOutcome } from './collect.ts';
import { collectPeriodically } from './collector.ts';
import { parseAddress, type ServeConfig } from './config.ts';
import { Connections } from './connections.ts';
import { openDoor } from './door.ts';
import { createFront } from './front.ts';
import { createHandler } from './handler.ts';
import { Readiness } from './health.ts';
import type { Log } from './log.ts';
import { Metrics } from './metrics.ts';
import type { PullThrough } from './options.ts';
import { answerOnSocket } from './socket-answer.ts';
import { TlsFiles } from './tls.ts';

/** What a server is made of besides its settings. The storage stays the caller's to close. */
export interface ServeParts {
  storage: RegistryStorage;
  log: Log;
  proxy?: PullThrough;
  /** One garbage collection; needed where `gc.interval` is set. */
  collect?: (signal: AbortSignal) => Promise<CollectOutcome>;
}

export interface RunningRegistry {
  /** `http://127.0.0.1:5000`. */
  url: string;
  /** HOST:PORT of the metrics where they have an address of their own. */
  metricsAddress: string | undefined;
  /**
   * Not ready first (for `shutdown.delay`), then no new connections; running requests and uploads are finished for at
   * most `shutdown.timeout`. Resolves when all is over.
   */
  stop(): Promise<void>;
}

/** Requests are bounded by rates and idle times, since an upload may rightly take hours. */
const NO_REQUEST_TIMEOUT = 0;
const MAX_HEADER_BYTES = 16 << 10;

/** What Node keeps in a TLS socket, the connection below it; used where it is there. */
interface BelowTls {
  _parent?: unknown;
}

/** Starts to serve. Throws `ADDRESS_IN_USE` and the like, and what is wrong with the files that the settings name. */
export async function startRegistry(config: ServeConfig, parts: ServeParts): Promise<RunningRegistry> {
  const { storage, log } = parts;
  const onProblem = (error: Error): void => log.error('a changed file is not used', error);
  const connections = new Connections(config.timeouts, (reason) => metrics.refused(reason));
  const metrics = new Metrics({ storage, connections: () => connections.open, inFlight: () => connections.inFlight });
  const readiness = new Readiness(
    () => storage.check(),
    (error) => log.error('the storage is not available', error, { storage: storage.title }),
  );
  const tls = config.tls === undefined ? undefined : new TlsFiles(config.tls, onProblem);
  const door = config.auth && openDoor(config.auth, { origin: originOf(config), onProblem });
  const registry = createHandler({
    storage,
    limits: config.limits,
    readOnly: config.readOnly,
    deletes: config.deletes,
    sparse: config.sparse,
    ...(config.automaticMounts === undefined ? {} : { automaticMounts: config.automaticMounts }),
    ...(door === undefined ? {} : { authorize: door.authorize }),
    ...(parts.proxy === undefined ? {} : { proxy: parts.proxy }),
    onRequest(event) {
      metrics.request(event);
      if (config.log.requests) log.request(event);
    },
  });
  const inside = config.metrics.enabled && config.metrics.address === undefined;
  const front = createFront({ registry, readiness, metrics: inside ? metrics : undefined, tokens: door?.tokens, log });
  const server = makeServer(config, tls, connections, metrics, front);
  const own = config.metrics.enabled && !inside ? makeMetricsServer(metrics, readiness, log) : undefined;
  await listen(server, config.address);
  try {
    if (own !== undefined) await listen(own, config.metrics.address!);
  } catch (error) {
    server.close();
    throw error;
  }
  const watching = tls?.watch(
    server as Server & Parameters<TlsFiles['watch']>[0],
    () => log.info('the TLS certificate was replaced'),
    onProblem,
  );
  const collecting =
    config.gc.interval !== undefined && parts.collect !== undefined
      ? collectPeriodically(config.gc.interval, parts.collect, { log, metrics })
      : undefined;

  const stop = async (): Promise<void> => {
    log.info('shutting down', { inFlight: connections.inFlight });
    readiness.drain();
    if (config.shutdown.delay > 0) await new Promise((resolve) => setTimeout(resolve, config.shutdown.delay));
    // Not the HTTP server's own close(), which ends idle connections: one of them may bring the rest of an upload.
    NetServer.prototype.close.call(server);
    const [{ cutOff }] = await Promise.all([connections.drain(config.shutdown.timeout), collecting?.stop()]);
    server.close();
    own?.close();
    own?.closeAllConnections();
    watching?.[Symbol.dispose]();
    log.info('shut down', { cutOff });
    log.flush();
  };
  return {
    url: `${tls === undefined ? 'http' : 'https'}://${formatAddress(server)}`,
    metricsAddress: own && formatAddress(own),
    stop,
  };
}

function makeServer(
  config: ServeConfig,
  tls: TlsFiles | undefined,
  connections: Connections,
  metrics: Metrics,
  front: RequestListener,
): Server {
  const { timeouts } = config;
  const options = {
    headersTimeout: timeouts.headers,
    requestTimeout: NO_REQUEST_TIMEOUT,
    keepAliveTimeout: timeouts.keepAlive,
    connectionsCheckingInterval: Math.min(1000, timeouts.headers),
    maxHeaderSize: MAX_HEADER_BYTES,
    noDelay: true,
  };
  const server: Server =
    tls === undefined
      ? createServer(options)
      : createTlsServer({ ...options, ...tls.options, handshakeTimeout: timeouts.headers });
  server.maxConnections = config.limits.connections;
  server.on(tls === undefined ? 'connection' : 'secureConnection', (socket: Socket) => connections.add(socket));
  server.on('request', (req: IncomingMessage, res: ServerResponse) => {
    connections.begin(req, res);
    front(req, res);
  });
  server.setTimeout(timeouts.idle, (socket?: Socket) => socket && connections.onIdle(socket));
  server.on('drop', () => metrics.refused('limit'));
  server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: BelowTls) => {
    metrics.refused('tls');
    if (error.code === 'ERR_SSL_HTTP_REQUEST' && socket._parent instanceof Socket)
      answerOnSocket(socket._parent, 400, 'BAD_REQUEST', 'this port speaks TLS: ask with https');
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    metrics.refused(
      error.code === 'ERR_HTTP_REQUEST_TIMEOUT' || error.code === 'HPE_HEADER_OVERFLOW' ? 'headers' : 'malformed',
    );
    if (error.code === 'ECONNRESET' || connections.isAnswering(socket)) socket.destroy();
    else answerOnSocket(socket, ...answerTo(error.code));
  });
  return server;
}

function answerTo(code: string | undefined): [status: number, code: string, message: string] {
  if (code === 'HPE_HEADER_OVERFLOW')
    return [431, 'HEADERS_TOO_LARGE', `headers are limited to ${MAX_HEADER_BYTES} bytes`];
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return [408, 'REQUEST_TIMEOUT', 'the headers took too long'];
  return [400, 'BAD_REQUEST', `not an HTTP request that can be answered (${code ?? 'unknown'})`];
}

/** Metrics and health on an address of their own, for inside. */
function makeMetricsServer(metrics: Metrics, readiness: Readiness, log: Log): Server {
  const nothing: RequestListener = (_req, res) => {
    res.writeHead(404, { 'Content-Length': 0 }).end();
  };
  return createServer(
    { headersTimeout: 10_000, requestTimeout: 10_000, connectionsCheckingInterval: 1000 },
    createFront({ registry: nothing, readiness, metrics, tokens: undefined, log }),
  );
}

async function listen(server: Server, address: string): Promise<void> {
  const { host, port } = parseAddress(address)!;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(explainListenError(error, address)));
    server.listen({ port, ...(host === undefined ? {} : { host }), backlog: 1024 }, resolve);
  });
}

function explainListenError(error: NodeJS.ErrnoException, address: string): Error {
  if (error.code === 'EADDRINUSE') {
    return new ImagoError('ADDRESS_IN_USE', `something listens on ${address} already`, {
      cause: error,
      remedy: 'end it, or give another --address',
    });
  }
  return new ImagoError('CANNOT_LISTEN', `cannot listen on ${address}: ${error.message}`, { cause: error });
}

function formatAddress(server: Server): string {
  const { address, family, port } = server.address() as AddressInfo;
  return family === 'IPv6' ? `[${address}]:${port}` : `${address}:${port}`;
}

/**
 * What clients call this server: the setting `url`, else the request's own Host header, which goes back to the client
 * that sent it and nowhere else.
 */
function originOf(config: ServeConfig): (headers: IncomingMessage['headers']) => string {
  if (config.url !== undefined) {
    const url = config.url.replace(/\/+$/, '');
    return () => url;
  }
  return (headers) => {
    const host = /^[A-Za-z0-9.:[\]_-]{1,255}$/.test(headers.host ?? '') ? headers.host! : config.address;
    const secure = config.tls !== undefined || headers['x-forwarded-proto'] === 'https';
    return `${secure ? 'https' : 'http'}://${host}`;
  };
}
