import type { BuildEvent } from '../build/events.ts';
import { escapeControls, LineSplitter, lastState, oneLine } from './build-output-text.ts';
import type { BuildPrinter, Output } from './build-printer.ts';
import { displayWidth } from './display-width.ts';
import { finalLines, type LiveStep, layOut, type PaintedLine } from './live-layout.ts';
import { createStyle, type Style } from './style.ts';

/** A terminal; its size may change. */
interface LiveOutput extends Output {
  columns?: number;
  rows?: number;
  on?(event: 'resize', listener: () => void): unknown;
  off?(event: 'resize', listener: () => void): unknown;
}

const REDRAW_MS = 100;
const TICK_MS = 200;
/** Lines of output that are kept of a step. */
const KEPT_LINES = 6;

/**
 * A build as a tree that is drawn again and again in place, as docker buildx shows it. Every frame is one write that
 * hides the cursor at its beginning and shows it at its end: whatever ends the process leaves the terminal in order.
 */
export class LiveBuild implements BuildPrinter {
  readonly #out: LiveOutput;
  readonly #style: Style;
  readonly #steps: Map<number, LiveStep> = new Map();
  readonly #lines: Map<number, LineSplitter> = new Map();
  readonly #warnings: string[] = [];
  readonly #redraw = (): void => this.#schedule();
  #started: number | undefined;
  /** Announced steps, and those that started without. */
  #planned = 0;
  #others = 0;
  /** Widths of the lines on the screen. */
  #drawn: number[] = [];
  #drawnAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #ticker: NodeJS.Timeout | undefined;
  #paused = false;

  constructor(out: LiveOutput) {
    this.#out = out;
    this.#style = createStyle(out);
    out.on?.('resize', this.#redraw);
  }

  print(event: BuildEvent): void {
    this.#started ??= performance.now();
    if (event.type === 'plan') this.#planned += event.steps;
    else if (event.type === 'warning') {
      this.#warnings.push(`${escapeControls(event.text)}${event.line === undefined ? '' : ` (line ${event.line})`}`);
    } else this.#change(event);
    this.#ticker ??= setInterval(this.#redraw, TICK_MS).unref();
    this.#schedule();
  }

  /** The screen is another's from now on. */
  pause(): void {
    if (this.#paused) return;
    this.#draw();
    this.#drawn = [];
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
  }

  close(): void {
    this.resume();
    clearTimeout(this.#timer);
    clearInterval(this.#ticker);
    this.#out.off?.('resize', this.#redraw);
    if (this.#steps.size > 0) this.#draw(true);
    if (this.#warnings.length > 0) this.#out.write(this.#describeWarnings());
    this.#warnings.length = 0;
    this.#steps.clear();
  }

  #describeWarnings(): string {
    const count = this.#warnings.length;
    const head = this.#style.yellow(`${count} warning${count === 1 ? '' : 's'} found:`);
    return `\n ${head}\n${this.#warnings.map((text) => ` - ${text}\n`).join('')}`;
  }

  #change(event: Exclude<BuildEvent, { type: 'plan' | 'warning' }>): void {
    if (event.type === 'start') {
      const { step, name, planned } = event;
      if (planned !== true) this.#others++;
      const fresh = { name: oneLine(name), started: performance.now(), ended: undefined, cached: false };
      this.#steps.set(step, { ...fresh, failed: false, canceled: false, parts: new Map(), output: [] });
      this.#lines.set(step, new LineSplitter());
      return;
    }
    const step = this.#steps.get(event.step);
    if (step === undefined) return;
    const now = performance.now();
    switch (event.type) {
      case 'output':
        this.#keep(event.step, step, event.stream, event.data);
        break;
      case 'note':
        step.parts.set(escapeControls(event.text), { started: now, ended: now, current: 0, total: undefined });
        break;
      case 'status': {
        const { current, total, finished } = event;
        const id = escapeControls(event.id);
        const started = step.parts.get(id)?.started ?? now;
        step.parts.set(id, { started, ended: finished ? now : undefined, current, total });
        break;
      }
      case 'done':
      case 'error':
        step.ended = now;
        step.cached = event.type === 'done' && event.cached;
        step.failed = event.type === 'error' && !event.canceled;
        step.canceled = event.type === 'error' && event.canceled;
        step.output = [];
        this.#lines.delete(event.step);
        break;
    }
  }

  #keep(number: number, step: LiveStep, stream: string, data: Uint8Array): void {
    const splitter = this.#lines.get(number)!;
    const lines = splitter.push(stream, data).slice(-KEPT_LINES);
    step.whole = [...(step.whole ?? []), ...lines].slice(-KEPT_LINES);
    step.output = [...step.whole, ...splitter.peek()]
      .slice(-KEPT_LINES)
      .map(plainText)
      .filter((line) => line !== '');
  }

  #schedule(): void {
    if (this.#paused || this.#timer !== undefined) return;
    const wait = Math.max(0, this.#drawnAt + REDRAW_MS - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (!this.#paused) this.#draw();
    }, wait).unref();
  }

  #header(last: boolean): string {
    const steps = [...this.#steps.values()];
    const done = steps.filter(({ ended }) => ended !== undefined).length;
    const total = Math.max(steps.length, this.#planned + this.#others);
    const well = last && steps.every(({ ended, failed, canceled }) => ended !== undefined && !failed && !canceled);
    const seconds = ((performance.now() - (this.#started ?? performance.now())) / 1000).toFixed(1);
    return `[+] Building ${seconds}s (${done}/${well ? done : total})${well ? ' FINISHED' : ''}`;
  }

  #draw(last = false): void {
    // A terminal that nobody told its size has 0 of both.
    const columns = this.#out.columns || 80;
    const rows = this.#out.rows || 24;
    const now = performance.now();
    this.#drawnAt = now;
    const steps = [...this.#steps.values()];
    // A line in the last column would wrap on some terminals.
    const size = { width: Math.max(1, columns - 1), height: Math.max(1, rows - 2) };
    const head: PaintedLine = { text: this.#header(last).slice(0, size.width), kind: 'head' };
    const lines = [head, ...(last ? finalLines(steps, now, size.width) : layOut(steps, now, size))];
    // A terminal that became narrower has wrapped what was drawn.
    const up = this.#drawn.reduce((sum, width) => sum + Math.max(1, Math.ceil(width / columns)), 0);
    const text = lines.map((line) => `${this.#paint(line)}\x1b[K\n`).join('');
    this.#out.write(`\x1b[?25l\x1b[?7l${up > 0 ? `\x1b[${up}A` : ''}\r${text}\x1b[J\x1b[?7h\x1b[?25h`);
    this.#drawn = lines.map(({ text }) => displayWidth(text));
  }

  #paint({ text, kind }: PaintedLine): string {
    const { bold, cyan, dim, red, yellow } = this.#style;
    switch (kind) {
      case 'head':
        return bold(text);
      case 'done':
        return cyan(text);
      case 'failed':
        return red(text);
      case 'canceled':
        return yellow(text);
      case 'output':
        return dim(text);
      case 'running':
        return text;
    }
  }
}

/** Without colours, and tabs as spaces: what is cut to a width must not hold anything else. */
function plainText(line: string): string {
  return lastState(line)
    .replace(/\x1b\[[0-9;]*m/g, '')
    .replaceAll('\t', '    ');
}
