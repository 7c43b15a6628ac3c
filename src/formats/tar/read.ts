import type { TarEntry } from './entry.ts';
import { type ScanOptions, TarScanner } from './scan.ts';

export interface TarItem {
  entry: TarEntry;
  /** The stored data, once; what is not read is skipped. Chunks are views: copy them to keep them. */
  body(): AsyncIterable<Uint8Array>;
}

/**
 * The members of a tar that comes as a stream, one after the other; the whole input is read to its end.
 * `dirtyPadding` is set only when the body was read. Errors as `TarScanner`.
 */
export async function* readTar(
  source: AsyncIterable<Uint8Array>,
  options: Pick<ScanOptions, 'limits'> = {},
): AsyncGenerator<TarItem, void, undefined> {
  const queue: (TarEntry | Uint8Array)[] = [];
  const scanner = new TarScanner({ entry: (e) => void queue.push(e), data: (c) => void queue.push(c) }, options);
  const input = source[Symbol.asyncIterator]();
  let done = false;
  let failure: { error: unknown } | undefined;
  /** The next event, or undefined at the end of the input. What failed once in a body fails again outside of it. */
  const next = async (): Promise<TarEntry | Uint8Array | undefined> => {
    try {
      while (queue.length === 0 && !done && failure === undefined) {
        const step = await input.next();
        if (step.done) {
          done = true;
          scanner.finish();
        } else scanner.push(step.value);
      }
    } catch (error) {
      failure = { error };
    }
    // Members that came before the fault are told first.
    if (queue.length === 0 && failure !== undefined) throw failure.error;
    return queue[0];
  };
  async function* body(left: { count: number }): AsyncGenerator<Uint8Array> {
    while (left.count > 0) {
      const event = await next();
      if (!(event instanceof Uint8Array)) return;
      queue.shift();
      left.count -= event.length;
      yield event;
    }
  }
  try {
    for (;;) {
      const event = await next();
      if (event === undefined) return;
      queue.shift();
      if (event instanceof Uint8Array) continue;
      const left = { count: event.dataSize };
      yield { entry: event, body: () => body(left) };
      // A body that its owner kept must not eat what belongs to the next member.
      left.count = 0;
    }
  } finally {
    await input.return?.();
  }
}

/** Reads up to `buffer.length` bytes at `offset` of the tar into `buffer`; returns the count, 0 at the end. */
export type ReadAt = (buffer: Uint8Array, offset: number) => number;

/** Bytes read at a time while members are small; a jump costs a call, a page of it costs nothing. */
const WINDOW = 64 * 1024;

/**
 * All entries of a tar with random access, jumping over data: `size` is the tar's length in bytes.
 * `dirtyPadding` stays unknown. Errors as `TarScanner`, TAR_TRUNCATED where `read` comes short of `size`.
 */
export function readEntries(read: ReadAt, size: number, options: Pick<ScanOptions, 'limits'> = {}): TarEntry[] {
  const entries: TarEntry[] = [];
  const scanner = new TarScanner({ entry: (e) => void entries.push(e) }, { ...options, headersOnly: true });
  const buffer = new Uint8Array(WINDOW);
  while (scanner.offset < size && !scanner.ended) {
    scanner.skipTo(Math.min(scanner.wantOffset, size));
    const want = Math.min(WINDOW, size - scanner.offset);
    if (want === 0) break;
    const got = read(want === WINDOW ? buffer : buffer.subarray(0, want), scanner.offset);
    if (got === 0) break;
    scanner.push(buffer.subarray(0, got));
  }
  scanner.finish();
  return entries;
}
