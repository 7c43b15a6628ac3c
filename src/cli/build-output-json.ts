import type { BuildEvent } from '../build/events.ts';
import { sha256 } from '../core/sha256.ts';
import type { BuildPrinter, Output } from './build-printer.ts';

/** BuildKit's client.SolveStatus (client/graph.go), as `--progress=rawjson` prints it, one a line. */
interface SolveStatus {
  vertexes?: Vertex[];
  statuses?: VertexStatus[];
  logs?: { vertex: string; stream: number; data: string; timestamp: string }[];
  warnings?: Warning[];
}

interface Vertex {
  digest: string;
  inputs?: string[];
  name: string;
  started?: string;
  completed?: string;
  cached?: boolean;
  error?: string;
}

interface VertexStatus {
  id: string;
  vertex: string;
  name?: string;
  total?: number;
  current: number;
  timestamp: string;
  started: string;
  completed?: string;
}

interface Warning {
  vertex: string;
  level: number;
  /** Base64, as `detail`. */
  short: string;
  detail?: string[];
  url?: string;
  range?: SourceRange[];
}

interface SourceRange {
  start: { line: number };
  end: { line: number };
}

/** How BuildKit's tools tell a step that was stopped from one that failed. */
const CANCELED = 'context canceled';

/** What a step has to do with a warning of the Dockerfile itself. */
const DEFINITION = '[internal] load build definition';

export class JsonPrinter implements BuildPrinter {
  readonly #out: Output;
  readonly #vertexes: Map<number, Vertex> = new Map();
  /** When each part of a step began, by step and ID. */
  readonly #begun: Map<string, string> = new Map();
  #definition: Vertex | undefined;

  constructor(out: Output) {
    this.#out = out;
  }

  print(event: BuildEvent): void {
    const now = new Date().toISOString();
    if (event.type === 'plan') return;
    if (event.type === 'warning') this.#warn(event, now);
    else if (event.type === 'start') this.#start(event, now);
    else this.#tell(event, now);
  }

  pause(): void {}

  resume(): void {}

  close(): void {}

  #start({ step, name, inputs = [] }: Extract<BuildEvent, { type: 'start' }>, started: string): void {
    const digests = inputs.flatMap((input) => this.#vertexes.get(input)?.digest ?? []);
    const vertex: Vertex = {
      digest: digestOf([step, name, digests]),
      ...(digests.length > 0 && { inputs: digests }),
      name,
      started,
    };
    this.#vertexes.set(step, vertex);
    this.#write({ vertexes: [vertex] });
  }

  #tell(event: Exclude<BuildEvent, { type: 'plan' | 'warning' | 'start' }>, now: string): void {
    const vertex = this.#vertexes.get(event.step);
    if (vertex === undefined) return;
    const { digest } = vertex;
    switch (event.type) {
      case 'output': {
        const data = Buffer.from(event.data).toString('base64');
        this.#write({ logs: [{ vertex: digest, stream: event.stream === 'stdout' ? 1 : 2, data, timestamp: now }] });
        break;
      }
      case 'note': {
        const times = { timestamp: now, started: now, completed: now };
        this.#write({ statuses: [{ id: event.text, vertex: digest, current: 0, ...times }] });
        break;
      }
      case 'status':
        this.#printPart(event, digest, now);
        break;
      case 'done':
        this.#write({ vertexes: [{ ...vertex, completed: now, ...(event.cached && { cached: true }) }] });
        break;
      case 'error':
        this.#write({ vertexes: [{ ...vertex, completed: now, error: event.canceled ? CANCELED : event.message }] });
        break;
    }
  }

  #printPart(event: Extract<BuildEvent, { type: 'status' }>, vertex: string, now: string): void {
    const { id, current, total, finished } = event;
    const key = `${event.step} ${id}`;
    const started = this.#begun.get(key) ?? now;
    this.#begun.set(key, started);
    const times = { timestamp: now, started, ...(finished && { completed: now }) };
    this.#write({ statuses: [{ id, vertex, ...(total !== undefined && { total }), current, ...times }] });
  }

  #warn({ text, line, check }: Extract<BuildEvent, { type: 'warning' }>, now: string): void {
    if (this.#definition === undefined) {
      this.#definition = { digest: digestOf([DEFINITION]), name: DEFINITION, started: now, completed: now };
      this.#write({ vertexes: [this.#definition] });
    }
    const short = base64(text);
    const more = check && { detail: [base64(check.description)], ...(check.url !== undefined && { url: check.url }) };
    const range = line === undefined ? {} : { range: [{ start: { line }, end: { line } }] };
    this.#write({ warnings: [{ vertex: this.#definition.digest, level: 1, short, ...more, ...range }] });
  }

  #write(status: SolveStatus): void {
    this.#out.write(`${JSON.stringify(status)}\n`);
  }
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

function digestOf(value: unknown): string {
  return sha256(Buffer.from(JSON.stringify(value)));
}
