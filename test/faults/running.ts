import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Outcome {
  /** 128 + n where signal n ended it, as a shell tells it. */
  status: number;
  stdout: string;
  stderr: string;
}

export function statusOf(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + constants.signals[signal ?? 'SIGKILL'];
}

/** A command that runs beside the test. */
export class Running {
  readonly #child: ChildProcess;
  readonly #words: readonly string[];
  readonly #ended: Promise<number>;
  #over = false;
  stdout = '';
  stderr = '';

  constructor(child: ChildProcess, words: readonly string[]) {
    this.#child = child;
    this.#words = words;
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    child.stdin!.on('error', () => {});
    this.#ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => {
        this.#over = true;
        resolve(statusOf(code, signal));
      });
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Writes to its input and leaves it open. */
  feed(bytes: Uint8Array): void {
    this.#child.stdin!.write(bytes);
  }

  closeInput(): void {
    this.#child.stdin!.end();
  }

  /** Waits until something is so, which it must be before the command ends. */
  async until(so: () => boolean): Promise<void> {
    const deadline = Date.now() + 20_000;
    while (!so()) {
      const shown = `imago ${this.#words.join(' ')}\n${this.stdout}${this.stderr}`;
      if (this.#over) assert.fail(`ended too early: ${shown}`);
      if (Date.now() > deadline) assert.fail(`waited in vain: ${shown}`);
      await sleep(5);
    }
  }

  /** To the whole process group, as a terminal's Ctrl-C. */
  signal(name: NodeJS.Signals): void {
    process.kill(-this.pid, name);
  }

  async end(): Promise<Outcome> {
    const timer = setTimeout(() => this.signal('SIGKILL'), 30_000);
    const status = await this.#ended;
    clearTimeout(timer);
    return { status, stdout: this.stdout, stderr: this.stderr };
  }
}
