import { Connections } from './connections.ts';
import { resolveTiming } from './retry.ts';
import type { ClientOptions, Timing } from './types.ts';

/** What all requests of a transport share. */
export interface Session extends Disposable {
  readonly options: ClientOptions;
  readonly timing: Timing;
  readonly connections: Connections;
}

export function openSession(options: ClientOptions): Session {
  const connections = new Connections(options);
  return {
    options,
    timing: resolveTiming(options),
    connections,
    [Symbol.dispose]: () => connections[Symbol.dispose](),
  };
}
