import { runTogether } from '../../core/limit.ts';

/** Requests to the storage at a time, of one request or one collection. */
const WIDTH = 16;

/** Maps with at most 16 calls under way; results in order. Ends with the first error, once no call is under way. */
export function mapBounded<T, R>(items: readonly T[], map: (item: T) => Promise<R>): Promise<R[]> {
  return runTogether(items, map, { atOnce: WIDTH });
}
