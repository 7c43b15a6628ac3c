/** Runs a program, whatever comes of it. */
import { spawn } from 'node:child_process';

export interface Ran {
  /** Null where it could not be started, or died of a signal. */
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface RunSettings {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
}

export function run(words: readonly string[], settings: RunSettings = {}): Promise<Ran> {
  const [program, ...args] = words as [string, ...string[]];
  return new Promise((resolve) => {
    const child = spawn(program, args, { ...settings, stdio: ['ignore', 'pipe', 'pipe'] });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', (error) => resolve({ status: null, stdout, stderr: error.message }));
    child.on('close', (status) => resolve({ status, stdout, stderr }));
  });
}

/** Its standard output. Throws what it said where it fails. */
export async function mustRun(words: readonly string[], settings?: RunSettings): Promise<string> {
  const { status, stdout, stderr } = await run(words, settings);
  if (status !== 0) throw new Error(`${words.slice(0, 3).join(' ')}: ${(stderr || stdout).trim().slice(-2000)}`);
  return stdout;
}
