import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorPid } from '../runtime/conmon.ts';
import { runtimeProcess } from '../runtime/state.ts';
import type { Store } from '../store/store.ts';
import { bootId } from '../system/boot.ts';
import { identifyProcess, isRunning, type ProcessIdentity } from '../system/process.ts';
import { type ContainerRecord, containerPaths, stateRoot } from './record.ts';

/** Derived from processes and files each time it is asked for: there is nobody who could keep it. */
export interface ContainerState {
  status: 'created' | 'running' | 'exited';
  /** The container's first process, while it runs. */
  pid?: number;
  exitCode?: number;
  /** Milliseconds since 1970. */
  startedAt?: number;
  finishedAt?: number;
}

interface LastStart {
  boot: string;
  process: ProcessIdentity;
  at: number;
}

/** What Docker says of a container whose end nobody saw: killed with its machine. */
export const LOST_EXIT_CODE = 255;

export function containerState(store: Store, record: ContainerRecord): ContainerState {
  return record.holder === 'runtime' ? launchedState(store, record) : monitoredState(store, record);
}

/** Nothing runs and nothing will. */
export function isOver(store: Store, record: ContainerRecord): boolean {
  return containerState(store, record).status === 'exited';
}

function launchedState(store: Store, record: ContainerRecord): ContainerState {
  const startedAt = Date.parse(record.created);
  const process = runtimeProcess(stateRoot(store), record.id);
  if (process !== undefined) return { status: 'running', pid: process.pid, startedAt };
  const { launcher } = record;
  if (launcher === undefined || launcher.boot !== bootId() || !isRunning(launcher)) {
    return { status: 'exited', exitCode: LOST_EXIT_CODE, startedAt };
  }
  return { status: 'created' };
}

function monitoredState(store: Store, record: ContainerRecord): ContainerState {
  const paths = containerPaths(store, record);
  const start = readLastStart(paths.lastStart);
  if (start === undefined) return { status: 'created' };
  const running: ContainerState = { status: 'running', pid: start.process.pid, startedAt: start.at };
  const sameBoot = start.boot === bootId();
  if (sameBoot && isRunning(start.process)) return running;
  const exit = readExit(join(paths.exitDirectory, record.id));
  if (exit !== undefined) return { status: 'exited', ...exit, startedAt: start.at };
  // Between the end of the process and conmon's note of it.
  const monitor = sameBoot ? monitorPid(paths.bundle) : undefined;
  if (monitor !== undefined && identifyProcess(monitor) !== undefined) return running;
  return { status: 'exited', exitCode: LOST_EXIT_CODE, startedAt: start.at };
}

/** Notes that the container's process is there. An exit status of an earlier time is to be gone by then. */
export function writeLastStart(store: Store, record: ContainerRecord, pid: number): void {
  const process = identifyProcess(pid);
  if (process === undefined) return;
  const start: LastStart = { boot: bootId(), process, at: Date.now() };
  writeFileSync(containerPaths(store, record).lastStart, JSON.stringify(start), { mode: 0o600 });
}

function readLastStart(path: string): LastStart | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as LastStart;
  } catch {
    return undefined;
  }
}

/** conmon writes the file whole and renames it into place. */
export function readExit(path: string): { exitCode: number; finishedAt: number } | undefined {
  try {
    const exitCode = Number(readFileSync(path, 'latin1').trim());
    return { exitCode, finishedAt: statSync(path).mtimeMs };
  } catch {
    return undefined;
  }
}

export function makeExitDirectory(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
}
