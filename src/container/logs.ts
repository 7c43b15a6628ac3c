import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { ImagoError } from '../core/errors.ts';
import type { Store } from '../store/store.ts';
import { sleep } from '../system/sleep.ts';
import { type ContainerRecord, containerPaths } from './record.ts';
import { containerState } from './state.ts';

/** A line of output, or the part of one that was written at once. */
export interface LogEntry {
  stream: 'stdout' | 'stderr';
  /** RFC 3339 with nanoseconds. */
  time: string;
  /** Milliseconds since 1970. */
  at: number;
  /** With its newline, unless the line goes on in a later entry of this stream. */
  bytes: Uint8Array;
}

export interface LogOptions {
  /** Go on with what comes until the container ends. */
  follow?: boolean;
  /** Only the last lines. */
  tail?: number;
  /** Milliseconds since 1970. */
  since?: number;
  until?: number;
  signal?: AbortSignal;
}

const CHUNK = 1 << 16;
const FOLLOW_PAUSE_MS = 100;

/** The output of a container so far, in order. Throws `NO_LOG`. */
export async function* readLogs(
  store: Store,
  record: ContainerRecord,
  options: LogOptions = {},
): AsyncGenerator<LogEntry> {
  if (record.holder === 'runtime') {
    throw new ImagoError(
      'NO_LOG',
      `container ${record.name} keeps no log: its output goes to the command that runs it`,
      {
        remedy: 'run it without --rm, or with -d',
      },
    );
  }
  const reader = openLog(containerPaths(store, record).log);
  if (reader === undefined && options.follow !== true) return;
  using log = reader ?? (await waitForLog(store, record, options));
  if (log === undefined) return;
  const wanted = (entry: LogEntry): boolean =>
    (options.since === undefined || entry.at >= options.since) &&
    (options.until === undefined || entry.at <= options.until);
  if (options.tail !== undefined) yield* lastLines(log, options.tail, wanted);
  for (;;) {
    // Asked first: what was written before the end is read after it.
    const over = options.follow !== true || containerState(store, record).status !== 'running';
    for (const entry of log.next()) if (wanted(entry)) yield entry;
    if (over || options.signal?.aborted === true) return;
    await sleep(FOLLOW_PAUSE_MS);
  }
}

async function waitForLog(store: Store, record: ContainerRecord, options: LogOptions): Promise<LogReader | undefined> {
  for (;;) {
    const log = openLog(containerPaths(store, record).log);
    if (log !== undefined || containerState(store, record).status === 'exited' || options.signal?.aborted === true) {
      return log;
    }
    await sleep(FOLLOW_PAUSE_MS);
  }
}

/** Of what is there now, the last `count` lines: an entry that ends without a newline goes on in the next. */
function* lastLines(log: LogReader, count: number, wanted: (entry: LogEntry) => boolean): Generator<LogEntry> {
  let kept: LogEntry[][] = [];
  let open: LogEntry[] | undefined;
  for (const entry of log.next()) {
    if (!wanted(entry)) continue;
    if (open === undefined) {
      open = [];
      kept.push(open);
    }
    open.push(entry);
    if (entry.bytes.at(-1) === 10) open = undefined;
    if (kept.length > 2 * count + 1000) kept = kept.slice(-count);
  }
  if (count > 0) for (const line of kept.slice(-count)) yield* line;
}

function openLog(path: string): LogReader | undefined {
  try {
    return new LogReader(openSync(path, 'r'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** conmon's k8s-file format: "TIME stdout|stderr F|P CONTENT", P where no newline was written. */
class LogReader implements Disposable {
  readonly #fd: number;
  #rest: Buffer = Buffer.alloc(0);
  #offset = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Whole lines from where it stopped to the end of the file. */
  *next(): Generator<LogEntry> {
    const size = fstatSync(this.#fd).size;
    while (this.#offset < size) {
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK, size - this.#offset));
      const got = readSync(this.#fd, chunk, 0, chunk.length, this.#offset);
      if (got === 0) return;
      this.#offset += got;
      const text = Buffer.concat([this.#rest, chunk.subarray(0, got)]);
      let at = 0;
      for (let end = text.indexOf(10); end !== -1; end = text.indexOf(10, at)) {
        const entry = parseLogLine(text.subarray(at, end + 1));
        if (entry !== undefined) yield entry;
        at = end + 1;
      }
      this.#rest = text.subarray(at);
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

/** `line` ends with its newline. Undefined for what is not a line of a log. */
export function parseLogLine(line: Buffer): LogEntry | undefined {
  const first = line.indexOf(32);
  const second = line.indexOf(32, first + 1);
  const third = line.indexOf(32, second + 1);
  if (first < 0 || second < 0 || third < 0) return undefined;
  const stream = line.toString('latin1', first + 1, second);
  if (stream !== 'stdout' && stream !== 'stderr') return undefined;
  const partial = line[second + 1] === 0x50;
  const time = line.toString('latin1', 0, first);
  const bytes = line.subarray(third + 1, partial ? line.length - 1 : line.length);
  return { stream, time, at: Date.parse(time), bytes };
}
