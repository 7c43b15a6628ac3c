import { readdirSync, type Stats, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Digest, digestAlgorithm } from '../core/digest.ts';
import { Belongings } from './belongings.ts';
import { missingBlob } from './blobs.ts';
import { explainWriteError } from './errors.ts';
import type { HashJob, HashOutcome } from './layer-job.ts';
import { digestOfName, quarantinePath } from './layout.ts';
import { Reached } from './mark.ts';
import { origins } from './origins.ts';
import type { LayerHooks } from './prune.ts';
import { quarantineBlob, quarantineRef } from './quarantine.ts';
import { listRefs } from './refs.ts';
import { checkLayer, reindexLayer } from './reindex.ts';
import type { Store } from './store.ts';
import { threads } from './threads.ts';

export interface VerifyOptions extends LayerHooks {
  /** Only what these reach (a manifest's digest, say); default: everything in the store. */
  only?: readonly Digest[];
  /** Compares what other rooms made of a layer, which is intact, and takes it away where it differs. */
  checkDerived?: (diffId: Digest) => 'same' | 'removed';
  /** Makes what other rooms derived from layers anew, and compares: the patch of a stack, by its ChainID. */
  regenerateChain?: (chainId: Digest) => Promise<'same' | 'replaced' | 'removed'>;
  /** Gets bytes. */
  onProgress?: (done: number, total: number) => void;
}

export interface Damage {
  kind: 'layer tar' | 'compressed layer' | 'manifest' | 'config' | 'index' | 'blob' | 'reference';
  /** Of what is damaged or missing. A reference that is damaged itself has none. */
  digest?: Digest;
  reason: string;
  /** Where the damaged bytes are now; absent where they were missing. */
  path?: string;
  /** Names of the images that it belongs to. */
  references: string[];
  /** How to get it back. */
  remedy: string;
}

export interface Regenerated {
  kind: 'layer index' | 'layer facts' | 'unpacked layer' | 'patch';
  /** The layer's DiffID, or a patch's ChainID. */
  digest: Digest;
}

export interface VerifyResult {
  /** Blobs that were read, and their bytes. */
  checked: number;
  bytes: number;
  damaged: Damage[];
  regenerated: Regenerated[];
}

/**
 * Reads everything again: hashes every blob, makes every layer's index anew and compares, resolves every reference.
 * What is damaged is set aside in ROOT/quarantine and never served again; what can be made from what is good is made.
 * Others may work on the store meanwhile.
 */
export async function verify(store: Store, options: VerifyOptions = {}): Promise<VerifyResult> {
  const run = new Verification(store, options);
  try {
    return await run.run();
  } catch (error) {
    throw explainWriteError(error, store.root);
  }
}

/** How often a blob may go and come again under the eyes of verify before something else must be wrong. */
const RETRIES = 20;

class Verification {
  readonly #store: Store;
  readonly #options: VerifyOptions;
  readonly #result: VerifyResult = { checked: 0, bytes: 0, damaged: [], regenerated: [] };
  readonly #belongings: Belongings;
  readonly #wanted: Reached | undefined;

  constructor(store: Store, options: VerifyOptions) {
    this.#store = store;
    this.#options = options;
    if (options.only !== undefined) {
      this.#wanted = new Reached(store.root);
      for (const digest of options.only) this.#wanted.add(digest);
    }
    this.#belongings = new Belongings(store, this.#readRefs());
  }

  async run(): Promise<VerifyResult> {
    const blobs = this.#listBlobs();
    const total = blobs.reduce((sum, { stat }) => sum + stat.size, 0);
    this.#options.onProgress?.(0, total);
    const checks = blobs.map(async ({ digest, stat }) => {
      if (!(await this.#checkBlob(digest, stat))) return;
      this.#result.checked++;
      this.#result.bytes += stat.size;
      this.#options.onProgress?.(this.#result.bytes, total);
    });
    // All end before an error is told: what was found damaged is set aside in any case.
    const failed = (await Promise.allSettled(checks)).find((check) => check.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    await this.#checkChains();
    this.#checkReferences();
    return this.#result;
  }

  #readRefs(): ReturnType<typeof listRefs> {
    return listRefs(this.#store.root, (path) => {
      if (this.#wanted !== undefined) return;
      this.#result.damaged.push({
        kind: 'reference',
        reason: 'its record cannot be read',
        path: quarantineRef(this.#store, path),
        references: [],
        remedy: 'tag or pull the image again',
      });
    });
  }

  #listBlobs(): { digest: Digest; stat: Stats }[] {
    const out: { digest: Digest; stat: Stats }[] = [];
    for (const directory of ['blobs/sha256', 'blobs/sha512']) {
      for (const name of readdirSync(join(this.#store.root, directory))) {
        const digest = digestOfName(name);
        if (digest === undefined || !(this.#wanted?.digests.has(digest) ?? true)) continue;
        const stat = statSync(this.#store.blobPath(digest), { throwIfNoEntry: false });
        if (stat !== undefined) out.push({ digest, stat });
      }
    }
    return out;
  }

  /** False where the blob went away meanwhile. */
  async #checkBlob(digest: Digest, stat: Stats): Promise<boolean> {
    for (let attempt = 0; ; attempt++) {
      try {
        if (this.#isLayer(digest)) await this.#checkLayer(digest, stat);
        else {
          const got = await this.#hash(digest, stat.size);
          if (got !== digest) this.#setAside(digest, stat, otherDigest(got));
        }
        return true;
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code;
        if (code === 'EIO') {
          // The disk itself cannot read it.
          this.#setAside(digest, stat, 'the disk cannot read it (EIO)');
          return true;
        }
        if (code !== 'ENOENT') throw error;
        // Pruned while it was read; and it may have come again since.
        if (!this.#store.hasBlob(digest)) return false;
        if (attempt === RETRIES) throw error;
      }
    }
  }

  /** Whether it is a layer's tar: it has an index, or an image says that it should. */
  #isLayer(digest: Digest): boolean {
    if (statSync(this.#store.layerDirectory(digest), { throwIfNoEntry: false }) !== undefined) return true;
    return this.#belongings.kindOf(digest) === 'layer tar';
  }

  async #hash(digest: Digest, weight: number): Promise<Digest> {
    const job: HashJob = { kind: 'hash', path: this.#store.blobPath(digest), algorithm: digestAlgorithm(digest) };
    return (await (await threads()).run<HashOutcome>(job, { weight })).digest;
  }

  async #checkLayer(diffId: Digest, stat: Stats): Promise<void> {
    const found = await checkLayer(this.#store, diffId);
    if (found.diffId !== diffId) {
      this.#setAside(diffId, stat, otherDigest(found.diffId));
      return;
    }
    if (found.failure !== undefined) {
      this.#result.damaged.push({
        kind: 'layer tar',
        digest: diffId,
        reason: `it is intact, but no index can be made of it: ${found.failure.message}`,
        references: this.#belongings.referencesTo(diffId),
        remedy: 'remove the images that have it',
      });
      return;
    }
    if (this.#options.checkDerived?.(diffId) === 'removed') {
      this.#result.regenerated.push({ kind: 'unpacked layer', digest: diffId });
    }
    if (found.differs.length === 0) return;
    await reindexLayer(this.#store, diffId);
    // Who has mounted the old index must mount the new one.
    this.#options.dropLayer?.(diffId);
    for (const what of found.differs) this.#result.regenerated.push({ kind: `layer ${what}`, digest: diffId });
  }

  #setAside(digest: Digest, stat: Stats, reason: string): void {
    const kind = this.#belongings.kindOf(digest);
    const references = this.#belongings.referencesTo(digest);
    const path = quarantinePath(this.#store.root, digest);
    const remedy = this.#remedyFor(digest, references);
    const found = new Date().toISOString();
    if (!quarantineBlob(this.#store, { digest, path, kind, reason, references, remedy, found }, stat.ino)) return;
    this.#options.dropLayer?.(digest);
    this.#result.damaged.push({ kind, digest, reason, path, references, remedy });
  }

  #remedyFor(digest: Digest, references: readonly string[]): string {
    const named = references.filter((r) => !r.startsWith('<'));
    if (references.length === 0) return "no image has it: 'imago prune' clears it away";
    const again = 'load its archive, or build it, again';
    if (named.length === 0) return `${again} (the image has no name)`;
    const pulled = named.find((r) => this.#wasPulled(digest, r));
    return pulled === undefined
      ? `${again}; or, if a registry has it, 'imago pull ${named[0]}'`
      : `'imago pull ${pulled}'`;
  }

  /** Some layer of the image is known to lie in the repository that the reference names. */
  #wasPulled(digest: Digest, reference: string): boolean {
    const repository = reference.replace(/@.*$/, '').replace(/:[^/:]*$/, '');
    const layers = [digest];
    for (const [part, { kind, references }] of this.#belongings.parts) {
      if (kind === 'layer tar' && references.has(reference)) layers.push(part);
    }
    return layers.some((id) => origins(this.#store, id).some((o) => o.repositories.includes(repository)));
  }

  async #checkChains(): Promise<void> {
    const { regenerateChain } = this.#options;
    if (regenerateChain === undefined) return;
    for (const name of readdirSync(join(this.#store.root, 'chains'))) {
      const chainId = digestOfName(name);
      if (chainId === undefined || !(this.#wanted?.chains.has(chainId) ?? true)) continue;
      if ((await regenerateChain(chainId)) === 'same') continue;
      this.#options.dropChain?.(chainId);
      this.#result.regenerated.push({ kind: 'patch', digest: chainId });
    }
  }

  /** What is missing though it was not set aside just now. */
  #checkReferences(): void {
    // Nothing is pruned while it looks, so what is missing is not merely on its way out.
    using _lock = this.#store.lock('shared');
    const told = new Set(this.#result.damaged.map((d) => d.digest));
    for (const { digest, kind } of new Belongings(
      this.#store,
      listRefs(this.#store.root, () => {}),
    ).missing) {
      if (told.has(digest) || !(this.#wanted?.digests.has(digest) ?? true)) continue;
      told.add(digest);
      const references = this.#belongings.referencesTo(digest);
      const before = missingBlob(this.#store.root, digest).details.path;
      this.#result.damaged.push({
        kind,
        digest,
        reason: before === undefined ? 'it is missing' : 'it was damaged, and set aside before',
        path: before,
        references,
        remedy: this.#remedyFor(digest, references),
      });
    }
  }
}

function otherDigest(got: Digest): string {
  return `its bytes have another digest: ${got}`;
}
