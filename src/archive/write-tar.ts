import { closeSync, openSync, readSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { ImagoError } from '../core/errors.ts';
import { END_OF_ARCHIVE, encodeHeader, paddingBytes } from '../formats/tar/write.ts';
import type { LayoutFile } from './layout.ts';

/** Takes bytes; is done with them when it returns or resolves. */
export type ArchiveSink = (chunk: Uint8Array) => void | Promise<void>;

const BUFFER = 1024 * 1024;
/** Signals are heard between turns of the event loop only. */
const CHUNKS_A_TURN = 16;

/** The files of a layout as a tar: the same files, the same bytes (times 0, owner root, sorted). */
export async function writeLayoutTar(
  files: readonly LayoutFile[],
  sink: ArchiveSink,
  signal?: AbortSignal,
): Promise<void> {
  const directories = new Set<string>();
  for (const file of files) {
    for (const directory of parentsOf(file.name)) {
      if (directories.has(directory)) continue;
      directories.add(directory);
      await sink(encodeHeader({ path: directory, type: 'directory', mode: 0o755 }));
    }
    const size = 'bytes' in file ? file.bytes.length : file.size;
    await sink(encodeHeader({ path: file.name, type: 'file', mode: 0o644, size }));
    if ('bytes' in file) await sink(file.bytes);
    else await copyFile(file.path, size, sink, signal);
    await sink(paddingBytes(size));
  }
  await sink(END_OF_ARCHIVE);
}

function parentsOf(name: string): string[] {
  const parts = name.split('/').slice(0, -1);
  return parts.map((_, i) => parts.slice(0, i + 1).join('/'));
}

async function copyFile(path: string, size: number, sink: ArchiveSink, signal?: AbortSignal): Promise<void> {
  const buffer = Buffer.allocUnsafeSlow(Math.max(1, Math.min(BUFFER, size)));
  const fd = openSync(path, 'r');
  try {
    let done = 0;
    for (let chunks = 0; done < size; chunks++) {
      if (chunks % CHUNKS_A_TURN === CHUNKS_A_TURN - 1) await setImmediate();
      signal?.throwIfAborted();
      const count = readSync(fd, buffer, 0, Math.min(buffer.length, size - done), done);
      if (count === 0) throw new ImagoError('BLOB_TRUNCATED', 'a blob grew shorter while it was read', { path });
      await sink(buffer.subarray(0, count));
      done += count;
    }
  } finally {
    closeSync(fd);
  }
}
