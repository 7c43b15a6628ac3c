import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { replaceFile, uniqueName } from '../system/atomic.ts';
import { explainWrites } from './errors.ts';
import { FILES } from './layer-job.ts';
import type { Store } from './store.ts';

/** A compressed form of a layer that exists somewhere, so that a push need not make another one. */
export interface Origin {
  /** Of the compressed bytes. */
  digest: Digest;
  size: number;
  mediaType: string;
  /** Repositories (host and path, no tag) that have these bytes. */
  repositories: string[];
  /** The form (`formatForm`) in which a push made these bytes here, so that they can be made again. */
  form?: string;
}

/** In the order in which they became known. Empty for a layer that is not here. */
export function origins(store: Store, diffId: Digest): Origin[] {
  try {
    return JSON.parse(readFileSync(originPath(store, diffId), 'utf8')) as Origin[];
  } catch (error) {
    // It only saves work: what cannot be read counts as not known.
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** Remembers that a layer that is here has this compressed form, a repository that has it, and how it was made. */
export function addOrigin(
  store: Store,
  diffId: Digest,
  origin: Omit<Origin, 'repositories'> & { repository?: string },
): void {
  const { repository, form, digest, size, mediaType } = origin;
  const knows = (entry: Origin | undefined): boolean =>
    entry !== undefined &&
    (repository === undefined || entry.repositories.includes(repository)) &&
    (form === undefined || entry.form === form);
  // Most often all of it is known, and nobody need wait.
  if (knows(origins(store, diffId).find((entry) => entry.digest === digest))) return;
  // Read, changed and written: alone.
  using _lock = store.lock('exclusive');
  const known = origins(store, diffId);
  let entry = known.find((other) => other.digest === digest);
  if (knows(entry)) return;
  if (entry === undefined) {
    entry = { digest, size, mediaType, repositories: [] };
    known.push(entry);
  }
  if (repository !== undefined && !entry.repositories.includes(repository)) entry.repositories.push(repository);
  if (form !== undefined) entry.form = form;
  explainWrites(store.root, () =>
    replaceFile(originPath(store, diffId), `${JSON.stringify(known)}\n`, {
      temporary: join(store.root, 'ingest', `tmp-${uniqueName()}`),
    }),
  );
}

function originPath(store: Store, diffId: Digest): string {
  return join(store.layerDirectory(diffId), FILES.origins);
}
