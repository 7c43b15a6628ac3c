import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { RegistryStorage } from '../storage/storage.ts';
import type { CollectOutcome } from './collect.ts';
import type { RequestEvent } from './options.ts';

const PREFIX = 'imago_registry_';
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);
/** Gauges of Node's own, some of them named as counters: what they count is nothing that an operator knows. */
const NODE_INTERNALS = ['handles', 'requests', 'resources'].flatMap((name) => [
  `nodejs_active_${name}`,
  `nodejs_active_${name}_total`,
]);
/** Counting uploads lists them in the storage: not more often than this, and not further. */
const COUNT_UPLOADS_MS = 30_000;
const MAX_UPLOAD_PAGES = 20;

/** What Prometheus is told. Labels have few values: nothing that a client makes up is one. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #requests = this.#counter('requests_total', 'Requests answered', ['method', 'route', 'status']);
  readonly #seconds = new Histogram({
    name: `${PREFIX}request_duration_seconds`,
    help: "Time to the answer's end",
    labelNames: ['method', 'route'] as const,
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300],
    registers: [this.#registry],
  });
  readonly #received = this.#counter('received_bytes_total', 'Bytes of bodies received', ['route']);
  readonly #sent = this.#counter('sent_bytes_total', 'Bytes of bodies sent', ['route']);
  readonly #aborted = this.#counter('aborted_requests_total', 'Requests whose client went away', ['route']);
  readonly #refused = this.#counter('refused_connections_total', 'Connections ended for what they sent or did not', [
    'reason',
  ]);
  readonly #collections = this.#counter('gc_runs_total', 'Garbage collections', ['result']);
  readonly #removedBlobs = this.#counter('gc_removed_blobs_total', 'Blobs that garbage collection removed', []);
  readonly #removedBytes = this.#counter('gc_removed_bytes_total', 'Bytes that garbage collection freed', []);
  readonly #collectionSeconds = this.#gauge('gc_last_duration_seconds', 'Time of the last garbage collection');
  readonly #collectedAt = this.#gauge('gc_last_success_timestamp_seconds', 'When garbage collection succeeded last');

  constructor({
    storage,
    connections,
    inFlight,
  }: { storage: RegistryStorage; connections: () => number; inFlight: () => number }) {
    collectDefaultMetrics({ register: this.#registry });
    for (const name of NODE_INTERNALS) this.#registry.removeSingleMetric(name);
    this.#gauge('connections', 'Open connections', () => connections());
    this.#gauge('requests_in_flight', 'Requests being answered', () => inFlight());
    this.#gauge(
      'uploads_open',
      'Uploads that are neither finished nor cancelled',
      remember(() => countUploads(storage)),
    );
  }

  request(event: RequestEvent): void {
    const { route } = event;
    const method = METHODS.has(event.method) ? event.method : 'other';
    this.#requests.inc({ method, route, status: String(event.status) });
    this.#seconds.observe({ method, route }, event.milliseconds / 1000);
    if (event.bytesIn > 0) this.#received.inc({ route }, event.bytesIn);
    if (event.bytesOut > 0) this.#sent.inc({ route }, event.bytesOut);
    if (event.aborted) this.#aborted.inc({ route });
  }

  refused(reason: 'slow' | 'idle' | 'malformed' | 'headers' | 'limit' | 'tls'): void {
    this.#refused.inc({ reason });
  }

  /** Undefined: it failed. */
  collected(outcome: CollectOutcome | undefined): void {
    this.#collections.inc({ result: outcome === undefined ? 'failed' : outcome.busy ? 'busy' : 'done' });
    if (outcome === undefined || outcome.busy) return;
    this.#removedBlobs.inc(outcome.removedBlobs);
    this.#removedBytes.inc(outcome.removedBytes);
    this.#collectionSeconds.set(outcome.milliseconds / 1000);
    this.#collectedAt.set(Date.now() / 1000);
  }

  /** Prometheus' text format. */
  async format(): Promise<{ contentType: string; text: string }> {
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }

  #counter<L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> {
    return new Counter({ name: PREFIX + name, help, labelNames, registers: [this.#registry] });
  }

  #gauge(name: string, help: string, read?: () => number | Promise<number>): Gauge {
    const collect = async function (this: Gauge): Promise<void> {
      this.set(await read!());
    };
    return new Gauge({
      name: PREFIX + name,
      help,
      registers: [this.#registry],
      ...(read === undefined ? {} : { collect }),
    });
  }
}

async function countUploads(storage: RegistryStorage): Promise<number> {
  let total = 0;
  let after: string | undefined;
  for (let page = 0; page < MAX_UPLOAD_PAGES; page++) {
    const { uploads, next } = await storage.listUploads(after === undefined ? {} : { after });
    total += uploads.length;
    if (next === undefined) break;
    after = next;
  }
  return total;
}

/** The last number stands where there is none now: a scrape must not fail because the storage does. */
function remember(read: () => Promise<number>): () => Promise<number> {
  let last = 0;
  let at = Number.NEGATIVE_INFINITY;
  return async () => {
    if (performance.now() - at < COUNT_UPLOADS_MS) return last;
    at = performance.now();
    last = await read().catch(() => last);
    return last;
  };
}
