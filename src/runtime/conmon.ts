import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { ImagoError } from '../core/errors.ts';
import { errnoName, SystemError } from '../system/call.ts';
import { runtimeFailure } from './failure.ts';
import { findProgram, type OciRuntime } from './find-runtime.ts';

export interface MonitorOptions {
  id: string;
  runtime: OciRuntime;
  stateRoot: string;
  /** Holds config.json; conmon puts its socket, its pipes and pid files here. */
  bundle: string;
  logPath: string;
  /** Gets a file named by the ID with the exit status in it. */
  exitDirectory: string;
  terminal: boolean;
  /** Keep the container's input open for attached clients. */
  stdin: boolean;
  /** More than one client may attach and leave without ending the input. */
  keepStdin: boolean;
  /** Run by conmon when all is over: an absolute path and its arguments. */
  exitCommand: readonly string[];
}

/** conmon's file names in the bundle. */
export const MONITOR_FILES = { attach: 'attach', control: 'ctl', pid: 'pid', monitorPid: 'conmon.pid' } as const;

/** Throws `NO_CONMON`. */
export function findMonitor(): string {
  const path = findProgram('conmon');
  if (path !== undefined) return path;
  throw new ImagoError('NO_CONMON', 'conmon not found', {
    remedy: "install it with 'apt-get install conmon'; without it only 'run --rm' in the foreground, without -t, works",
    exitCode: 125,
  });
}

/**
 * Has conmon create a container and hold its log, its exit status and its attach socket. The container's process
 * waits for `startCreated`. Returns its process ID. Inherits this process's mount namespace.
 */
export async function createMonitored(options: MonitorOptions): Promise<number> {
  const monitor = findMonitor();
  const { spawn } = await import('node:child_process');
  const child = spawn(monitor, monitorArguments(options), {
    cwd: '/',
    // A Ctrl-C in the terminal is not for it.
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    // It takes its arguments for text in the locale's encoding, and refuses what is none.
    env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8', _OCI_SYNCPIPE: '3' },
  });
  const [report, errors] = await Promise.all([readLine(child.stdio[3]), readAll(child.stderr), ended(child)]);
  return readReport(report, errors);
}

function monitorArguments(o: MonitorOptions): string[] {
  const args = ['--api-version', '1', '--cid', o.id, '--cuuid', o.id, '--name', o.id.slice(0, 12)];
  args.push('--runtime', o.runtime.path, '--runtime-arg', `--root=${o.stateRoot}`, '--bundle', o.bundle);
  args.push('--container-pidfile', join(o.bundle, MONITOR_FILES.pid));
  args.push('--conmon-pidfile', join(o.bundle, MONITOR_FILES.monitorPid));
  args.push('--log-path', `k8s-file:${o.logPath}`, '--log-level', 'error', '--no-sync-log');
  args.push('--exit-dir', o.exitDirectory, '--full-attach');
  const [program, ...rest] = o.exitCommand;
  if (program !== undefined) args.push('--exit-command', program);
  for (const argument of rest) args.push('--exit-command-arg', argument);
  if (o.terminal) args.push('--terminal');
  if (o.stdin) args.push('--stdin');
  if (o.keepStdin) args.push('--leave-stdin-open');
  return args;
}

/** conmon's answer on its sync pipe: {"data": pid}, or a negative number and the runtime's message. */
function readReport(report: string, errors: string): number {
  let answer: { data?: number; pid?: number; message?: string } = {};
  try {
    answer = JSON.parse(report) as typeof answer;
  } catch {
    // Nothing came: what conmon printed is the reason.
  }
  const pid = answer.data ?? answer.pid ?? -1;
  if (pid > 0) return pid;
  throw runtimeFailure(answer.message ?? errors);
}

/** Lets the process of a created container go. */
export async function startCreated(runtime: OciRuntime, stateRoot: string, id: string): Promise<void> {
  const { spawn } = await import('node:child_process');
  const child = spawn(runtime.path, ['--root', stateRoot, 'start', id], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const [errors, code] = await Promise.all([readAll(child.stderr), ended(child)]);
  if (code !== 0) throw runtimeFailure(errors);
}

/** Tells conmon the size of the terminal. Nothing happens where the container is gone. */
export function resizeTerminal(bundle: string, rows: number, columns: number): void {
  try {
    // O_NONBLOCK: without conmon at the other end, a blocking open would wait for ever.
    const fd = openSync(join(bundle, MONITOR_FILES.control), 0o4001);
    try {
      writeSync(fd, `1 ${rows} ${columns}\n`);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (!['ENXIO', 'ENOENT', 'EPIPE'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

/** conmon's own process ID, undefined where it has not written it. */
export function monitorPid(bundle: string): number | undefined {
  try {
    return Number(readFileSync(join(bundle, MONITOR_FILES.monitorPid), 'latin1').trim()) || undefined;
  } catch {
    return undefined;
  }
}

async function readLine(stream: unknown): Promise<string> {
  // conmon keeps its end open for as long as the container runs: the line is all there is to wait for.
  const source = stream as NodeJS.ReadableStream & { destroy(): void };
  let text = '';
  for await (const chunk of source) {
    text += String(chunk);
    if (text.includes('\n')) break;
  }
  source.destroy();
  return text;
}

async function readAll(stream: NodeJS.ReadableStream | null): Promise<string> {
  let text = '';
  if (stream !== null) for await (const chunk of stream) text = (text + String(chunk)).slice(-65_536);
  return text;
}

function ended(child: import('node:child_process').ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(new SystemError('spawn', Math.abs(error.errno ?? 0), child.spawnfile || errnoName(error.errno ?? 0))),
    );
    child.once('close', (code) => resolve(code));
  });
}
