import { workerUrl } from '../system/worker-url.ts';

type Pool = import('../system/worker-pool.ts').WorkerPool;
let pool: Promise<Pool> | undefined;

/** The store's threads, started when first needed. They do not keep the process alive. */
export function threads(): Promise<Pool> {
  pool ??= import('../system/worker-pool.ts').then(
    ({ WorkerPool }) => new WorkerPool(workerUrl('store/ingest-worker')),
  );
  return pool;
}

/** Begins to start one, for work that is about to come: a thread takes a while to be there. */
export function warmThreads(): void {
  void threads().then((pool) => pool.warm());
}
