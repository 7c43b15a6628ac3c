import { type SpawnOptions, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface Sample {
  /** Wall time, seconds. */
  seconds: number;
  /** Highest resident set of the process itself (children apart), MB of 10^6 bytes; polled every 10 ms. */
  peakMB: number;
  stdout: string;
}

/** Runs a command to its end. Throws with what it printed when it fails. */
export function run(command: string[], options: SpawnOptions = {}): Promise<Sample> {
  return new Promise((resolve, reject) => {
    const start = process.hrtime.bigint();
    const child = spawn(command[0]!, command.slice(1), { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    let peak = 0;
    const poll = setInterval(() => {
      try {
        const match = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'latin1'));
        if (match !== null) peak = Math.max(peak, Number(match[1]) * 1024);
      } catch {
        // The process is gone.
      }
    }, 10);
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearInterval(poll);
      const seconds = Number(process.hrtime.bigint() - start) / 1e9;
      if (code === 0) resolve({ seconds, peakMB: peak / 1e6, stdout });
      else
        reject(
          new Error(`${command.join(' ')} ended with ${code ?? signal}\n${stderr.slice(-2000)}${stdout.slice(-500)}`),
        );
    });
  });
}

export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export interface Contestant {
  name: string;
  /** Brings about the state that the measured part starts from; not timed. */
  before?: () => Promise<unknown>;
  /** The measured part. Returns seconds when it measured itself (inside a container), else is timed from outside. */
  measure: () => Promise<number | undefined>;
}

/** Seconds of each round, in order, by name. */
export type Times = Map<string, number[]>;

/** Interleaved rounds: every contestant once a round, in turn. */
export async function compete(contestants: Contestant[], rounds: number): Promise<Times> {
  const times: Times = new Map(contestants.map((c) => [c.name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const contestant of contestants) {
      await contestant.before?.();
      const start = process.hrtime.bigint();
      const own = await contestant.measure();
      times.get(contestant.name)!.push(own ?? Number(process.hrtime.bigint() - start) / 1e9);
    }
  }
  return times;
}

/** The first one's time over that of the fastest of the others, round by round; empty where it is alone. */
export function ratios([own, ...others]: number[][]): number[] {
  if (own === undefined || others.length === 0) return [];
  return own.map((seconds, round) => seconds / Math.min(...others.map((rounds) => rounds[round]!)));
}
