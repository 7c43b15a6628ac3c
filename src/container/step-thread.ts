import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { ImagoError } from '../core/errors.ts';
import { createLimit } from '../core/limit.ts';
import type { Store } from '../store/store.ts';
import { type PackedError, unpackError } from '../system/worker-error.ts';
import { workerUrl } from '../system/worker-url.ts';
import type { StepOptions } from './step.ts';

/** A step as it goes to its thread. */
export type ThreadedStep = Omit<StepOptions, 'stdout' | 'stderr' | 'signal'>;

export type StepMessage = { root: string; run: string; options: ThreadedStep } | { abort: true };
export type StepReply = { stream: 'stdout' | 'stderr'; data: Uint8Array } | { status: number } | { error: PackedError };

export interface StepEvents {
  onOutput(stream: 'stdout' | 'stderr', data: Uint8Array): void;
  /** Ends the step's processes. */
  signal?: AbortSignal | undefined;
}

/** Steps mostly wait for a disk or a network, but each has a container to itself. */
const atOnce = createLimit(Math.max(4, availableParallelism()));

/**
 * `runStep` in a thread of its own, whose mount namespace is its own, too: steps run side by side, and the process
 * stays in the namespace where it is. A thread does one step: what cleans up after the next would see, and follow, the
 * mounts of the one before. Rejects as `runStep` does, after the step's processes have ended.
 */
export function runStepInThread(store: Store, options: ThreadedStep, events: StepEvents): Promise<number> {
  return atOnce(async () => {
    if (events.signal?.aborted) throw aborted(events.signal);
    return await runIn(startThread(), { root: store.root, run: store.run, options }, events);
  });
}

/** Descriptors here are opened and closed by system calls of our own, which Node would warn of. */
function startThread(): Worker {
  return new Worker(workerUrl('container/step-worker'), { execArgv: [], trackUnmanagedFds: false });
}

function runIn(worker: Worker, step: StepMessage, { onOutput, signal }: StepEvents): Promise<number> {
  const abort = (): void => worker.postMessage({ abort: true } satisfies StepMessage);
  return new Promise<number>((resolve, reject) => {
    const end = (settle: () => void): void => {
      signal?.removeEventListener('abort', abort);
      for (const event of ['message', 'error', 'exit']) worker.removeAllListeners(event);
      settle();
    };
    worker.on('message', (reply: StepReply) => {
      if ('stream' in reply) onOutput(reply.stream, reply.data);
      else {
        end(() => ('status' in reply ? resolve(reply.status) : reject(unpackError(reply.error))));
        void worker.terminate();
      }
    });
    worker.on('error', (error) => end(() => reject(error)));
    worker.on('exit', (code) => end(() => reject(new Error(`the thread of a step ended with ${code}`))));
    signal?.addEventListener('abort', abort, { once: true });
    worker.postMessage(step);
  }).catch((error: unknown) => {
    throw signal?.aborted ? aborted(signal) : error;
  });
}

function aborted(signal: AbortSignal): ImagoError {
  return new ImagoError('ABORTED', 'the step was stopped', { cause: signal.reason });
}
