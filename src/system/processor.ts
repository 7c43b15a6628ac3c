import { bindCall } from './call.ts';

const getCall = bindCall<[number, number, Buffer]>('sched_getaffinity', ['int', 'size_t', 'void *'], 'int');
const setCall = bindCall<[number, number, Buffer]>('sched_setaffinity', ['int', 'size_t', 'void *'], 'int');

/** Bytes of a set that holds every processor of today's kernels (CONFIG_NR_CPUS ≤ 8192). */
const SET_SIZE = 1024;

/**
 * Runs `attempt` on one processor after another of those that this thread may use, until it returns something.
 * Synchronous. The thread may use all of them again afterwards.
 */
export function tryEachProcessor<T>(attempt: () => T | undefined): T | undefined {
  const allowed = Buffer.alloc(SET_SIZE);
  getCall(undefined, 0, SET_SIZE, allowed);
  try {
    for (let cpu = 0; cpu < SET_SIZE * 8; cpu++) {
      const bit = 1 << (cpu & 7);
      if ((allowed[cpu >> 3]! & bit) === 0) continue;
      const only = Buffer.alloc(SET_SIZE);
      only[cpu >> 3] = bit;
      setCall(undefined, 0, SET_SIZE, only);
      const result = attempt();
      if (result !== undefined) return result;
    }
    return undefined;
  } finally {
    setCall(undefined, 0, SET_SIZE, allowed);
  }
}
