import { hash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Digest, isDigest } from '../core/digest.ts';
import { hasLayer } from '../store/layers.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import { replaceFile } from '../system/atomic.ts';

/** Changes with the meaning of keys: older records are then never asked for. */
const KEY_VERSION = 1;

/** What a step gave: a layer, or none where it changed nothing. */
export interface StepResult {
  layer: Digest | null;
  /** RFC 3339: when the step was done. */
  created: string;
}

/** A step's result with all that finds it again: what a cache that travels is made of. */
export interface CachedStep extends StepResult {
  key: string;
  /** '' where nothing but the key counts. */
  inputs: string;
  /** A COPY by its stage's lineage: a cache that has the stage's layers does without. */
  lineage?: true;
}

/** Results that came from elsewhere (`--cache-from`). */
export interface CacheSource {
  /** Whether it has a result for this key with any inputs. */
  has(key: string): boolean;
  /** The result, its layer in the store and held by the lease. Undefined where it has none, or the layer is lost. */
  find(key: string, inputs: string): Promise<StepResult | undefined>;
  /** All that gave this layer. */
  sharing(layer: Digest): readonly CachedStep[];
}

/** Digest over what shapes a step, apart from the files it takes. The fields' order counts. */
export function stepKey(fields: unknown): string {
  return hash('sha256', JSON.stringify([KEY_VERSION, fields]), 'hex');
}

/**
 * Results of steps by what went into them: ROOT/cache/<key>-<inputs>.json is `{"layers":[DiffID],"created":…}`, with
 * no layer where the step changed nothing. A prune may drop records at will; one whose layer is gone is a miss.
 */
export class BuildCache {
  readonly #store: Store;
  readonly #lease: Lease;
  readonly #sources: readonly CacheSource[];
  readonly #used: Map<string, CachedStep> = new Map();

  constructor(store: Store, lease: Lease, sources: readonly CacheSource[] = []) {
    this.#store = store;
    this.#lease = lease;
    this.#sources = sources;
  }

  /** What this build took or made, in an order that does not depend on it. */
  get used(): CachedStep[] {
    return [...this.#used.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, step]) => step);
  }

  /** Whether this step was ever done: where it was not, its inputs need no digest before it is. */
  has(key: string): boolean {
    return existsSync(this.#seenPath(key)) || this.#sources.some((source) => source.has(key));
  }

  /** As `get`, and where this store has none, from the sources, the first that has it. */
  async find(key: string, inputs = ''): Promise<StepResult | undefined> {
    const known = this.get(key, inputs);
    if (known !== undefined) return known;
    for (const source of this.#sources) {
      const found = await source.find(key, inputs);
      if (found === undefined) continue;
      this.set(key, inputs, found);
      return found;
    }
    return undefined;
  }

  /** Whether there are sources. */
  get hasSources(): boolean {
    return this.#sources.length > 0;
  }

  /** From the sources alone, with what else they know of the layer: whoever takes this cache along takes that, too. */
  async findElsewhere(key: string): Promise<StepResult | undefined> {
    for (const source of this.#sources) {
      const found = await source.find(key, '');
      if (found === undefined) continue;
      this.tell({ key, inputs: '', ...found });
      for (const step of found.layer === null ? [] : source.sharing(found.layer)) this.tell(step);
      return found;
    }
    return undefined;
  }

  /** For a cache that travels; this store keeps nothing of it. */
  tell(step: CachedStep): void {
    this.#used.set(`${step.key}-${step.inputs}`, step);
  }

  /** The result for exactly these inputs, its layer held by the lease; undefined where there is none (any more). */
  get(key: string, inputs = ''): StepResult | undefined {
    const path = this.#path(key, inputs);
    const result = readRecord(path);
    if (result === undefined) return undefined;
    if (result.layer !== null) {
      // Held first, then looked at: a prune may be at work.
      this.#lease.add(result.layer);
      if (!hasLayer(this.#store, result.layer)) return undefined;
    }
    touch(path);
    this.#used.set(`${key}-${inputs}`, { key, inputs, ...result });
    return result;
  }

  /** Best effort: without the record the step is only done again. */
  set(key: string, inputs: string, { layer, created }: StepResult): void {
    this.#used.set(`${key}-${inputs}`, { key, inputs, layer, created });
    try {
      if (inputs !== '') {
        mkdirSync(join(this.#store.root, 'cache', 'seen'), { recursive: true });
        writeFileSync(this.#seenPath(key), '');
      }
      const record = `${JSON.stringify({ layers: layer === null ? [] : [layer], created })}\n`;
      replaceFile(this.#path(key, inputs), record, { durable: false });
    } catch {
      // A full disk, say: the image itself will tell.
    }
  }

  #path(key: string, inputs: string): string {
    return join(this.#store.root, 'cache', `${inputs === '' ? key : `${key}-${inputs}`}.json`);
  }

  #seenPath(key: string): string {
    return join(this.#store.root, 'cache', 'seen', key);
  }
}

/** Undefined for anything that is not a whole record: it may be damaged. */
function readRecord(path: string): StepResult | undefined {
  try {
    const { layers, created } = JSON.parse(readFileSync(path, 'utf8')) as { layers: string[]; created: string };
    if (!layers.every(isDigest) || layers.length > 1 || Number.isNaN(Date.parse(created))) return undefined;
    return { layer: layers[0] ?? null, created };
  } catch {
    return undefined;
  }
}

const DAY_MS = 24 * 3600 * 1000;
/** What no build used for so long goes by itself. */
export const KEPT_DAYS = 30;

/**
 * Forgets what the last 30 days had no use for of the notes beside the records: digests of contexts and of inputs.
 * Looks once a day. The records themselves are prune's.
 */
export function sweepCache(store: Store): void {
  const cache = join(store.root, 'cache');
  const marker = join(cache, 'seen', '.swept');
  const now = Date.now();
  try {
    if (now - (statSync(marker, { throwIfNoEntry: false })?.mtimeMs ?? 0) < DAY_MS) return;
    for (const directory of ['seen', 'inputs', 'stat']) {
      const path = join(cache, directory);
      for (const name of existsSync(path) ? readdirSync(path) : []) {
        const file = join(path, name);
        if (now - statSync(file).mtimeMs > KEPT_DAYS * DAY_MS) rmSync(file);
      }
    }
    if (existsSync(join(cache, 'seen'))) writeFileSync(marker, '');
  } catch {
    // Another build sweeps, too.
  }
}

/** Its time is when the records were last put in order. */
export function sweepMarker(store: Store): string {
  return join(store.root, 'cache', 'seen', '.swept-records');
}

/** Once a day. */
export function isSweepDue(store: Store, now: number = Date.now()): boolean {
  return now - (statSync(sweepMarker(store), { throwIfNoEntry: false })?.mtimeMs ?? 0) >= DAY_MS;
}

/** The time of last use, for a prune by age. */
function touch(path: string): void {
  try {
    utimesSync(path, new Date(), new Date());
  } catch {
    // Another user's record, or gone meanwhile.
  }
}
