import { readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { tryLockFile } from '../system/lock.ts';
import { Ingest, listAbandoned } from './ingest.ts';
import type { Store } from './store.ts';

const looked = new Set<string>();

/**
 * Takes away the writes of processes that were killed, as a command that is about to write much should: they may be
 * large. Once a process and store, and only where nobody else is at work just now; `prune` does it in any case.
 */
export function collectLeftovers(store: Store): void {
  if (looked.has(store.root)) return;
  looked.add(store.root);
  if (readdirSync(join(store.root, 'ingest')).length === 0) return;
  using trash = Ingest.create(store, 'trash');
  using lock = tryLockFile(join(store.root, 'lock'), 'exclusive');
  if (lock === undefined) return;
  for (const [i, path] of listAbandoned(store.root).entries()) renameSync(path, trash.path(String(i)));
}
