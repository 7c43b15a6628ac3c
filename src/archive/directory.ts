import { realpathSync, statSync } from 'node:fs';
import { join, sep } from 'node:path';
import { ImagoError } from '../core/errors.ts';
import type { LayerResult } from '../store/layer-options.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import { type ArchiveContent, cleanName, type LayerWish } from './content.ts';
import { ingestRegion, type Region, readRegion } from './region.ts';

/** A layout that lies in a directory. Links inside it are followed, links that leave it refused. */
export class DirectoryContent implements ArchiveContent {
  readonly title: string;
  readonly #root: string;

  constructor(path: string) {
    this.#root = realpathSync(path);
    this.title = `'${path}'`;
  }

  has(name: string): boolean {
    return this.find(name) !== undefined;
  }

  read(name: string): Uint8Array | undefined {
    const region = this.find(name);
    return region && readRegion(this.title, name, region);
  }

  ingest(store: Store, lease: Lease, name: string, wish: LayerWish): Promise<LayerResult> {
    return ingestRegion(store, lease, this.title, name, this.find(name), wish);
  }

  /** Where a file lies; undefined where there is none. Throws `PATH_TRAVERSAL`. */
  find(name: string): Region | undefined {
    const clean = cleanName(name);
    if (clean === undefined) return undefined;
    const path = join(this.#root, clean);
    const stat = statSync(path, { throwIfNoEntry: false });
    if (!stat?.isFile()) return undefined;
    if (!`${realpathSync(path)}`.startsWith(this.#root === sep ? sep : `${this.#root}${sep}`)) {
      throw new ImagoError('PATH_TRAVERSAL', `'${name}' in ${this.title} is a link that leads out of it`, {
        remedy: 'copy the file there in place of the link',
      });
    }
    return { path, offset: 0, length: stat.size };
  }

  [Symbol.dispose](): void {}
}
