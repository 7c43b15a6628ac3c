import { closeSync, createReadStream, openSync, readSync, type Stats, statSync } from 'node:fs';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import { detectCompression, MAGIC_LENGTH } from '../system/compression.ts';
import type { ArchiveContent } from './content.ts';

/** A path to a file or a directory, or the bytes as they come. */
export type ArchiveSource = string | AsyncIterable<Uint8Array>;

export interface OpenOptions {
  signal?: AbortSignal;
  /** Layers of a stream, while they come in: the archive's name for them, bytes done and in all. */
  onLayer?: (name: string, done: number, total: number) => void;
  onStored?: (digest: Digest) => void;
}

/**
 * Opens an archive by what it is: a directory, an uncompressed tar with random access, or anything else (compressed,
 * a pipe) as a stream, whose layers are in the store, under the lease, when this returns.
 */
export async function openArchive(
  store: Store,
  lease: Lease,
  source: ArchiveSource,
  options: OpenOptions = {},
): Promise<ArchiveContent> {
  if (typeof source === 'string') {
    const stat = statArchive(source);
    if (stat.isDirectory()) {
      const { DirectoryContent } = await import('./directory.ts');
      return new DirectoryContent(source);
    }
    if (stat.isFile() && detectCompression(readMagic(source)) === 'none') {
      const { TarFileContent } = await import('./tar-file.ts');
      return new TarFileContent(source);
    }
  }
  const { StreamedContent } = await import('./streamed.ts');
  const { inflateArchive } = await import('./inflate-stream.ts');
  const bytes = typeof source === 'string' ? createReadStream(source, { highWaterMark: 256 * 1024 }) : source;
  const title = typeof source === 'string' ? `'${source}'` : 'the standard input';
  const { signal, onLayer: onProgress, onStored } = options;
  return StreamedContent.take(store, lease, await inflateArchive(heed(bytes, signal)), title, {
    signal,
    onProgress,
    onStored,
  });
}

/** A stream that never waits would else be read on after a signal. */
async function* heed(source: AsyncIterable<Uint8Array>, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    signal?.throwIfAborted();
    yield chunk;
  }
}

function statArchive(path: string): Stats {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new ImagoError('NO_SUCH_FILE', `'${path}' does not exist`);
  return stat;
}

function readMagic(path: string): Uint8Array {
  const fd = openSync(path, 'r');
  try {
    const head = new Uint8Array(MAGIC_LENGTH);
    return head.subarray(0, readSync(fd, head, 0, head.length, 0));
  } finally {
    closeSync(fd);
  }
}
