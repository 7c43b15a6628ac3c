import { parentPort, workerData } from 'node:worker_threads';
import { type EndLock, useEndLock } from './unbroken.ts';
import { packError } from './worker-error.ts';
import type { WorkerReply } from './worker-pool.ts';

/** The worker's side of `WorkerPool`: answers each job with its result or its error. */
export function serveJobs<J, R>(work: (job: J, onProgress: (value: number) => void) => Promise<R>): void {
  const port = parentPort;
  if (port === null) throw new Error('this file is the entry of a worker thread');
  useEndLock(workerData as EndLock);
  const reply = (message: WorkerReply<R>): void => port.postMessage(message);
  port.on('message', (job: J) => {
    work(job, (progress) => reply({ progress })).then(
      (result) => reply({ result }),
      (error: unknown) => reply({ error: packError(error) }),
    );
  });
}
