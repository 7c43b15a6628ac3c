import { closeSync, constants, openSync } from 'node:fs';
import { checkExecutable } from '../runtime/command.ts';
import { findRuntime } from '../runtime/find-runtime.ts';
import { startReaper } from '../runtime/reaper.ts';
import { needRoot } from '../snapshot/privilege.ts';
import type { Store } from '../store/store.ts';
import { becomeProgram, replaceDescriptor } from '../system/process.ts';
import { writeBundle } from './bundle.ts';
import { type CreateOptions, createContainer } from './create.ts';
import { containerPaths, namePath, stateRoot } from './record.ts';
import { mountRootfs } from './rootfs.ts';
import { anonymousVolumes, realizeMounts } from './volumes.ts';

/**
 * `run --rm` in the foreground without a terminal: this process mounts, then becomes the runtime, so that the
 * container's output, signals and exit status are the caller's with nothing in between and no Node kept waiting.
 * A reaper takes the container away once the runtime has ended, however it ended. Returns only by throwing; what is
 * thrown leaves nothing behind either.
 */
export async function launchContainer(store: Store, options: CreateOptions): Promise<never> {
  needRoot('make a container');
  const runtime = await findRuntime(store.run);
  const record = createContainer(store, { ...options, autoRemove: true }, 'runtime');
  const paths = containerPaths(store, record);
  const states = stateRoot(store);
  const reaper = startReaper({
    runtime,
    stateRoot: states,
    id: record.id,
    nameFile: namePath(store, record.name),
    paths: [paths.bundle, ...anonymousVolumes(store, record.mounts), paths.directory],
  });
  try {
    const { diffIds } = record.image;
    const { memory } = record.resources;
    const root = await mountRootfs(store, { ...paths, diffIds, volatile: true, memory, keepMountPoints: true });
    const mounts = await realizeMounts(store, record.mounts, root);
    writeBundle({ ...record, ...paths, root, mounts });
    checkExecutable(record.process.args[0]!, { ...record.process, root, mounts });
    closeSync(root);
    if (!record.process.stdin) {
      const empty = openSync('/dev/null', constants.O_RDONLY);
      replaceDescriptor(empty, 0, true);
      closeSync(empty);
    }
    reaper.handOver();
    const path = process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin';
    const args = ['--root', states, 'run', '--bundle', paths.bundle, record.id];
    becomeProgram(runtime.path, [runtime.name, ...args], { PATH: path });
  } catch (error) {
    reaper.release();
    throw error;
  }
}
