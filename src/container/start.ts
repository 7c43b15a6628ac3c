import { closeSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ImagoError } from '../core/errors.ts';
import { createMonitored, findMonitor, startCreated } from '../runtime/conmon.ts';
import { findProgram, findRuntime, type OciRuntime } from '../runtime/find-runtime.ts';
import type { Store } from '../store/store.ts';
import { lockFile } from '../system/lock.ts';
import { writeBundle } from './bundle.ts';
import { type ContainerRecord, containerPaths, namePath, stateRoot } from './record.ts';
import { mountRootfs, unmountRootfs } from './rootfs.ts';
import { containerState, makeExitDirectory, readExit, writeLastStart } from './state.ts';
import { anonymousVolumes, realizeMounts } from './volumes.ts';

export interface StartOptions {
  /** Called when the container exists and its process has not run yet: the moment to attach. */
  beforeStart?: (bundle: string) => void | Promise<void>;
  /** A container that runs already is as good as started. */
  unlessRunning?: boolean;
}

/**
 * What conmon runs when the container has ended: the runtime forgets the container; with --rm all of it goes. Where
 * whoever started it was killed at once, the overlay is still mounted for conmon, and rm would walk into it.
 * $1 runtime, $2 its state, $3 container, $4 root file system, $5 file of its name, the rest paths.
 */
const EXIT_SCRIPT = `
runtime=$1 state=$2 id=$3 rootfs=$4 name=$5 owner=
shift 5
"$runtime" --root "$state" delete --force "$id"
[ $# -gt 0 ] || exit 0
umount -l "$rootfs"
[ -e "$name" ] && read -r owner < "$name"
[ "$owner" = "$id" ] && rm -f -- "$name"
exec rm -rf -- "$@"
`;

/**
 * Starts a container that conmon holds; this process may end and the container stays. Gives this process a mount
 * namespace of its own. Throws `ALREADY_RUNNING`, and with exit status 125, 126 or 127 what kept it from starting; the
 * container is then as before, or with --rm gone.
 */
export async function startContainer(store: Store, record: ContainerRecord, options: StartOptions = {}): Promise<void> {
  const paths = containerPaths(store, record);
  const runtime = await findRuntime(store.run);
  findMonitor();
  using _lock = lockFile(join(paths.directory, 'lock'), 'exclusive');
  if (containerState(store, record).status === 'running') {
    if (options.unlessRunning === true) return;
    throw new ImagoError('ALREADY_RUNNING', `container ${record.name} is running already`, { exitCode: 125 });
  }
  rmSync(paths.bundle, { recursive: true, force: true });
  rmSync(paths.lastStart, { force: true });
  rmSync(join(paths.exitDirectory, record.id), { force: true });
  mkdirSync(paths.bundle, { recursive: true, mode: 0o700 });
  makeExitDirectory(paths.exitDirectory);
  try {
    await createProcess(store, record, runtime);
    await options.beforeStart?.(paths.bundle);
    await letGo(store, record, runtime);
  } finally {
    // The container has it in a namespace of its own by now: there it ends with the container's last process.
    unmountRootfs(paths.rootfs);
  }
}

/**
 * A process can be over, and forgotten by the runtime, before the `start` that let it go has tidied up, which then
 * complains: whoever has an exit status was started.
 */
async function letGo(store: Store, record: ContainerRecord, runtime: OciRuntime): Promise<void> {
  try {
    await startCreated(runtime, stateRoot(store), record.id);
  } catch (error) {
    if (readExit(join(containerPaths(store, record).exitDirectory, record.id)) === undefined) throw error;
  }
}

/** Mounts the root file system and has conmon make the container, whose process then waits to be let go. */
async function createProcess(store: Store, record: ContainerRecord, runtime: OciRuntime): Promise<void> {
  const paths = containerPaths(store, record);
  const { terminal, stdin, stdinOnce } = record.process;
  const root = await mountRootfs(store, {
    ...paths,
    diffIds: record.image.diffIds,
    volatile: record.autoRemove,
    memory: record.resources.memory,
    keepMountPoints: true,
  });
  try {
    const mounts = await realizeMounts(store, record.mounts, root);
    writeBundle({ ...record, ...paths, root, mounts });
  } finally {
    closeSync(root);
  }
  const pid = await createMonitored({
    id: record.id,
    runtime,
    stateRoot: stateRoot(store),
    bundle: paths.bundle,
    logPath: paths.log,
    exitDirectory: paths.exitDirectory,
    terminal,
    stdin,
    keepStdin: stdin && !stdinOnce,
    exitCommand: exitCommand(store, record, runtime),
  });
  writeLastStart(store, record, pid);
}

function exitCommand(store: Store, record: ContainerRecord, runtime: OciRuntime): string[] {
  const paths = containerPaths(store, record);
  const gone = record.autoRemove ? [paths.bundle, ...anonymousVolumes(store, record.mounts), paths.directory] : [];
  const shell = findProgram('sh') ?? '/bin/sh';
  const known = [runtime.path, stateRoot(store), record.id, paths.rootfs, namePath(store, record.name)];
  return [shell, '-c', EXIT_SCRIPT, 'imago-exit', ...known, ...gone];
}
