import {
  type BigIntStats,
  chmodSync,
  close,
  fstat,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { type Digest, digestAlgorithm, digestHex, isDigest } from '../../core/digest.ts';
import { ByteFile } from './byte-file.ts';
import { closeFile, explainFileError, type FileArea, openFile, versionOf } from './files-area.ts';
import { pageSize } from './names.ts';
import type { BlobStat, BlobStorage, ByteRange, OpenBlob, Version } from './storage.ts';

const statOpen = promisify(fstat) as (fd: number, options: { bigint: true }) => Promise<BigIntStats>;

const ALGORITHMS = ['sha256', 'sha512'] as const;

/** Blobs as plain files `blobs/<algorithm>/<2 hex>/<hex>`: `sha256sum` checks them. */
export class FileBlobs implements BlobStorage {
  readonly #area: FileArea;

  constructor(area: FileArea) {
    this.#area = area;
  }

  async statBlob(digest: Digest): Promise<BlobStat | undefined> {
    try {
      const stats = statSync(this.#path(digest), { bigint: true, throwIfNoEntry: false });
      return stats && { size: Number(stats.size), version: versionOf(stats), modified: Number(stats.mtimeMs) };
    } catch (error) {
      throw explainFileError(error, this.#area.root);
    }
  }

  async openBlob(digest: Digest, range?: ByteRange): Promise<OpenBlob | undefined> {
    let fd: number;
    try {
      fd = await openFile(this.#path(digest), 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw explainFileError(error, this.#area.root);
    }
    try {
      const stats = await statOpen(fd, { bigint: true });
      const size = Number(stats.size);
      const stream = new ByteFile(fd, range?.start ?? 0, range?.end ?? size, digest);
      return { size, version: versionOf(stats), stream };
    } catch (error) {
      await closeFile(fd);
      throw explainFileError(error, this.#area.root);
    }
  }

  async putBlob(digest: Digest, bytes: Uint8Array): Promise<void> {
    await this.publish(await this.#area.writeAside(bytes), digest);
  }

  /** Makes a synced and stamped file the blob; the file is gone after it, also where it fails. */
  async publish(file: string, digest: Digest): Promise<void> {
    let changed: string[];
    try {
      chmodSync(file, 0o444);
      const path = this.#path(digest);
      changed = await this.#area.exclusive(() => {
        using _before = holdFile(path);
        return this.#area.place(file, path);
      });
    } catch (error) {
      rmSync(file, { force: true });
      throw explainFileError(error, this.#area.root);
    }
    await this.#area.sync(changed);
  }

  async removeBlob(digest: Digest, version: Version): Promise<boolean> {
    const path = this.#path(digest);
    const trash = this.#area.temporary();
    const removed = await this.#area.exclusive(() => {
      const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
      if (stats === undefined || versionOf(stats) !== version) return false;
      renameSync(path, trash);
      return true;
    });
    if (!removed) return false;
    await this.#area.syncPath(dirname(path));
    rmSync(trash, { force: true });
    return true;
  }

  async listBlobs(
    options: { after?: string; limit?: number } = {},
  ): Promise<{ digests: Digest[]; next: string | undefined }> {
    const limit = pageSize(options.limit);
    const digests: Digest[] = [];
    for await (const digest of this.#walk(options.after ?? '')) {
      if (digests.length === limit) return { digests, next: digests.at(-1) };
      digests.push(digest);
    }
    return { digests, next: undefined };
  }

  async *#walk(after: string): AsyncGenerator<Digest> {
    for (const algorithm of ALGORITHMS) {
      for (const short of await this.#names(algorithm)) {
        const least = `${algorithm}:${short}`;
        if (least < after.slice(0, least.length)) continue;
        for (const hex of await this.#names(algorithm, short)) {
          const digest = `${algorithm}:${hex}`;
          if (digest > after && isDigest(digest)) yield digest;
        }
      }
    }
  }

  #names(...parts: string[]): Promise<string[]> {
    return this.#area.exclusive(() => {
      try {
        return readdirSync(this.#area.path('blobs', ...parts)).sort();
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
        throw explainFileError(error, this.#area.root);
      }
    }, 'shared');
  }

  #path(digest: Digest): string {
    const hex = digestHex(digest);
    return this.#area.path('blobs', digestAlgorithm(digest), hex.slice(0, 2), hex);
  }
}

/**
 * Keeps a file that is about to be replaced for a moment more: freeing what is cached of it takes the kernel 30 ms for
 * 100 MB, and then takes them of the thread that closes it.
 */
function holdFile(path: string): Disposable {
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
  } catch {
    // There is none: nothing to free.
  }
  return {
    [Symbol.dispose]: () => {
      if (fd !== undefined) close(fd, () => undefined);
    },
  };
}
