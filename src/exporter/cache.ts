import { BuildCache } from '../build/cache.ts';
import { encodeInlineCache, INLINE_CACHE } from '../build/cache-format.ts';
import type { BuildProgress } from '../build/events.ts';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { formatSize } from '../core/sizes.ts';
import type { ImageDraft } from '../image/draft.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import type { Registries } from '../transfer/push-registries.ts';
import type { CacheSink, ExportedCache } from './cache-export.ts';
import type { ImportedCache } from './cache-import.ts';
import { type CachePlace, type CacheTarget, parseCacheFrom, parseCacheTo } from './cache-options.ts';

export interface BuildCachesOptions {
  store: Store;
  lease: Lease;
  /** Values of `--cache-from` and `--cache-to`. */
  from?: readonly string[];
  to?: readonly string[];
  /** Nothing is taken from anywhere. */
  noCache: boolean;
  progress: BuildProgress;
  signal?: AbortSignal;
}

/** Before anything is done: throws what `BuildCaches.open` throws. */
export function checkCacheOptions(from: readonly string[] = [], to: readonly string[] = []): void {
  from.forEach(parseCacheFrom);
  to.forEach(parseCacheTo);
}

/**
 * The caches of one build: the store's, those that it reads (`--cache-from`), and those that it writes (`--cache-to`).
 * Nothing of the network is loaded where none is named.
 */
export class BuildCaches implements Disposable {
  readonly #options: BuildCachesOptions;
  readonly #targets: CacheTarget[];
  readonly #registries: Map<boolean, Registries> = new Map();
  #cache: BuildCache;

  private constructor(options: BuildCachesOptions, targets: CacheTarget[]) {
    this.#options = options;
    this.#targets = targets;
    this.#cache = new BuildCache(options.store, options.lease);
  }

  /**
   * Reads the records of all caches. One that cannot be read is told, and left out. Throws `BAD_CACHE_OPTION`,
   * `BAD_REFERENCE`, `BAD_COMPRESSION`.
   */
  static async open(options: BuildCachesOptions): Promise<BuildCaches> {
    const places = (options.from ?? []).map(parseCacheFrom);
    const caches = new BuildCaches(options, (options.to ?? []).map(parseCacheTo));
    if (options.noCache || places.length === 0) return caches;
    try {
      const read = await Promise.all(places.map((place) => caches.#read(place)));
      const sources = read.filter((source) => source !== undefined);
      caches.#cache = new BuildCache(options.store, options.lease, sources);
      return caches;
    } catch (error) {
      caches[Symbol.dispose]();
      throw error;
    }
  }

  /** For the solver. */
  get cache(): BuildCache {
    return this.#cache;
  }

  /** The image with the records of its steps in its config, where `--cache-to type=inline` asks for them. */
  withInline(draft: ImageDraft): ImageDraft {
    if (!this.#targets.some(({ place }) => place === undefined)) return draft;
    const text = encodeInlineCache(this.#cache.used, draft.config.rootfs.diff_ids);
    if (text === undefined) return draft;
    const config: ImageDraft['config'] & Record<typeof INLINE_CACHE, string> = {
      ...draft.config,
      [INLINE_CACHE]: text,
    };
    return { ...draft, config };
  }

  /** Writes the caches. `drafts`: what was built. Throws what a registry's client or a full disk throws. */
  async export(drafts: readonly ImageDraft[]): Promise<void> {
    const result = new Set(drafts.flatMap(({ config }) => config.rootfs.diff_ids));
    for (const target of this.#targets) {
      if (target.place === undefined) continue;
      try {
        await this.#write(target.place, target, result);
      } catch (error) {
        this.#options.signal?.throwIfAborted();
        if (!target.ignoreError || !(error instanceof ImagoError)) throw error;
        this.#options.progress.warn(`the cache was not exported: ${error.message}`);
      }
    }
  }

  [Symbol.dispose](): void {
    for (const registries of this.#registries.values()) registries[Symbol.dispose]();
    this.#registries.clear();
  }

  async #read(place: CachePlace): Promise<ImportedCache | undefined> {
    const { store, lease, progress, signal } = this.#options;
    const { titleOf, localContent, registryContent } = await import('./cache-places.ts');
    const { ImportedCache, readCacheRecords } = await import('./cache-import.ts');
    const title = titleOf(place);
    return progress.step(`importing cache manifest from ${title}`, async (step) => {
      try {
        const content =
          place.type === 'local'
            ? localContent(place)
            : registryContent((await this.#open(place.insecure)).open(place.reference), place, signal);
        const records = await readCacheRecords(content);
        step.note(`${records.size} steps`);
        const warn = (text: string): void => progress.warn(text);
        return { value: new ImportedCache(content, records, { store, lease, warn, signal }) };
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof ImagoError)) throw error;
        progress.warn(`cache ${title} is not used: ${error.message}`);
        return { value: undefined };
      }
    });
  }

  async #write(place: CachePlace, target: CacheTarget, result: ReadonlySet<Digest>): Promise<void> {
    const { store, progress, signal } = this.#options;
    const { titleOf } = await import('./cache-places.ts');
    const { exportCache } = await import('./cache-export.ts');
    const { pushWhole } = await import('../transfer/push-whole.ts');
    await progress.step(`exporting cache to ${titleOf(place)}`, async (step) => {
      const work = (sink: CacheSink): Promise<ExportedCache | undefined> =>
        pushWhole(() => exportCache(store, sink, this.#cache.used, result, target, signal));
      const exported = await this.#withSink(place, target, work);
      if (exported === undefined) {
        step.note('nothing to export: no step made a layer');
        return { value: undefined };
      }
      const { descriptor, steps, layers, changed } = exported;
      step.note(`${steps} steps, ${layers} layers: ${descriptor.digest} (${formatSize(descriptor.size)})`);
      return { value: undefined, cached: !changed };
    });
  }

  async #withSink<T>(place: CachePlace, target: CacheTarget, work: (sink: CacheSink) => Promise<T>): Promise<T> {
    const { store, signal } = this.#options;
    const { compression } = target;
    if (place.type === 'local') {
      const { DirectorySink } = await import('./cache-directory.ts');
      return work(new DirectorySink(store, place.path, place.tag, compression));
    }
    const { registrySink } = await import('./cache-push.ts');
    const registries = await this.#open(place.insecure);
    const { reference } = place;
    await using repository = registries.openTarget(reference);
    return await work(registrySink({ store, registries, target: repository, reference, compression, signal }));
  }

  async #open(insecure: boolean): Promise<Registries> {
    let registries = this.#registries.get(insecure);
    if (registries !== undefined) return registries;
    const { Registries: Opened } = await import('../transfer/push-registries.ts');
    registries = this.#registries.get(insecure) ?? new Opened({ insecure, signal: this.#options.signal });
    this.#registries.set(insecure, registries);
    return registries;
  }
}
