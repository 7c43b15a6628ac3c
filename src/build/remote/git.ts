import { mkdirSync } from 'node:fs';
import { IgnoreMatcher } from '../../formats/dockerfile/ignore.ts';
import { Ingest } from '../../store/ingest.ts';
import { fetchGit } from '../../system/git.ts';
import type { GitSource } from '../../system/git-url.ts';
import { openContext } from '../context/context.ts';
import { expandNode, type Selected } from '../copy/select.ts';
import type { RemoteContext } from './file.ts';
import { gitAuthorization } from './secrets.ts';

/** A repository that ADD fetches, checked out below ingest/. Close it: it takes the checkout away. */
export class RemoteRepository implements Disposable {
  readonly #source: GitSource;
  readonly #exclude: IgnoreMatcher | undefined;
  readonly #context: RemoteContext;
  #checkout: { ingest: Ingest; path: string; commit: string } | undefined;

  constructor(
    source: GitSource,
    options: { checksum: string | undefined; exclude: IgnoreMatcher | undefined },
    context: RemoteContext,
  ) {
    this.#source = { ...source, checksum: options.checksum ?? source.checksum };
    this.#exclude = options.exclude;
    this.#context = context;
  }

  [Symbol.dispose](): void {
    this.#checkout?.ingest[Symbol.dispose]();
    this.#checkout = undefined;
  }

  /** All that shapes the files in an image. Where the whole commit is given, nothing is asked of the network. */
  async identity(): Promise<string[]> {
    const { url, ref, subdir, checksum, keepGitDir, submodules } = this.#source;
    const whole = /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/;
    // A .git says where it comes from.
    const kept = keepGitDir === true ? [url, ref ?? ''] : [];
    const commit =
      [checksum, ref].find((text) => text !== undefined && whole.test(text)) ?? (await this.#fetch()).commit;
    return ['git', commit, subdir ?? '', String(submodules !== false), ...kept];
  }

  async select(): Promise<Selected> {
    const { path } = await this.#fetch();
    return expandNode('', openContext(path, new IgnoreMatcher([])), { exclude: this.#exclude });
  }

  async #fetch(): Promise<{ path: string; commit: string }> {
    if (this.#checkout !== undefined) return this.#checkout;
    const { store, signal } = this.#context;
    const ingest = Ingest.create(store, 'git');
    try {
      const path = ingest.path('tree');
      mkdirSync(path);
      const { commit } = await fetchGit(this.#source, path, {
        signal,
        authorization: gitAuthorization(this.#source.url, this.#context),
      });
      this.#checkout = { ingest, path, commit };
      return this.#checkout;
    } catch (error) {
      ingest[Symbol.dispose]();
      throw error;
    }
  }
}
