import type { BuildEvent } from '../build/events.ts';
import { escapeControls, formatAmount, formatSeconds, LineSplitter, lastState, oneLine } from './build-output-text.ts';
import type { BuildPrinter, Output } from './build-printer.ts';

/** A step that has something to say waits so long for one that has nothing to say, and for one that has. */
const QUIET_MS = 1000;
const TALKING_MS = 5000;
/** Characters that wait at most. */
const MOST_WAITING = 1 << 16;
/** Lines that are kept at least while somebody else has the output. */
const MOST_HELD = 10_000;
/** A part of a step is told about again after so much of it, or so much time. */
const PART_STEP = 0.05;
const PART_MS = 5000;

interface PlainStep {
  name: string;
  started: number;
  lines: LineSplitter;
  /** Not printed yet: the step has not the floor. */
  waiting: string[];
  size: number;
  since: number | undefined;
  parts: Map<string, { at: number; current: number; started: number }>;
}

/**
 * Prints a build as BuildKit's plain progress does: `#5 [2/4] RUN make`, `#5 0.312 output`, `#5 DONE 0.4s`. Steps run
 * side by side, but one has the floor: its lines stand together, and `#5 ...` ends them where another takes it.
 */
export class PlainPrinter implements BuildPrinter {
  readonly #out: Output;
  readonly #steps: Map<number, PlainStep> = new Map();
  #current: number | undefined;
  #currentSince = 0;
  #spoken = 0;
  #first = true;
  #timer: NodeJS.Timeout | undefined;
  #paused: string[] | undefined;

  constructor(out: Output) {
    this.#out = out;
  }

  print(event: BuildEvent): void {
    switch (event.type) {
      case 'start':
        this.#start(event.step, event.name);
        break;
      case 'output':
        for (const line of this.#steps.get(event.step)?.lines.push(event.stream, event.data) ?? []) {
          this.#say(event.step, this.#timed(event.step, line));
        }
        break;
      case 'note':
        this.#say(event.step, `${escapeControls(event.text)} done`);
        break;
      case 'status':
        this.#printPart(event);
        break;
      case 'done':
        this.#end(event.step, event.cached ? 'CACHED' : `DONE ${event.seconds.toFixed(1)}s`);
        break;
      case 'error':
        this.#end(event.step, event.canceled ? 'CANCELED' : `ERROR: ${escapeControls(event.message)}`);
        break;
      case 'warning':
        this.#write(`WARN: ${escapeControls(event.text)}${event.line === undefined ? '' : ` (line ${event.line})`}`);
        break;
    }
  }

  pause(): void {
    this.#paused ??= [];
  }

  resume(): void {
    const lines = this.#paused ?? [];
    this.#paused = undefined;
    for (const line of lines) this.#write(line);
  }

  close(): void {
    this.resume();
    clearTimeout(this.#timer);
    for (const [number, step] of this.#steps) if (step.waiting.length > 0) this.#give(number);
  }

  #start(number: number, name: string): void {
    const now = performance.now();
    const step = { name, started: now, lines: new LineSplitter(), waiting: [], size: 0, since: now, parts: new Map() };
    this.#steps.set(number, step);
    if (this.#current === undefined) this.#give(number);
    else this.#look();
  }

  #timed(number: number, line: string): string {
    const seconds = (performance.now() - (this.#steps.get(number)?.started ?? 0)) / 1000;
    return `${formatSeconds(seconds)} ${lastState(line)}`;
  }

  #printPart({ step: number, id, current, total, finished }: Extract<BuildEvent, { type: 'status' }>): void {
    const parts = this.#steps.get(number)?.parts;
    if (parts === undefined) return;
    const now = performance.now();
    const last = parts.get(id);
    const more = total === undefined || total === 0 ? 0 : (current - (last?.current ?? 0)) / total;
    if (last !== undefined && !finished && more < PART_STEP && now - last.at < PART_MS) return;
    const started = last?.started ?? now;
    parts.set(id, { at: now, current, started });
    const seconds = (now - started) / 1000;
    const time = seconds > 0.01 ? ` ${seconds.toFixed(1)}s` : '';
    this.#say(number, `${escapeControls(id)}${formatAmount(current, total)}${time}${finished ? ' done' : ''}`);
  }

  #say(number: number, text: string): void {
    const step = this.#steps.get(number);
    const line = `#${number} ${text}`;
    if (step === undefined || number === this.#current) {
      this.#spoken = performance.now();
      this.#write(line);
      return;
    }
    step.waiting.push(line);
    step.size += line.length;
    step.since ??= performance.now();
    if (this.#current === undefined || step.size > MOST_WAITING) this.#give(number);
    else this.#look();
  }

  /** What has ended is told at once, whoever has the floor. */
  #end(number: number, words: string): void {
    const step = this.#steps.get(number);
    if (step === undefined) return;
    if (this.#current !== number) this.#give(number);
    for (const line of step.lines.end()) this.#say(number, this.#timed(number, line));
    this.#write(`#${number} ${words}`);
    this.#steps.delete(number);
    this.#current = undefined;
    const next = this.#longestWaiting();
    if (next !== undefined) this.#give(next);
  }

  #give(number: number): void {
    const step = this.#steps.get(number)!;
    if (this.#current !== undefined) this.#write(`#${this.#current} ...`);
    if (!this.#first) this.#write('');
    this.#first = false;
    this.#write(`#${number} ${oneLine(step.name)}`);
    for (const line of step.waiting) this.#write(line);
    step.waiting = [];
    step.size = 0;
    step.since = undefined;
    this.#current = number;
    this.#currentSince = performance.now();
    this.#spoken = this.#currentSince;
  }

  #longestWaiting(): number | undefined {
    let found: { number: number; since: number } | undefined;
    for (const [number, { since }] of this.#steps) {
      if (since !== undefined && since < (found?.since ?? Number.POSITIVE_INFINITY)) found = { number, since };
    }
    return found?.number;
  }

  #look(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const next = this.#longestWaiting();
      if (next === undefined) return;
      const now = performance.now();
      if (now - this.#spoken >= QUIET_MS || now - this.#currentSince >= TALKING_MS) this.#give(next);
      if (this.#longestWaiting() !== undefined) this.#look();
    }, QUIET_MS).unref();
  }

  #write(line: string): void {
    if (this.#paused === undefined) this.#out.write(`${line}\n`);
    else if (this.#paused.push(line) > 2 * MOST_HELD) this.#paused.splice(0, MOST_HELD);
  }
}
