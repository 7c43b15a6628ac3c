export type Limit = <T>(work: () => Promise<T>) => Promise<T>;

/** Runs work at once, but no more than `most` pieces of it; the others wait in the order in which they came. */
export function createLimit(most: number): Limit {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (work) => {
    if (running >= most) await new Promise<void>((start) => waiting.push(start));
    else running++;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running--;
      else next();
    }
  };
}

export interface TogetherOptions {
  signal?: AbortSignal | undefined;
  /** How many items at most are worked on at a time; the others begin in their order. */
  atOnce?: number;
}

/**
 * Works on all items at once; results in order. Where one fails the others are told by the signal, those that wait never
 * begin, and all are waited for: nothing is going on any more when this returns, or throws the first failure.
 */
export async function runTogether<I, R>(
  items: readonly I[],
  work: (item: I, signal: AbortSignal) => Promise<R>,
  { signal, atOnce = Number.POSITIVE_INFINITY }: TogetherOptions = {},
): Promise<R[]> {
  const stop = new AbortController();
  const ended = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const limit = createLimit(atOnce);
  let failure: { error: unknown } | undefined;
  const results: R[] = new Array(items.length);
  await Promise.all(
    items.map((item, i) =>
      limit(async () => {
        try {
          ended.throwIfAborted();
          results[i] = await work(item, ended);
        } catch (error) {
          failure ??= { error };
          stop.abort(error);
        }
      }),
    ),
  );
  if (failure !== undefined) throw failure.error;
  return results;
}
