import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { ImagoError } from '../core/errors.ts';
import { checkExecutable, environment, mergeVariables } from '../runtime/command.ts';
import { runtimeFailure } from '../runtime/failure.ts';
import { findRuntime, type OciRuntime } from '../runtime/find-runtime.ts';
import { generateProcess } from '../runtime/spec.ts';
import type { Store } from '../store/store.ts';
import { makeMemoryFile } from '../system/memory-file.ts';
import { becomeProgram, inheritableCopy, replaceDescriptor } from '../system/process.ts';
import { resolveProcess } from './bundle.ts';
import { type ContainerRecord, stateRoot } from './record.ts';
import { containerState } from './state.ts';

export interface ExecOptions {
  args: readonly string[];
  env?: readonly string[];
  user?: string;
  workdir?: string;
  terminal?: boolean;
  stdin?: boolean;
}

/**
 * Runs one more process in a running container, in the foreground: this process becomes the runtime's `exec`, which
 * passes on input, output, signals, the terminal and the exit status. Returns only by throwing.
 * Throws `NOT_RUNNING`, `COMMAND_NOT_FOUND` (exit status 127), `COMMAND_NOT_EXECUTABLE` (126).
 */
export async function execForeground(store: Store, record: ContainerRecord, options: ExecOptions): Promise<never> {
  const { runtime, processFile } = await prepareExec(store, record, options);
  if (options.stdin !== true && options.terminal !== true) {
    const empty = openSync('/dev/null', constants.O_RDONLY);
    replaceDescriptor(empty, 0, true);
    closeSync(empty);
  }
  const file = `/proc/self/fd/${inheritableCopy(processFile)}`;
  const args = [runtime.name, '--root', stateRoot(store), 'exec', '--process', file, record.id];
  becomeProgram(runtime.path, args, { PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin' });
}

/** `exec -d`: returns when the process has started; its output goes nowhere. */
export async function execDetached(store: Store, record: ContainerRecord, options: ExecOptions): Promise<void> {
  const { runtime, processFile } = await prepareExec(store, record, { ...options, terminal: false });
  const { spawnSync } = await import('node:child_process');
  const result = spawnSync(
    runtime.path,
    ['--root', stateRoot(store), 'exec', '--detach', '--process', '/proc/self/fd/3', record.id],
    { stdio: ['ignore', 'ignore', 'pipe', processFile], encoding: 'utf8' },
  );
  closeSync(processFile);
  if (result.status !== 0) throw runtimeFailure(result.stderr);
}

async function prepareExec(
  store: Store,
  record: ContainerRecord,
  options: ExecOptions,
): Promise<{ runtime: OciRuntime; processFile: number }> {
  const { pid } = containerState(store, record);
  if (pid === undefined) {
    throw new ImagoError('NOT_RUNNING', `container ${record.name} is not running`, {
      remedy: `start it with 'imago start ${record.name}'`,
    });
  }
  const runtime = await findRuntime(store.run);
  const terminal = options.terminal === true;
  const cwd = options.workdir ?? record.process.cwd;
  // Its root, with everything that is mounted in it.
  const root = openSync(`/proc/${pid}/root`, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const env = environment(mergeVariables(record.process.env, options.env ?? []), { terminal });
    checkExecutable(options.args[0]!, { root, cwd, env });
    const request = { ...record.process, args: [...options.args], env, cwd, terminal };
    const resolved = resolveProcess({ ...request, user: options.user ?? record.process.user }, root);
    const processFile = makeMemoryFile('process.json');
    writeSync(processFile, JSON.stringify(generateProcess(resolved)));
    return { runtime, processFile };
  } finally {
    closeSync(root);
  }
}
