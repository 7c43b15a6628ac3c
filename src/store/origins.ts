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

/** Remembers that a layer that is here has this compressed form, and a repository that has it. */
export function addOrigin(
  store: Store,
  diffId: Digest,
  origin: { digest: Digest; size: number; mediaType: string; repository?: string },
): void {
  // Read, changed and written: alone.
  using _lock = store.lock('exclusive');
  const known = origins(store, diffId);
  let entry = known.find((o) => o.digest === origin.digest);
  const { repository } = origin;
  if (entry !== undefined && (repository === undefined || entry.repositories.includes(repository))) return;
  if (entry === undefined) {
    entry = { digest: origin.digest, size: origin.size, mediaType: origin.mediaType, repositories: [] };
    known.push(entry);
  }
  if (repository !== undefined) entry.repositories.push(repository);
  explainWrites(store.root, () =>
    replaceFile(originPath(store, diffId), `${JSON.stringify(known)}\n`, {
      temporary: join(store.root, 'ingest', `tmp-${uniqueName()}`),
    }),
  );
}

function originPath(store: Store, diffId: Digest): string {
  return join(store.layerDirectory(diffId), FILES.origins);
}
