import { type LogEntry, type LogOptions, readLogs } from '../container/logs.ts';
import { findContainer } from '../container/record.ts';
import type { Store } from '../store/store.ts';

/** The output of a container, in order. Throws `NO_SUCH_CONTAINER`, `NO_LOG`. */
export function readLogsByName(store: Store, container: string, options: LogOptions = {}): AsyncGenerator<LogEntry> {
  return readLogs(store, findContainer(store, container), options);
}
