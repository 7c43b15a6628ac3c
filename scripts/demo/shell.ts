/** How the demo runs commands and shows them: each as a person would type it, what it says below, then what was checked. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';

const project: string = join(import.meta.dirname, '..', '..');
const colour: boolean = process.stdout.isTTY === true && !process.env.NO_COLOR;
const paint = (code: number, text: string): string => (colour ? `\x1b[${code}m${text}\x1b[0m` : text);

export interface CommandOutput {
  stdout: string;
  stderr: string;
  status: number;
  seconds: number;
}

interface RunOptions {
  /** Show what it says. */
  show?: boolean;
  /** Of what it says, the lines to show. */
  filter?: (line: string) => boolean;
  /** Throw for a status other than 0 (default). */
  check?: boolean;
  /** Run it although the demo was stopped: it cleans up. */
  always?: boolean;
}

/** A failed claim: the demo ends with it. */
export class DemoFailure extends Error {}

export class Shell {
  readonly #env: NodeJS.ProcessEnv;
  #child: ChildProcess | undefined;
  #stopped = false;

  constructor(env: Record<string, string>) {
    // `imago` in a command line is this checkout's.
    const path = `${join(project, 'bin')}${delimiter}${process.env.PATH}`;
    this.#env = { ...process.env, ...env, PATH: path };
  }

  /** Ends the command that runs; those that would follow throw. */
  stop(): void {
    this.#stopped = true;
    this.#child?.kill('SIGINT');
  }

  heading(number: number, text: string): void {
    process.stdout.write(`\n${paint(1, `${number}. ${text}`)}\n\n`);
  }

  say(text: string): void {
    process.stdout.write(`${text}\n`);
  }

  /** Runs a command line by sh, in the project's directory. */
  async run(line: string, options: RunOptions = {}): Promise<CommandOutput> {
    const { show = true, filter, check = true, always = false } = options;
    if (!always) this.#checkStopped();
    process.stdout.write(`${paint(36, `$ ${line}`)}\n`);
    const started = performance.now();
    const child = spawn('sh', ['-c', line], { cwd: project, env: this.#env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const) {
      let rest = '';
      child[name].setEncoding('utf8').on('data', (text: string) => {
        output[name] += text;
        const lines = (rest + text).split('\n');
        rest = lines.pop()!;
        if (show) for (const part of lines) if (filter === undefined || filter(part)) this.#print(part);
      });
      child[name].on('end', () => {
        if (show && rest !== '') this.#print(rest);
      });
    }
    const status = await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve(code ?? 1));
    });
    const seconds = (performance.now() - started) / 1000;
    if (!always) this.#checkStopped();
    if (check && status !== 0) {
      throw new DemoFailure(`'${line}' ended with ${status}\n${show ? '' : output.stdout + output.stderr}`);
    }
    return { ...output, status, seconds };
  }

  /** A claim about what was just shown. */
  claim(text: string, holds: boolean): void {
    if (!holds) throw new DemoFailure(`this does not hold: ${text}`);
    process.stdout.write(`${paint(32, '✓')} ${text}\n`);
  }

  /** An HTTP request, shown as curl would be called. */
  async http(method: string, url: string, body?: string): Promise<{ status: number; text: string }> {
    const words = [
      'curl',
      ...(method === 'GET' ? [] : ['-X', method]),
      ...(body === undefined ? [] : ['-d', `'${body}'`]),
      url,
    ];
    process.stdout.write(`${paint(36, `$ ${words.join(' ')}`)}\n`);
    const response = await fetch(url, { method, body });
    const text = await response.text();
    if (text !== '') for (const line of text.trimEnd().split('\n')) this.#print(line);
    return { status: response.status, text };
  }

  /** Until something answers at the address. */
  async waitForHttp(url: string, seconds = 20): Promise<void> {
    const end = Date.now() + seconds * 1000;
    for (;;) {
      this.#checkStopped();
      try {
        await (await fetch(url)).arrayBuffer();
        return;
      } catch (error) {
        if (Date.now() > end) throw new DemoFailure(`nothing answers at ${url}: ${(error as Error).message}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  #checkStopped(): void {
    if (this.#stopped) throw new DemoFailure('stopped');
  }

  #print(line: string): void {
    process.stdout.write(`  ${paint(2, line)}\n`);
  }
}

/** A TCP port of this machine that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}
