import { availableParallelism } from 'node:os';
import type { Worker } from 'node:worker_threads';
import { endThread, startThread } from './pool-thread.ts';
import { type PackedError, unpackError } from './worker-error.ts';

/** What a worker's entry sends back for the one job it has (see `serveJobs`). */
export type WorkerReply<R> = { result: R } | { error: PackedError } | { progress: number };

export interface JobOptions {
  /** Of the jobs that wait, the heaviest starts first, so that the last one to end is a short one. */
  weight?: number;
  /** The job mostly waits for its input: it does not count against the number of processors. */
  waits?: boolean;
  onProgress?: (value: number) => void;
  /** Aborting ends the thread in the middle of its work, but for what is `unbroken`. */
  signal?: AbortSignal;
}

interface Job {
  data: unknown;
  options: JobOptions;
  resolve(result: unknown): void;
  reject(error: unknown): void;
}

/** Threads that wait for input, over those that compute. */
const WAITING_THREADS = 3;
const IDLE_MS = 2000;

/**
 * Threads of one entry file, started when needed; as many compute as there are processors, at most two (memory).
 * Idle threads do not keep the process alive, and end after a while.
 */
export class WorkerPool {
  readonly #url: URL;
  readonly #computing: number = Math.min(2, availableParallelism());
  readonly #queue: Job[] = [];
  readonly #idle: Worker[] = [];
  #busy = 0;
  #waiting = 0;
  #scheduled = false;
  #sorted = true;

  constructor(url: URL) {
    this.#url = url;
  }

  run<R>(data: unknown, options: JobOptions = {}): Promise<R> {
    return new Promise<R>((resolve, reject) => {
      this.#queue.push({ data, options, resolve: resolve as (result: unknown) => void, reject });
      this.#sorted = false;
      this.#schedule();
    });
  }

  /** Starts a thread where none is idle, so that it is there when a job comes. */
  warm(): void {
    if (this.#idle.length > 0 || !this.#hasRoom()) return;
    const worker = startThread(this.#url);
    // Of no more use; a job that has it by then hears of it itself.
    const leave = (): void => {
      if (this.#forget(worker)) void endThread(worker);
    };
    worker.on('error', leave).on('exit', leave);
    this.#rest(worker);
  }

  /** Looks at the queue once all calls of this turn are in it, to begin with the heaviest. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (!this.#sorted) this.#queue.sort((a, b) => (b.options.weight ?? 0) - (a.options.weight ?? 0));
      this.#sorted = true;
      for (let i = 0; i < this.#queue.length && this.#hasRoom(); ) {
        const job = this.#queue[i]!;
        if (!this.#mayStart(job)) i++;
        else {
          this.#queue.splice(i, 1);
          this.#start(job);
        }
      }
    });
  }

  #hasRoom(): boolean {
    return this.#busy < this.#computing || this.#waiting < WAITING_THREADS;
  }

  #mayStart(job: Job): boolean {
    return job.options.waits ? this.#waiting < WAITING_THREADS : this.#busy < this.#computing;
  }

  #count(job: Job, by: 1 | -1): void {
    if (job.options.waits) this.#waiting += by;
    else this.#busy += by;
  }

  #start(job: Job): void {
    if (job.options.signal?.aborted) {
      job.reject(job.options.signal.reason);
      return;
    }
    const worker = this.#idle.pop() ?? startThread(this.#url);
    this.#count(job, 1);
    worker.ref();
    const end = (reuse: boolean, settle: () => void): void => {
      job.options.signal?.removeEventListener('abort', abort);
      // By name: Node has listeners of its own there, without which no message arrives any more.
      for (const event of ['message', 'error', 'exit']) worker.removeAllListeners(event);
      this.#count(job, -1);
      this.#schedule();
      // Who waits may clean up at once: the thread must not be writing then.
      if (!reuse) endThread(worker).then(settle, settle);
      else {
        this.#rest(worker);
        settle();
      }
    };
    const abort = (): void => end(false, () => job.reject(job.options.signal?.reason));
    job.options.signal?.addEventListener('abort', abort);
    worker.on('message', (reply: WorkerReply<unknown>) => {
      if ('progress' in reply) job.options.onProgress?.(reply.progress);
      else if ('error' in reply) end(true, () => job.reject(unpackError(reply.error)));
      else end(true, () => job.resolve(reply.result));
    });
    worker.on('error', (error) => end(false, () => job.reject(error)));
    worker.on('exit', (code) => end(false, () => job.reject(new Error(`a worker thread ended with ${code}`))));
    worker.postMessage(job.data);
  }

  #rest(worker: Worker): void {
    worker.unref();
    this.#idle.push(worker);
    setTimeout(() => {
      if (this.#forget(worker)) void endThread(worker);
    }, IDLE_MS).unref();
  }

  /** False where it was not idle. */
  #forget(worker: Worker): boolean {
    const at = this.#idle.indexOf(worker);
    if (at >= 0) this.#idle.splice(at, 1);
    return at >= 0;
  }
}
