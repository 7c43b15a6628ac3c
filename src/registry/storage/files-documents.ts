import {
  closeSync,
  fstatSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { conflict } from './errors.ts';
import { explainFileError, type FileArea, versionOf } from './files-area.ts';
import { checkDocumentSize, checkKey, checkPrefix, pageSize } from './names.ts';
import type { DocumentStorage, KeyPage, StoredDocument, Version } from './storage.ts';

/** Ends the file name of a document. Not in keys, so a document and the directory of longer keys can stand side by side. */
const ENDING = ',';

/** Documents as files `documents/<key>,`. */
export class FileDocuments implements DocumentStorage {
  readonly #area: FileArea;
  readonly #root: string;

  constructor(area: FileArea) {
    this.#area = area;
    this.#root = area.path('documents');
  }

  // Synchronous inside: a small file of the page cache is read in the time that a thread takes to be woken up.
  async readDocument(key: string): Promise<StoredDocument | undefined> {
    let fd: number;
    try {
      fd = openSync(this.#path(key), 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw explainFileError(error, this.#area.root);
    }
    try {
      const stats = fstatSync(fd, { bigint: true });
      const size = Number(stats.size);
      checkDocumentSize(key, size);
      const bytes = Buffer.allocUnsafe(size);
      for (let at = 0, n = 1; at < size && n > 0; at += n) n = readSync(fd, bytes, at, size - at, at);
      return { bytes, version: versionOf(stats), modified: Number(stats.mtimeMs) };
    } catch (error) {
      throw explainFileError(error, this.#area.root);
    } finally {
      closeSync(fd);
    }
  }

  async writeDocument(key: string, bytes: Uint8Array, options: { expect?: Version } = {}): Promise<Version> {
    const path = this.#path(key);
    checkDocumentSize(key, bytes.length);
    const aside = await this.#area.writeAside(bytes);
    let written: { version: Version; changed: string[] };
    try {
      written = await this.#area.exclusive(() => {
        if (options.expect !== undefined && (versionAt(path) ?? 'absent') !== options.expect) throw conflict(key);
        const changed = this.#area.place(aside, path);
        return { version: versionAt(path)!, changed };
      });
    } catch (error) {
      rmSync(aside, { force: true });
      throw error;
    }
    await this.#area.sync(written.changed);
    return written.version;
  }

  async deleteDocument(key: string, options: { expect?: Version } = {}): Promise<boolean> {
    const path = this.#path(key);
    const trash = this.#area.temporary();
    const there = await this.#area.exclusive(() => {
      const version = options.expect === undefined ? undefined : versionAt(path);
      if (version !== undefined && version !== options.expect) throw conflict(key);
      try {
        renameSync(path, trash);
        rmSync(trash);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
        throw explainFileError(error, this.#area.root);
      }
      this.#removeEmpty(dirname(path));
      return true;
    });
    if (there) await this.#area.syncPath(dirname(path));
    return there;
  }

  async listDocuments(prefix: string, options: { after?: string; limit?: number } = {}): Promise<KeyPage> {
    const limit = pageSize(options.limit);
    const keys: KeyPage['keys'] = [];
    for await (const key of this.#walk(checkPrefix(prefix), options.after ?? '')) {
      if (keys.length === limit) return { keys, next: keys.at(-1)!.key };
      const stats = statSync(this.#path(key), { throwIfNoEntry: false });
      if (stats !== undefined) keys.push({ key, modified: Math.floor(stats.mtimeMs) });
    }
    return { keys, next: undefined };
  }

  /** Keys below `prefix` after `after`, in order. */
  async *#walk(prefix: string, after: string): AsyncGenerator<string> {
    // One lock a directory: a file system may show a name twice or never while it is replaced.
    const names = await this.#area.exclusive(() => readNames(`${this.#root}/${prefix}`, this.#area.root), 'shared');
    for (const name of names) {
      const key = prefix + name;
      if (!name.endsWith('/')) {
        if (key > after) yield key;
      } else if (key > after || after.startsWith(key)) yield* this.#walk(key, after);
    }
  }

  /** Directories that are empty now, upwards; whoever writes there next makes them again. */
  #removeEmpty(directory: string): void {
    for (let at = directory; at !== this.#root; at = dirname(at)) {
      try {
        rmdirSync(at);
      } catch {
        return;
      }
    }
  }

  #path(key: string): string {
    return `${this.#root}/${checkKey(key)}${ENDING}`;
  }
}

function versionAt(path: string): Version | undefined {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stats && versionOf(stats);
}

/** Documents by their names, directories with '/' behind them, in the order of the keys that they stand for. */
function readNames(directory: string, root: string): string[] {
  try {
    const names: string[] = [];
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      if (entry.isDirectory()) names.push(`${entry.name}/`);
      else if (entry.name.endsWith(ENDING)) names.push(entry.name.slice(0, -ENDING.length));
    }
    return names.sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw explainFileError(error, root);
  }
}
