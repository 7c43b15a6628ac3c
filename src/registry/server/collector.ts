import type { CollectOptions, CollectOutcome } from './collect.ts';
import type { ServeConfig } from './config.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';

/** How often a cache is looked through where nothing else is said. */
const CACHE_INTERVAL_MS = 60 * 60_000;

/** What the collector is to do by a server's settings. */
export function collectSettings({ gc, proxy }: ServeConfig): Omit<CollectOptions, 'storage'> {
  return { graceMs: gc.grace, uploadMaxAgeMs: gc.uploads, removeUntagged: gc.deleteUntagged, cache: proxy };
}

/** Milliseconds; undefined: never. A cache that has bounds keeps to them by itself. */
export function collectInterval({ gc, proxy, readOnly }: ServeConfig): number | undefined {
  // What is read-only changes nothing; a cache is read-only for its clients.
  if (proxy === undefined) return readOnly ? undefined : gc.interval;
  return gc.interval ?? (proxy.keep > 0 || proxy.size !== undefined ? CACHE_INTERVAL_MS : undefined);
}

/**
 * Runs `collect` about every `interval` milliseconds, the first time after a random part of it: replicas that were
 * started together take turns. Ended by `stop`, which waits for a run that is going on to notice `signal`.
 */
export function collectPeriodically(
  interval: number,
  collect: (signal: AbortSignal) => Promise<CollectOutcome>,
  { log, metrics }: { log: Log; metrics: Metrics },
): { stop(): Promise<void> } {
  const controller = new AbortController();
  let running: Promise<void> = Promise.resolve();
  let timer: NodeJS.Timeout;
  const run = async (): Promise<void> => {
    try {
      const outcome = await collect(controller.signal);
      metrics.collected(outcome);
      if (!outcome.busy) log.info('garbage collected', { ...outcome });
    } catch (error) {
      if (controller.signal.aborted) return;
      metrics.collected(undefined);
      log.error('garbage collection failed', error);
    }
  };
  const plan = (delay: number): void => {
    timer = setTimeout(() => {
      running = run().then(() => {
        if (!controller.signal.aborted) plan(interval);
      });
    }, delay);
    timer.unref();
  };
  plan(interval * Math.random());
  return {
    async stop() {
      controller.abort();
      clearTimeout(timer);
      await running;
    },
  };
}
