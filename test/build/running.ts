/** Builds in a process of their own, for tests that stop them. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BuildLab } from './lab.ts';

const main: string = join(import.meta.dirname, '../../src/cli/main.ts');

export interface RunningBuild {
  child: ChildProcess;
  /** What it told so far. */
  output: string;
  ended: Promise<[code: number | null, signal: NodeJS.Signals | null]>;
}

export function startBuild(
  lab: BuildLab,
  dockerfile: string,
  args: readonly string[] = [],
  env: Record<string, string> = {},
): RunningBuild {
  const file = join(lab.directory, `Dockerfile-${Math.random().toString(36).slice(2)}`);
  writeFileSync(file, dockerfile);
  const child = spawn(process.execPath, [main, 'build', '-f', file, ...args, lab.context], {
    env: { ...process.env, ...env, IMAGO_ROOT: lab.store.root, IMAGO_RUN: lab.store.run },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const running: RunningBuild = { child, output: '', ended: once(child, 'close') as RunningBuild['ended'] };
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    running.output += text;
  });
  return running;
}

/** Fails after 30 seconds, with what the build has told. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  running?: RunningBuild,
): Promise<void> {
  const end = Date.now() + 30_000;
  while (!(await holds())) {
    if (Date.now() > end) assert.fail(`waited in vain: ${what}\n${running?.output ?? ''}`);
    await sleep(20);
  }
}

/** Processes of this machine that have the word in their command line. */
export function processesWith(word: string): string[] {
  return readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'utf8').split('\0').includes(word);
    } catch {
      return false;
    }
  });
}
