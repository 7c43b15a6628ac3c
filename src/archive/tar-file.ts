import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { ImagoError } from '../core/errors.ts';
import type { TarEntry } from '../formats/tar/entry.ts';
import { readEntries } from '../formats/tar/read.ts';
import type { LayerResult } from '../store/layer-options.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import type { ArchiveContent, LayerWish } from './content.ts';
import { MemberNames } from './member-names.ts';
import { ingestRegion, type Region, readRegion } from './region.ts';

/** An uncompressed archive in a file: its members are read where they lie. */
export class TarFileContent implements ArchiveContent {
  readonly title: string;
  readonly #path: string;
  readonly #names: MemberNames<TarEntry> = new MemberNames();

  /** Reads the headers only. Throws `TAR_*`. */
  constructor(path: string) {
    this.title = `'${path}'`;
    this.#path = path;
    const fd = openSync(path, 'r');
    try {
      const read = (buffer: Uint8Array, offset: number): number => readSync(fd, buffer, 0, buffer.length, offset);
      for (const entry of readEntries(read, statSync(path).size)) this.#names.add(entry, entry);
    } finally {
      closeSync(fd);
    }
  }

  has(name: string): boolean {
    return this.#names.find(name) !== undefined;
  }

  read(name: string): Uint8Array | undefined {
    const region = this.find(name);
    return region && readRegion(this.title, name, region);
  }

  ingest(store: Store, lease: Lease, name: string, wish: LayerWish): Promise<LayerResult> {
    return ingestRegion(store, lease, this.title, name, this.find(name), wish);
  }

  /** Where a member lies; undefined where there is none. Throws `ARCHIVE_SPARSE`. */
  find(name: string): Region | undefined {
    const entry = this.#names.find(name);
    if (entry === undefined) return undefined;
    if (entry.sparse === undefined) return { path: this.#path, offset: entry.dataOffset, length: entry.dataSize };
    throw new ImagoError('ARCHIVE_SPARSE', `'${name}' in ${this.title} is stored as a sparse file`, {
      remedy: "make the archive again, without tar's --sparse",
    });
  }

  [Symbol.dispose](): void {}
}
