import type { RegistryStorage, UploadStat } from '../storage/storage.ts';
import { WIRE_ERRORS } from '../wire/errors.ts';
import { WireFailure } from './failure.ts';
import type { Limits } from './options.ts';

/** How long a count is trusted: other replicas open and end uploads, too. */
const COUNT_MS = 30_000;
const RETRY_AFTER_SECONDS = 30;
const PAGE = 1000;

/** Bounds how many uploads are open, so that nobody fills the storage with beginnings. */
export class OpenUploads {
  readonly #storage: RegistryStorage;
  readonly #limits: Readonly<Pick<Limits, 'openUploads' | 'openUploadsPerRepository'>>;
  #counts = new Map<string, number>();
  #total = 0;
  #counted = Number.NEGATIVE_INFINITY;
  #counting: Promise<void> | undefined;

  constructor(storage: RegistryStorage, limits: Readonly<Pick<Limits, 'openUploads' | 'openUploadsPerRepository'>>) {
    this.#storage = storage;
    this.#limits = limits;
  }

  /** Opens one. Throws 429 where too many are open. */
  async open(repository: string): Promise<UploadStat> {
    await this.#count();
    const mine = this.#counts.get(repository) ?? 0;
    if (mine >= this.#limits.openUploadsPerRepository || this.#total >= this.#limits.openUploads) {
      throw new WireFailure(WIRE_ERRORS.tooManyRequests, 'too many uploads are open: end or cancel some, or wait', {
        headers: { 'Retry-After': String(RETRY_AFTER_SECONDS) },
      });
    }
    this.#add(repository, 1);
    try {
      return await this.#storage.createUpload(repository);
    } catch (error) {
      this.#add(repository, -1);
      throw error;
    }
  }

  /** Told of every upload that was published or discarded. */
  ended(repository: string): void {
    this.#add(repository, -1);
  }

  #add(repository: string, change: 1 | -1): void {
    const count = (this.#counts.get(repository) ?? 0) + change;
    if (count > 0) this.#counts.set(repository, count);
    else this.#counts.delete(repository);
    this.#total = Math.max(this.#total + change, 0);
  }

  #count(): Promise<void> | undefined {
    if (performance.now() - this.#counted < COUNT_MS) return undefined;
    this.#counting ??= this.#recount().finally(() => {
      this.#counting = undefined;
    });
    return this.#counting;
  }

  async #recount(): Promise<void> {
    const counts = new Map<string, number>();
    let total = 0;
    let after: string | undefined;
    do {
      const page = await this.#storage.listUploads({ limit: PAGE, ...(after === undefined ? {} : { after }) });
      for (const { repository } of page.uploads) counts.set(repository, (counts.get(repository) ?? 0) + 1);
      total += page.uploads.length;
      after = page.next;
    } while (after !== undefined && total < this.#limits.openUploads);
    this.#counts = counts;
    this.#total = total;
    this.#counted = performance.now();
  }
}
