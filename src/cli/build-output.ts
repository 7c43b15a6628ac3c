import { BuildError } from '../build/errors.ts';
import type { BuildEvent } from '../build/events.ts';
import type { DockerfileSource } from '../engine/build-context.ts';
import { DockerfileError } from '../formats/dockerfile/errors.ts';
import { createStyle, type Style, type Terminal } from './style.ts';

interface Output extends Terminal {
  write(text: string): unknown;
}

const CONTEXT_LINES = 2;

/**
 * Prints a build as BuildKit's plain progress does: `#5 [2/4] RUN make`, `#5 0.31 output`, `#5 DONE 0.4s`, with
 * colours on a terminal unless it is to be plain.
 */
export class BuildPrinter {
  readonly #out: Output;
  readonly #style: Style;
  readonly #started: Map<number, number> = new Map();
  /** Output that has no end of line yet. */
  readonly #rest: Map<string, Buffer> = new Map();

  constructor(out: Output, plain: boolean) {
    this.#out = out;
    this.#style = createStyle(plain ? {} : out);
  }

  print(event: BuildEvent): void {
    const { bold, cyan, green, red, yellow } = this.#style;
    switch (event.type) {
      case 'start':
        this.#started.set(event.step, performance.now());
        this.#write(`#${event.step} ${bold(oneLine(event.name))}`);
        break;
      case 'output':
        this.#printOutput(event.step, event.stream, Buffer.from(event.data));
        break;
      case 'note':
        this.#write(`#${event.step} ${event.text}`);
        break;
      case 'done':
        this.#flush(event.step);
        this.#write(`#${event.step} ${event.cached ? cyan('CACHED') : green(`DONE ${event.seconds.toFixed(1)}s`)}\n`);
        break;
      case 'error':
        this.#flush(event.step);
        this.#write(`#${event.step} ${red(`ERROR: ${escapeControls(event.message)}`)}`);
        break;
      case 'warning':
        this.#write(
          yellow(`WARN: ${escapeControls(event.text)}${event.line === undefined ? '' : ` (line ${event.line})`}`),
        );
        break;
    }
  }

  #printOutput(step: number, stream: string, data: Buffer): void {
    const key = `${step} ${stream}`;
    const bytes = Buffer.concat([this.#rest.get(key) ?? Buffer.alloc(0), data]);
    const end = bytes.lastIndexOf(10);
    this.#rest.set(key, bytes.subarray(end + 1));
    if (end >= 0) this.#printLines(step, bytes.subarray(0, end).toString());
  }

  #flush(step: number): void {
    for (const stream of ['stdout', 'stderr']) {
      const rest = this.#rest.get(`${step} ${stream}`);
      if (rest !== undefined && rest.length > 0) this.#printLines(step, rest.toString());
      this.#rest.delete(`${step} ${stream}`);
    }
  }

  #printLines(step: number, text: string): void {
    const seconds = ((performance.now() - (this.#started.get(step) ?? 0)) / 1000).toFixed(3);
    for (const line of text.split('\n')) this.#write(`#${step} ${this.#style.dim(seconds)} ${lastState(line)}`);
  }

  #write(line: string): void {
    this.#out.write(`${line}\n`);
  }
}

/** Where an error points into the Dockerfile: what the step said last, and the lines around it. */
export function printExcerpt(out: Output, error: unknown, source: () => DockerfileSource | undefined): void {
  if (!(error instanceof BuildError) && !(error instanceof DockerfileError)) return;
  const read = source();
  if (read === undefined) return;
  const { name, text } = read;
  if (error instanceof BuildError && error.output !== '') {
    out.write(
      `------\n > ${oneLine(error.step)}:\n${error.output.split('\n').map(lastState).join('\n').trimEnd()}\n------\n`,
    );
  }
  out.write(`${name}:${error.line}\n--------------------\n`);
  const lines = text.split('\n');
  const first = Math.max(1, error.line - CONTEXT_LINES);
  const last = Math.min(lines.length, error.endLine + CONTEXT_LINES);
  for (let number = first; number <= last; number++) {
    const mark = number >= error.line && number <= error.endLine ? '>>>' : '   ';
    out.write(`${String(number).padStart(4)} | ${mark} ${escapeControls(lines[number - 1]!)}\n`);
  }
  out.write('--------------------\n');
}

function oneLine(text: string): string {
  return escapeControls(text.replace(/\s+/g, ' '));
}

/** A line that overwrites itself with carriage returns shows how it ended. */
function lastState(line: string): string {
  return escapeControls(line.replace(/\r+$/, '').replace(/^[\s\S]*\r/, ''));
}

/** Output of a step must not steer the user's terminal; tabs and colours may stay. */
function escapeControls(text: string): string {
  return text.replace(/\x1b\[[0-9;]*m|[\x00-\x08\x0a-\x1f\x7f-\x9f]/g, (c) =>
    c.length > 1 ? c : `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}
