import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { addAbortSignal, type Readable } from 'node:stream';

export interface ReadWholeOptions {
  /** Bytes. */
  limit: number;
  signal?: AbortSignal;
}

/**
 * All of what a user names as a file: a regular one, a pipe (`<(command)` of a shell), a device. Undefined where it is
 * longer than the limit: a device may have no end. Waits for who writes into a pipe without keeping the thread, so that
 * Ctrl-C is heard. Throws what the system calls do, `EISDIR` for a directory.
 */
export async function readWholeFile(path: string, options: ReadWholeOptions): Promise<Buffer | undefined> {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  let open = true;
  try {
    if (!fstatSync(fd).isFIFO()) return readDescriptor(fd, options.limit);
    const { Socket } = await import('node:net');
    // Closes it.
    open = false;
    return await readWholeStream(new Socket({ fd, readable: true, writable: false }), options);
  } finally {
    if (open) closeSync(fd);
  }
}

/** The same of a stream, which is destroyed at the limit. */
export async function readWholeStream(
  stream: Readable,
  { limit, signal }: ReadWholeOptions,
): Promise<Buffer | undefined> {
  if (signal !== undefined) addAbortSignal(signal, stream);
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream) {
    chunks.push(chunk as Buffer);
    length += (chunk as Buffer).length;
    if (length > limit) return undefined;
  }
  return Buffer.concat(chunks);
}

function readDescriptor(fd: number, limit: number): Buffer | undefined {
  const chunks: Buffer[] = [];
  for (let length = 0; length <= limit; ) {
    const buffer = Buffer.allocUnsafe(
      Math.min(limit + 1 - length, Math.max(fstatSync(fd).size - length, 0) + (1 << 16)),
    );
    const got = readSync(fd, buffer, 0, buffer.length, null);
    if (got === 0) return Buffer.concat(chunks);
    chunks.push(buffer.subarray(0, got));
    length += got;
  }
  return undefined;
}
