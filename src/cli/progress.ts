import { formatSize } from '../core/sizes.ts';
import { createStyle } from './style.ts';

/** One thing in progress: a layer, a step. Sizes in bytes; without `total` the amount alone is shown. */
export interface ProgressState {
  status: string;
  done?: number;
  total?: number;
  /** The line is final. */
  finished?: boolean;
}

/** Lines of progress by an id that is shown first, in the order they came in. Call `close` before other output. */
export interface Progress {
  update(id: string, state: ProgressState): void;
  /** Leaves the last state on the screen; further updates are ignored. */
  close(): void;
}

interface ProgressStream {
  isTTY?: boolean;
  columns?: number;
  rows?: number;
  write(text: string): unknown;
}

/** On a terminal the lines are redrawn in place, ten times a second at most; elsewhere each new status is a line. */
export function createProgress(stream: ProgressStream): Progress {
  return stream.isTTY === true ? new LiveProgress(stream) : new PlainProgress(stream);
}

class PlainProgress implements Progress {
  private readonly stream: ProgressStream;
  private readonly seen = new Map<string, string>();
  private closed = false;

  constructor(stream: ProgressStream) {
    this.stream = stream;
  }

  update(id: string, { status }: ProgressState): void {
    if (this.closed || this.seen.get(id) === status) return;
    this.seen.set(id, status);
    this.stream.write(`${id}: ${status}\n`);
  }

  close(): void {
    this.closed = true;
  }
}

const REDRAW_MS = 100;
const BAR_WIDTH = 24;

class LiveProgress implements Progress {
  private readonly stream: ProgressStream;
  private readonly states = new Map<string, ProgressState>();
  private drawn = 0;
  private drawnAt = 0;
  private timer: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(stream: ProgressStream) {
    this.stream = stream;
  }

  update(id: string, state: ProgressState): void {
    if (this.closed) return;
    this.states.set(id, state);
    const wait = this.drawnAt + REDRAW_MS - Date.now();
    if (wait <= 0) this.draw();
    else {
      this.timer ??= setTimeout(() => this.draw(), wait);
      this.timer.unref();
    }
  }

  close(): void {
    if (this.closed) return;
    if (this.states.size > 0) this.draw();
    this.closed = true;
  }

  private draw(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.drawnAt = Date.now();
    // 0 where the terminal does not say.
    const columns = this.stream.columns || 80;
    // What scrolled off the screen can't be redrawn, so no more lines than fit.
    const states = [...this.states].slice(-Math.max(1, (this.stream.rows ?? 24) - 1));
    const lines = states.map(([id, state]) => this.format(id, state, columns - 1));
    const up = this.drawn > 0 ? `\x1b[${this.drawn}A` : '';
    this.stream.write(`${up}${lines.map((line) => `\r\x1b[2K${line}\n`).join('')}`);
    this.drawn = lines.length;
  }

  private format(id: string, { status, done, total, finished }: ProgressState, width: number): string {
    let amount = '';
    if (done !== undefined && !finished) {
      amount =
        total === undefined ? ` ${formatSize(done)}` : ` ${bar(done, total)} ${formatSize(done)}/${formatSize(total)}`;
    }
    const text = `${id}: ${status}${amount}`.slice(0, width);
    const style = createStyle(this.stream);
    return finished ? style.dim(text) : text;
  }
}

function bar(done: number, total: number): string {
  const filled = total <= 0 ? BAR_WIDTH : Math.min(BAR_WIDTH, Math.round((done / total) * BAR_WIDTH));
  return `[${'='.repeat(filled)}${filled < BAR_WIDTH ? '>' : ''}${' '.repeat(Math.max(0, BAR_WIDTH - filled - 1))}]`;
}
