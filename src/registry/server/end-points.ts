import { WIRE_ERRORS } from '../wire/errors.ts';
import type { Action } from './authorize.ts';
import { deleteBlob, getBlob, headBlob } from './blobs.ts';
import { listCatalog } from './catalog.ts';
import type { Exchange } from './exchange.ts';
import { WireFailure } from './failure.ts';
import { deleteManifest, getManifest, putManifest } from './manifests.ts';
import type { HandlerOptions } from './options.ts';
import { listReferrers } from './referrers.ts';
import { sendJson } from './responses.ts';
import type { Route } from './route.ts';
import { listTags } from './tags.ts';
import { cancelUpload, continueUpload, finishUpload, getUpload, startUpload } from './uploads.ts';

/** One method of one route: what it needs leave for, and what it does. */
export interface EndPoint {
  action: Action;
  run(exchange: Exchange, route: Route): Promise<void> | void;
}

type Of<N extends Route['name']> = Extract<Route, { name: N }>;
type Methods<N extends Route['name']> = Record<
  string,
  { action: Action; run(exchange: Exchange, route: Of<N>): Promise<void> | void }
>;

/** OCI distribution-spec v1.1.1 §Endpoints; the catalog is Docker's. */
const END_POINTS: { [N in Exclude<Route['name'], 'unknown'>]: Methods<N> } = {
  base: read('pull', (exchange) => sendJson(exchange, {})),
  catalog: read('catalog', (exchange) => listCatalog(exchange)),
  tags: read<'tags'>('pull', (exchange, route) => listTags(exchange, route.repository)),
  referrers: read<'referrers'>('pull', (exchange, route) => listReferrers(exchange, route.repository, route.digest)),
  manifest: {
    ...read<'manifest'>('pull', (exchange, route) => getManifest(exchange, route.repository, route.reference)),
    PUT: { action: 'push', run: (exchange, route) => putManifest(exchange, route.repository, route.reference) },
    DELETE: { action: 'delete', run: (exchange, route) => deleteManifest(exchange, route.repository, route.reference) },
  },
  blob: {
    GET: { action: 'pull', run: (exchange, route) => getBlob(exchange, route.repository, route.digest) },
    HEAD: { action: 'pull', run: (exchange, route) => headBlob(exchange, route.repository, route.digest) },
    DELETE: { action: 'delete', run: (exchange, route) => deleteBlob(exchange, route.repository, route.digest) },
  },
  uploads: {
    POST: { action: 'push', run: (exchange, route) => startUpload(exchange, route.repository) },
  },
  upload: {
    GET: { action: 'push', run: (exchange, route) => getUpload(exchange, route.repository, route.id) },
    PATCH: { action: 'push', run: (exchange, route) => continueUpload(exchange, route.repository, route.id) },
    PUT: { action: 'push', run: (exchange, route) => finishUpload(exchange, route.repository, route.id) },
    DELETE: { action: 'push', run: (exchange, route) => cancelUpload(exchange, route.repository, route.id) },
  },
};

/** Throws 404 for what is no end point, 405 for a method that it has not, or has not got now. */
export function endPointOf(
  route: Route,
  method: string,
  { readOnly = false, deletes = true }: Pick<HandlerOptions, 'readOnly' | 'deletes'>,
): EndPoint {
  if (route.name === 'unknown') throw new WireFailure(WIRE_ERRORS.notFound, 'no such end point');
  const methods = END_POINTS[route.name] as Methods<Route['name']>;
  const endPoint = Object.hasOwn(methods, method) ? methods[method] : undefined;
  const closed = (action: Action): boolean =>
    (readOnly && (action === 'push' || action === 'delete')) || (!deletes && action === 'delete');
  if (endPoint !== undefined && !closed(endPoint.action)) return endPoint as EndPoint;
  const allowed = Object.keys(methods).filter((name) => !closed(methods[name]!.action));
  const reason = endPoint === undefined ? 'the method is not supported here' : reasonOf(readOnly);
  throw new WireFailure(WIRE_ERRORS.unsupported, reason, { headers: { Allow: allowed.join(', ') } });
}

function reasonOf(readOnly: boolean): string {
  return readOnly ? 'the registry is read-only' : 'deleting is switched off in this registry';
}

function read<N extends Route['name']>(
  action: Action,
  run: (exchange: Exchange, route: Of<N>) => Promise<void> | void,
): Methods<N> {
  return { GET: { action, run }, HEAD: { action, run } };
}
