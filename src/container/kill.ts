import { ImagoError } from '../core/errors.ts';
import { findRuntime } from '../runtime/find-runtime.ts';
import type { Store } from '../store/store.ts';
import { sendSignal } from '../system/process.ts';
import { sleep } from '../system/sleep.ts';
import { type ContainerRecord, stateRoot } from './record.ts';
import { parseSignal } from './signals.ts';
import { containerState } from './state.ts';

const SIGKILL = 9;
const PAUSE_MS = 10;
const KILL_WAIT_MS = 10_000;

/** Sends a signal to the container's first process. False where it does not run. */
export function signalContainer(store: Store, record: ContainerRecord, signal: number): boolean {
  const { pid } = containerState(store, record);
  return pid !== undefined && sendSignal(pid, signal);
}

/** Throws `NOT_RUNNING`. */
export function killContainer(store: Store, record: ContainerRecord, signal: string): void {
  if (signalContainer(store, record, parseSignal(signal))) return;
  throw new ImagoError('NOT_RUNNING', `container ${record.name} is not running`);
}

/**
 * The container's stop signal, and SIGKILL after `timeout` seconds (-1: never). Returns when it has ended; at once
 * where it does not run.
 */
export async function stopContainer(
  store: Store,
  record: ContainerRecord,
  options: { timeout?: number; signal?: string } = {},
): Promise<void> {
  if (!signalContainer(store, record, parseSignal(options.signal ?? record.stopSignal))) return;
  const timeout = options.timeout ?? record.stopTimeout;
  if (await hasEnded(store, record, timeout < 0 ? Number.POSITIVE_INFINITY : timeout * 1000)) return;
  signalContainer(store, record, SIGKILL);
  if (await hasEnded(store, record, KILL_WAIT_MS)) return;
  throw new ImagoError('NOT_STOPPED', `container ${record.name} does not end, even killed`, {
    remedy: "a process of it hangs in the kernel: 'ps -eo pid,stat,wchan' shows it",
  });
}

/** Kills the container however it is held, and has the runtime forget it. */
export async function killHard(store: Store, record: ContainerRecord): Promise<void> {
  if (signalContainer(store, record, SIGKILL) && (await hasEnded(store, record, KILL_WAIT_MS))) return;
  // Created and not started, or a runtime's record that nobody cleaned up.
  const { spawnSync } = await import('node:child_process');
  const runtime = await findRuntime(store.run);
  spawnSync(runtime.path, ['--root', stateRoot(store), 'delete', '--force', record.id], { stdio: 'ignore' });
}

async function hasEnded(store: Store, record: ContainerRecord, withinMs: number): Promise<boolean> {
  for (let waited = 0; waited <= withinMs; waited += PAUSE_MS) {
    if (containerState(store, record).status !== 'running') return true;
    await sleep(PAUSE_MS);
  }
  return false;
}
