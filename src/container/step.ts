import { closeSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { selectCapabilities } from '../runtime/capabilities.ts';
import { checkExecutable, environment, mergeVariables } from '../runtime/command.ts';
import { runtimeFailure } from '../runtime/failure.ts';
import { findRuntime } from '../runtime/find-runtime.ts';
import { startReaper } from '../runtime/reaper.ts';
import type { NetworkMode, ResourceOptions } from '../runtime/spec.ts';
import type { SpecMount } from '../runtime/spec-types.ts';
import { runtimeProcess } from '../runtime/state.ts';
import { enterPrivateNamespace } from '../snapshot/private-namespace.ts';
import type { Store } from '../store/store.ts';
import type { FileLock } from '../system/lock.ts';
import { sendSignal } from '../system/process.ts';
import { randomHex } from '../system/random.ts';
import { writeBundle } from './bundle.ts';
import { stateRoot } from './record.ts';
import { mountRootfs, unmountRootfs } from './rootfs.ts';
import { makeStepBundle, stepBundlePath } from './step-bundle.ts';
import { detach, hideDirectory, type StepMount, StepMounts } from './step-mounts.ts';

/** executor/oci */
const SANDBOX_HOSTNAME = 'buildkitsandbox';

export interface StepSettings {
  /** Default: BuildKit's, the same on every machine and in any network. */
  hostname?: string;
  /** `NAME:ADDRESS`, for /etc/hosts. */
  extraHosts?: readonly string[];
  /** Of /dev/shm, in bytes. */
  shmSize?: number;
  ulimits?: readonly { name: string; soft: number; hard: number }[];
  /** A cgroup's path instead of Imago's own. */
  cgroupParent?: string;
  resources?: ResourceOptions;
}

export interface StepOptions {
  /** The layers below, the lowest first. */
  diffIds: readonly Digest[];
  /** The writable layer: made where it is missing, and left behind with what the step wrote. */
  upper: string;
  /** Beside `upper`, on the same file system; removed afterwards. */
  work: string;
  args: string[];
  /** NAME=value; PATH and HOME have Docker's defaults. */
  env: string[];
  cwd: string;
  /** As USER has it; '' is root. */
  user: string;
  /** Default 'host': a build fetches things. */
  network?: NetworkMode;
  mounts?: SpecMount[];
  /** Mounted after `mounts`; their mount points are not in `upper`. */
  stepMounts?: readonly StepMount[];
  /** NAME=value, in place of what `env` has; never on a disk. */
  secretEnv?: readonly string[];
  /** Descriptors of locks that the step's processes keep held, should this process be killed. */
  locks?: readonly number[];
  capAdd?: readonly string[];
  /** All rights: capabilities, devices, system calls, cgroups. */
  insecure?: boolean;
  settings?: StepSettings;
  /** On this process's own terminal, which must be one; `stdout` and `stderr` are not used. */
  terminal?: boolean;
  /** 'inherit' passes this process's own on. */
  stdout: 'inherit' | ((chunk: Buffer) => void);
  stderr: 'inherit' | ((chunk: Buffer) => void);
  /** Ends the step's processes. */
  signal?: AbortSignal;
}

/**
 * Runs one step of a build to its end and returns its exit status. There is no container to see; a `kill -9` of this
 * process ends the step, too. Gives this thread a mount namespace of its own: one step a thread (`runStepInThread`).
 * Throws what keeps the step from starting, as `COMMAND_NOT_FOUND`, and `ABORTED`.
 */
export async function runStep(store: Store, options: StepOptions): Promise<number> {
  const runtime = await findRuntime(store.run);
  const id = `step-${randomHex(16)}`;
  const bundle = stepBundlePath(store, id);
  const rootfs = join(bundle, 'rootfs');
  const {
    diffIds,
    upper,
    work,
    stepMounts = [],
    secretEnv = [],
    insecure = false,
    settings = {},
    terminal = false,
  } = options;
  // First: what a kill leaves between the two nobody would take away.
  const reapers = [startReaper({ runtime, stateRoot: stateRoot(store), id, paths: [bundle] }, { endsRuntime: true })];
  let lock: FileLock | undefined;
  const sources = new StepMounts(store, join(bundle, 'mounts'));
  const secret = secretEnv.length > 0 || stepMounts.some(({ type }) => type === 'secret');
  // crun copies config.json to its records: with secrets, they are hidden, too.
  const states = secret ? join(bundle, 'state') : stateRoot(store);
  try {
    lock = makeStepBundle(store, bundle);
    await StepMounts.prepare(store, stepMounts);
    if (stepMounts.length > 0 || secret) enterPrivateNamespace();
    if (secret) {
      hideDirectory(bundle);
      // One that sees the records. The other waits for it: what it removes takes the mount with it in here, too.
      const remains = { runtime, stateRoot: states, id, paths: [] };
      reapers.push(startReaper(remains, { endsRuntime: true, next: reapers[0]! }));
    }
    await sources.add(stepMounts);
    const mountPoints = sources.points;
    const root = await mountRootfs(store, { diffIds, upper, work, rootfs, bundle, volatile: true, mountPoints });
    try {
      const mounts = [...shmMount(settings), ...(options.mounts ?? []), ...sources.mounts];
      const capabilities = selectCapabilities({ add: insecure ? ['ALL'] : (options.capAdd ?? []) });
      const env = mergeVariables(environment(options.env, { terminal }), secretEnv);
      const process = { ...options, env, terminal, capabilities, ulimits: settings.ulimits };
      const network = options.network ?? 'host';
      const hostname = settings.hostname ?? SANDBOX_HOSTNAME;
      // What looks its own name up finds it.
      const extraHosts = [`${hostname}:127.0.0.1`, ...(settings.extraHosts ?? [])];
      writeBundle({
        id,
        bundle,
        rootfs,
        root,
        process,
        network,
        mounts,
        insecure,
        extraHosts,
        cgroupParent: settings.cgroupParent,
        resources: settings.resources,
        hostname,
      });
      checkExecutable(process.args[0]!, { ...process, root, mounts });
    } finally {
      closeSync(root);
    }
    const held = [lock.fd, ...reapers.map(({ runtimeDescriptor }) => runtimeDescriptor), ...(options.locks ?? [])];
    return await runToEnd(runtime.path, states, id, bundle, { ...options, locks: held });
  } finally {
    unmountRootfs(rootfs);
    sources.release();
    if (secret) detach(bundle);
    rmSync(options.work, { recursive: true, force: true });
    rmSync(bundle, { recursive: true, force: true });
    lock?.release();
    for (const reaper of reapers) reaper.release();
  }
}

function shmMount({ shmSize }: StepSettings): SpecMount[] {
  if (shmSize === undefined) return [];
  const options = ['nosuid', 'noexec', 'nodev', 'mode=1777', `size=${shmSize}`];
  return [{ destination: '/dev/shm', type: 'tmpfs', source: 'shm', options }];
}

async function runToEnd(
  program: string,
  states: string,
  id: string,
  bundle: string,
  options: StepOptions,
): Promise<number> {
  const { spawn } = await import('node:child_process');
  const log = join(bundle, 'runtime.log');
  const global = ['--root', states, '--log', log, '--log-format', 'json'];
  const way = (to: StepOptions['stdout']): 'inherit' | 'pipe' => (to === 'inherit' ? 'inherit' : 'pipe');
  const child = spawn(program, [...global, 'run', '--bundle', bundle, id], {
    stdio: options.terminal
      ? ['inherit', 'inherit', 'inherit', ...(options.locks ?? [])]
      : ['ignore', way(options.stdout), way(options.stderr), ...(options.locks ?? [])],
    // A terminal's Ctrl-C is for this process, which then ends the step in order; one at the terminal gets it itself.
    detached: options.terminal !== true,
  });
  if (options.stdout !== 'inherit') child.stdout?.on('data', options.stdout);
  if (options.stderr !== 'inherit') child.stderr?.on('data', options.stderr);
  // The container's first process, whose end ends all others, may not be there yet.
  const kill = (): void => {
    const found = runtimeProcess(states, id);
    if (found !== undefined) sendSignal(found.pid, 'SIGKILL');
  };
  let killing: NodeJS.Timeout | undefined;
  const abort = (): void => {
    killing ??= setInterval(kill, 20);
  };
  options.signal?.addEventListener('abort', abort, { once: true });
  if (options.signal?.aborted === true) abort();
  const status = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? 128 + (signal === 'SIGKILL' ? 9 : 15)));
  });
  options.signal?.removeEventListener('abort', abort);
  clearInterval(killing);
  if (options.signal?.aborted === true)
    throw new ImagoError('ABORTED', 'the step was stopped', { cause: options.signal.reason });
  if (status !== 0) throwFailure(log);
  return status;
}

/** What the runtime itself complained of, if it did: not what the step printed. */
function throwFailure(log: string): void {
  let text: string;
  try {
    text = readFileSync(log, 'utf8');
  } catch {
    return;
  }
  const errors = text.split('\n').flatMap((line) => {
    try {
      const entry = JSON.parse(line) as { level?: string; msg?: string };
      return entry.level === 'error' && entry.msg !== undefined ? [entry.msg] : [];
    } catch {
      return [];
    }
  });
  if (errors.length > 0) throw runtimeFailure(errors.at(-1)!);
}
