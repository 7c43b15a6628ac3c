import { closeSync } from 'node:fs';
import { inheritableCopy, makePipe, spawnDetached } from '../system/process.ts';
import type { OciRuntime } from './find-runtime.ts';

/** What is taken away once the last process that holds the reaper's pipe is gone. */
export interface Remains {
  runtime: OciRuntime;
  stateRoot: string;
  id: string;
  /** A file with the ID in it that is removed first, unless there is another ID in it by then. */
  nameFile?: string;
  /** Files and directories, in this order. */
  paths: readonly string[];
}

export interface Reaper {
  /**
   * A descriptor that a program started or become from here on inherits: the reaper waits until nobody has it.
   * Give it to at most one program.
   */
  handOver(): void;
  /** Closes this process's end: it reaps as soon as nobody else holds on. Idempotent. */
  release(): void;
  /** What it waits for the end of. */
  readonly descriptor: number;
}

/**
 * Waits for the end of its input, then has the runtime kill and forget the container if it still knows it (after a
 * `kill -9` of the runtime), and removes what is left.
 * $1 runtime, $2 its state, $3 container, $4 file of its name, the rest paths. In the background of a shell that ends
 * at once, since a process that becomes crun has crun wait for all its children.
 */
const SCRIPT = `
exec 3<&0
{
read -r _ <&3
runtime=$1 state=$2 id=$3 name=$4 owner=
shift 4
[ -n "$name" ] && [ -e "$name" ] && read -r owner < "$name"
[ "$owner" = "$id" ] && rm -f -- "$name"
if [ -e "$state/$id" ]; then
  "$runtime" --root "$state" delete --force "$id"
  sleep 0.1
  [ -e "$state/$id" ] && "$runtime" --root "$state" delete --force "$id"
fi
exec rm -rf -- "$@"
} &
`;

/**
 * Starts a shell that cleans up after this process however it ends, kill -9 included, so that nobody need wait for
 * the container just to tidy up. To be called before the process has mounts of its own, or else without paths.
 * `next` is another reaper that waits until this one is done.
 */
export function startReaper(remains: Remains, next?: Reaper): Reaper {
  const pipe = makePipe();
  try {
    const { runtime, stateRoot, id, paths } = remains;
    const args = ['sh', '-c', SCRIPT, 'imago-reaper', runtime.path, stateRoot, id, remains.nameFile ?? '', ...paths];
    spawnDetached(
      '/bin/sh',
      args,
      ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      pipe.read,
      next?.descriptor,
    );
  } catch (error) {
    closeSync(pipe.write);
    throw error;
  } finally {
    closeSync(pipe.read);
  }
  let open = true;
  return {
    descriptor: pipe.write,
    handOver: () => {
      inheritableCopy(pipe.write);
    },
    release: () => {
      if (open) closeSync(pipe.write);
      open = false;
    },
  };
}
