import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { chainIds } from '../oci/chain.ts';
import { tryLockIfThere } from '../system/lock.ts';
import { readDocument } from './document.ts';
import { quarantinePath } from './layout.ts';
import { listRefs, type RefRecord } from './refs.ts';

const LARGEST_RECORD = 64 * 2 ** 20;
const DIGESTS = /sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}/g;

/** What can be reached from some roots. */
export class Reached {
  readonly #root: string;
  /** Blobs and layers (by their DiffID), present or not. */
  readonly digests: Set<Digest> = new Set();
  /** ChainIDs of every stack of layers on the way. */
  readonly chains: Set<Digest> = new Set();

  constructor(root: string) {
    this.#root = root;
  }

  /** Adds a blob or layer and all below it. Bounded by the store, not by the depth of what hostile indexes name. */
  add(digest: Digest): void {
    const waiting = [digest];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      if (this.digests.has(next)) continue;
      this.digests.add(next);
      const named = readDocument(this.#root, next);
      if (named === undefined) {
        // A damaged manifest is set aside until it comes again; what it named is worth keeping for that.
        for (const leaf of digestsInFile(quarantinePath(this.#root, next))) this.digests.add(leaf);
        continue;
      }
      for (const leaf of named.blobs) this.digests.add(leaf);
      for (const diffId of named.layers) this.digests.add(diffId);
      for (const chain of chainIds(named.layers)) this.chains.add(chain);
      waiting.push(...named.documents);
    }
  }
}

export interface Roots {
  /** Files of leases whose holder is gone. */
  deadLeases: string[];
  leased: Digest[];
  references: RefRecord[];
  /** All digests that container records name. */
  contained: Set<Digest>;
}

/**
 * The roots of garbage collection. Call under the exclusive lock. Leases come first: work that ends meanwhile has
 * made its record by then, and the record is read after.
 */
export function readRoots(root: string): Roots {
  const { dead, leased } = readLeases(root);
  // What a damaged record still shows is kept, until somebody looked at it.
  const references = listRefs(root, (path) => leased.push(...digestsInFile(path)));
  const contained = new Set<Digest>();
  for (const id of readdirSync(join(root, 'containers'))) {
    for (const digest of digestsInFile(join(root, 'containers', id, 'container.json'))) contained.add(digest);
  }
  return { deadLeases: dead, leased, references, contained };
}

function readLeases(root: string): { dead: string[]; leased: Digest[] } {
  const dead: string[] = [];
  const leased: Digest[] = [];
  for (const name of readdirSync(join(root, 'leases'))) {
    const path = join(root, 'leases', name);
    const lock = tryLockIfThere(path, 'exclusive');
    if (lock === 'gone') continue;
    if (lock === 'held') leased.push(...digestsInFile(path));
    else {
      lock.release();
      dead.push(path);
    }
  }
  return { dead, leased };
}

/** Every digest in the text of a record, whatever its form: a root too many does no harm. None in large files. */
export function digestsInFile(path: string): Digest[] {
  try {
    if ((statSync(path, { throwIfNoEntry: false })?.size ?? Infinity) > LARGEST_RECORD) return [];
    return (readFileSync(path, 'latin1').match(DIGESTS) ?? []) as Digest[];
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return [];
    throw error;
  }
}
