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
  /**
   * For a runtime that is not to live on: once this process is gone, the reaper ends the container as often as it
   * appears, and removes nothing before nobody has this descriptor. -1 where it was not asked for.
   */
  readonly runtimeDescriptor: number;
}

/**
 * Waits for the end of its input, then has the runtime kill and forget the container if it still knows it (after a
 * `kill -9` of the runtime), and removes what is left.
 * $1 runtime, $2 its state, $3 container, $4 file of its name, $5 not empty where descriptor 8 ends with a runtime
 * that may still be making the container, the rest paths. In the background of a shell that ends at once, since a
 * process that becomes crun has crun wait for all its children.
 */
const SCRIPT = `
exec 3<&0
{
read -r _ <&3
runtime=$1 state=$2 id=$3 name=$4 making=$5 owner= over=
shift 5
[ -n "$name" ] && [ -e "$name" ] && read -r owner < "$name"
[ "$owner" = "$id" ] && rm -f -- "$name"
end() { [ -e "$state/$id" ] && "$runtime" --root "$state" delete --force "$id"; }
if [ -n "$making" ]; then
  {
    trap over=yes TERM
    while [ -z "$over" ]; do end; sleep 0.05; done
  } &
  read -r _ <&8
  kill $!
  wait
fi
if [ -e "$state/$id" ]; then
  end
  sleep 0.1
  end
fi
exec rm -rf -- "$@"
} &
`;
const RUNTIME_ENDS = 8;
const NEXT = 9;

export interface ReaperOptions {
  /** Another reaper that waits until this one is done. */
  next?: Reaper;
  /** Gives it a `runtimeDescriptor`. */
  endsRuntime?: boolean;
}

/**
 * Starts a shell that cleans up after this process however it ends, kill -9 included, so that nobody need wait for
 * the container just to tidy up. To be called before the process has mounts of its own, or else without paths.
 */
export function startReaper(remains: Remains, options: ReaperOptions = {}): Reaper {
  const { runtime, stateRoot, id, nameFile = '', paths } = remains;
  const { next, endsRuntime = false } = options;
  const pipe = makePipe();
  const runtimePipe = endsRuntime ? makePipe() : undefined;
  const ends = runtimePipe === undefined ? [pipe] : [pipe, runtimePipe];
  let open = true;
  const release = (): void => {
    if (open) for (const { write } of ends) closeSync(write);
    open = false;
  };
  try {
    const making = endsRuntime ? 'yes' : '';
    const args = ['sh', '-c', SCRIPT, 'imago-reaper', runtime.path, stateRoot, id, nameFile, making, ...paths];
    spawnDetached('/bin/sh', args, ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], pipe.read, [
      ...(runtimePipe === undefined ? [] : [{ fd: runtimePipe.read, as: RUNTIME_ENDS }]),
      ...(next === undefined ? [] : [{ fd: next.descriptor, as: NEXT }]),
    ]);
  } catch (error) {
    release();
    throw error;
  } finally {
    for (const { read } of ends) closeSync(read);
  }
  return {
    descriptor: pipe.write,
    runtimeDescriptor: runtimePipe?.write ?? -1,
    handOver: () => {
      inheritableCopy(pipe.write);
    },
    release,
  };
}
