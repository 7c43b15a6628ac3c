import { sleep } from './sleep.ts';

/**
 * Sections of a thread that it is not ended in. Node must not end a thread between the making of a zlib stream's handle
 * and its setting up, which are two calls: what cleans up after the thread then ends the whole process, by an assertion
 * (`close before init`, src/node_zlib.cc; Node 26).
 */
export type EndLock = Int32Array<SharedArrayBuffer>;

const FREE = 0;
/** The thread is in a section. */
const HELD = 1;
/** Somebody ends the thread: it begins no section any more. */
const ENDING = 2;
/** Sections are short. A thread that died in one holds its lock for ever. */
const PATIENCE_MS = 10_000;
const STEP_MS = 2;

let own: EndLock | undefined;

export function createEndLock(): EndLock {
  return new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
}

/** In a thread, at its start: the lock that those who may end it have. */
export function useEndLock(lock: EndLock): void {
  own = lock;
}

/** Runs a short section that does not wait. In a thread without a lock it just runs. */
export function unbroken<T>(section: () => T): T {
  if (own === undefined) return section();
  // The end of the thread ends the wait.
  while (Atomics.compareExchange(own, 0, FREE, HELD) === ENDING) Atomics.wait(own, 0, ENDING);
  try {
    return section();
  } finally {
    Atomics.store(own, 0, FREE);
    Atomics.notify(own, 0);
  }
}

/** Resolves when the thread may be ended. */
export async function lockForEnd(lock: EndLock): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (Atomics.compareExchange(lock, 0, FREE, ENDING) === HELD && performance.now() < deadline) await sleep(STEP_MS);
}

/** The same for a process that ends, which ends its threads: it cannot wait but by standing still. */
export function lockForEndNow(lock: EndLock): void {
  const deadline = performance.now() + PATIENCE_MS;
  while (Atomics.compareExchange(lock, 0, FREE, ENDING) === HELD && performance.now() < deadline) {
    Atomics.wait(lock, 0, HELD, PATIENCE_MS);
  }
}
