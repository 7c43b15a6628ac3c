import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

let counter = 0;

export interface ReplaceOptions {
  /** Permission bits of the new file, before the umask (default 0o644). */
  mode?: number;
  /** Where the new contents are written first: on the same file system, not existing. Default: a dot file beside `path`. */
  temporary?: string;
  /**
   * False for what is made again where it is lost: nothing waits for the disk, and after a crash of the machine the
   * file may be empty, or cut short.
   */
  durable?: boolean;
}

/** A name no other process or thread of this host uses at the same time. */
export function uniqueName(): string {
  return `${process.pid}-${Date.now().toString(36)}-${(counter++).toString(36)}${Math.random().toString(36).slice(2, 8)}`;
}

/**
 * Puts `content` at `path` as a whole: a reader sees the old file or the new one, and after a crash it is one of the
 * two. Durable when it returns (file and directory are synced), unless `durable` is false. On an error nothing is left behind.
 */
export function replaceFile(
  path: string,
  content: string | Uint8Array | Iterable<Uint8Array>,
  options: ReplaceOptions = {},
): void {
  const temporary = options.temporary ?? join(dirname(path), `.${basename(path).slice(0, 200)}.${uniqueName()}`);
  const { durable = true } = options;
  const fd = openSync(temporary, 'wx', options.mode ?? 0o644);
  try {
    try {
      if (typeof content === 'string') writeAll(fd, Buffer.from(content));
      else if (content instanceof Uint8Array) writeAll(fd, content);
      else for (const piece of content) writeAll(fd, piece);
      if (durable) fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  if (durable) syncDirectory(dirname(path));
}

/** write(2) until all is written; from `position` where given, else at the file's own. */
export function writeAll(fd: number, bytes: Uint8Array, position?: number): void {
  let done = 0;
  while (done < bytes.length) {
    done += writeSync(fd, bytes, done, bytes.length - done, position === undefined ? null : position + done);
  }
}

/** fsync of a directory: what was renamed, made or removed in it survives a crash. */
export function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
