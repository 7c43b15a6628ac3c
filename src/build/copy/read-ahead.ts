import type { FileReader, SourceNode } from '../context/source.ts';
import type { Member } from './place.ts';

/** Files that are opened before they are read. */
const AHEAD = 48;
/** A read that takes longer came from a disk; one out of memory takes about 5 µs. */
const SLOW_MS = 0.04;
/** So many quick reads in a row say that the rest is in memory. */
const QUICK_READS = 256;
/** Of a larger file the kernel reads on by itself. */
const MOST_BYTES = 256 * 1024;

/**
 * Opens the files of members, in their order. Where the page cache is cold, some are opened ahead and the kernel is
 * told to read them, so that the disk has many reads to do at a time and not one: tens of thousands of small files
 * then take half the time. Where reads are quick, nothing is done ahead.
 */
export class ReadAhead implements Disposable {
  readonly #opened: Map<SourceNode, FileReader> = new Map();
  #slow = 0;

  /** The members, each after those behind it were begun to be read. */
  *through(members: Iterable<Member>): Generator<Member> {
    const waiting: Member[] = [];
    for (const member of members) {
      waiting.push(member);
      if (this.#slow > 0) this.#begin(member);
      if (waiting.length > AHEAD || this.#slow === 0) yield waiting.shift()!;
    }
    yield* waiting;
  }

  /** The caller closes it. */
  open(source: SourceNode): FileReader {
    const opened = this.#opened.get(source) ?? source.open();
    this.#opened.delete(source);
    return {
      read: (...where) => this.#timed(() => opened.read(...where)),
      xattrs: () => opened.xattrs(),
      close: () => opened.close(),
    };
  }

  [Symbol.dispose](): void {
    for (const reader of this.#opened.values()) reader.close();
    this.#opened.clear();
  }

  #begin({ type, source, size }: Member): void {
    // One of several names of a file is not read.
    if (type !== 'file' || source === undefined || source.identity !== undefined || size === 0) return;
    if (this.#opened.size >= AHEAD) return;
    const reader = source.open();
    this.#opened.set(source, reader);
    reader.expect?.(Math.min(size, MOST_BYTES));
  }

  #timed(read: () => number): number {
    const start = performance.now();
    const count = read();
    if (performance.now() - start > SLOW_MS) this.#slow = QUICK_READS;
    else if (this.#slow > 0) this.#slow--;
    return count;
  }
}
