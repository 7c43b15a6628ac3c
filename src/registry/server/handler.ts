import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { WIRE_ERRORS } from '../wire/errors.ts';
import type { Access, Authorize, Decision } from './authorize.ts';
import { drainRequest } from './body.ts';
import { endPointOf } from './end-points.ts';
import type { Exchange } from './exchange.ts';
import { describeFailure, WireFailure } from './failure.ts';
import type { HandlerOptions, RequestEvent } from './options.ts';
import { openRegistry } from './registry.ts';
import { sendFailure } from './responses.ts';
import { parseRoute, type Route } from './route.ts';

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;

const NO_QUERY: URLSearchParams = new URLSearchParams();

/** A registry as a handler of Node's `http` server: OCI distribution-spec v1.1.1, and what Docker's registry has beyond it. */
export function createHandler(options: HandlerOptions): RequestHandler {
  const registry = openRegistry(options);
  const { authorize, proxy, onRequest } = options;
  const automatic = options.automaticMounts ?? authorize === undefined;
  const automaticMounts = !automatic ? 'off' : authorize === undefined ? 'open' : 'asked';
  const prefix = randomBytes(6).toString('hex');
  let count = 0;
  return (request, response) => {
    const event = startEvent(request, `${prefix}-${++count}`);
    const started = performance.now();
    response.setHeader('Docker-Distribution-Api-Version', 'registry/2.0');
    response.setHeader('X-Content-Type-Options', 'nosniff');
    response.setHeader('X-Request-Id', event.id);
    const url = request.url ?? '/';
    const cut = url.indexOf('?');
    const exchange: Exchange = {
      registry,
      request,
      response,
      proxy,
      automaticMounts,
      query: cut < 0 ? NO_QUERY : new URLSearchParams(url.slice(cut + 1)),
      may: async (access) => authorize === undefined || (await authorize(request, access)).ok,
      bytesIn: 0,
      bytesOut: 0,
    };
    response.on('close', () => {
      event.milliseconds = performance.now() - started;
      event.status = response.headersSent ? response.statusCode : 0;
      event.aborted = !response.writableFinished;
      event.bytesIn = exchange.bytesIn;
      event.bytesOut = exchange.bytesOut;
      onRequest?.(event);
    });
    serve(exchange, event, options).catch((error: unknown) => answerFailure(exchange, event, error));
  };
}

async function serve(exchange: Exchange, event: RequestEvent, options: HandlerOptions): Promise<void> {
  const { request } = exchange;
  const route = parseRoute(event.path, event.method);
  noteRoute(event, route);
  const endPoint = endPointOf(route, request.method ?? '', options);
  if (options.authorize !== undefined) {
    const access: Access = { action: endPoint.action };
    if (route.repository !== undefined) access.repository = route.repository;
    await admit(options.authorize, exchange, event, access);
  }
  await endPoint.run(exchange, route);
}

async function admit(authorize: Authorize, { request }: Exchange, event: RequestEvent, access: Access): Promise<void> {
  const decision = await authorize(request, access);
  if (decision.user !== undefined) event.user = decision.user;
  if (!decision.ok) throw refusal(decision);
}

function refusal(decision: Exclude<Decision, { ok: true }>): WireFailure {
  const { unauthorized, denied, tooManyRequests } = WIRE_ERRORS;
  const kind = decision.status === 401 ? unauthorized : decision.status === 403 ? denied : tooManyRequests;
  const headers: Record<string, string | string[]> = {};
  if (decision.challenges.length > 0) headers['WWW-Authenticate'] = decision.challenges;
  if (decision.retryAfter !== undefined) headers['Retry-After'] = String(decision.retryAfter);
  return new WireFailure(kind, decision.message, { headers });
}

function answerFailure(exchange: Exchange, event: RequestEvent, error: unknown): void {
  const { request, response } = exchange;
  const failure = describeFailure(error);
  event.error = failure.errors[0]!;
  if (failure.status >= 500) event.cause = error;
  if (response.headersSent || response.destroyed || request.errored) {
    response.destroy();
    return;
  }
  sendFailure(exchange, failure);
  drainRequest(request);
}

function startEvent(request: IncomingMessage, id: string): RequestEvent {
  const url = request.url ?? '/';
  const cut = url.indexOf('?');
  return {
    id,
    method: request.method ?? '',
    path: cut < 0 ? url : url.slice(0, cut),
    route: 'unknown',
    remote: request.socket.remoteAddress ?? '',
    userAgent: request.headers['user-agent'] ?? '',
    status: 0,
    bytesIn: 0,
    bytesOut: 0,
    milliseconds: 0,
    aborted: false,
  };
}

function noteRoute(event: RequestEvent, route: Route): void {
  event.route = route.name;
  if (route.repository !== undefined) event.repository = route.repository;
  if (route.name === 'manifest') event.reference = route.reference.tag ?? route.reference.digest;
  else if (route.name === 'blob' || route.name === 'referrers') event.reference = route.digest;
  else if (route.name === 'upload') event.reference = route.id;
}
