import { Worker } from 'node:worker_threads';
import { createEndLock, type EndLock, lockForEnd, lockForEndNow } from './unbroken.ts';

/** Of the threads that there are. */
const locks = new Map<Worker, EndLock>();

/** Starts a thread whose entry calls `serveJobs`. It is not ended in the middle of what is `unbroken`, nor is the process. */
export function startThread(url: URL): Worker {
  if (locks.size === 0) process.on('exit', holdAll);
  const lock = createEndLock();
  // No flags: those of the program that uses Imago (--input-type, say) need not fit the thread's entry.
  const worker = new Worker(url, { execArgv: [], workerData: lock });
  locks.set(worker, lock);
  return worker;
}

/** Resolves when it has ended; also where it has by itself. */
export async function endThread(worker: Worker): Promise<void> {
  const lock = locks.get(worker);
  if (lock !== undefined && worker.threadId >= 0) await lockForEnd(lock);
  await worker.terminate();
  if (locks.delete(worker) && locks.size === 0) process.off('exit', holdAll);
}

/** Ending a process ends its threads, wherever they are. */
function holdAll(): void {
  for (const [worker, lock] of locks) if (worker.threadId >= 0) lockForEndNow(lock);
}
