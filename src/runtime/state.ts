import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { identifyProcess, isRunning, type ProcessIdentity } from '../system/process.ts';

/**
 * The first process of a container as runc's or crun's own records have it, while it runs; read from their files,
 * since asking the runtime costs a process.
 */
export function runtimeProcess(stateRoot: string, id: string): ProcessIdentity | undefined {
  const runc = readJson(join(stateRoot, id, 'state.json'));
  if (typeof runc?.init_process_pid === 'number' && runc.init_process_pid > 0) {
    const found = { pid: runc.init_process_pid, started: Number(runc.init_process_start) };
    return isRunning(found) ? found : undefined;
  }
  const crun = readJson(join(stateRoot, id, 'status'));
  if (typeof crun?.pid !== 'number') return undefined;
  const found = identifyProcess(crun.pid);
  const started = crun['process-start-time'];
  return found !== undefined && (started === undefined || Number(started) === found.started) ? found : undefined;
}

function readJson(path: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
