import { Store } from '../store/store.ts';
import type { ParsedArguments } from './args.ts';
import type { CommandContext } from './command.ts';

/** The status of a process whose reader went away, as SIGPIPE would have ended it. */
const BROKEN_PIPE_STATUS = 141;

/** The status of a command that was aborted: by a signal that it took as `context.signal`, or for want of a reader. */
let stoppedBy: number | undefined;
/** Aborts the command, where it takes `context.signal`. */
let stop: ((reason: Error) => void) | undefined;

/** 128 + the number of the signal that aborted the command, 1 where its output could not be written, or undefined. */
export function signalStatus(): number | undefined {
  return stoppedBy;
}

export function createContext(
  parsed: ParsedArguments,
  place: { root?: string | undefined; run?: string | undefined },
): CommandContext {
  let store: Store | undefined;
  let signal: AbortSignal | undefined;
  return {
    args: parsed.args,
    options: parsed.options,
    get stdout() {
      return standardOutput();
    },
    get stderr() {
      return process.stderr;
    },
    get stdin() {
      return process.stdin;
    },
    get signal() {
      signal ??= catchSignals();
      return signal;
    },
    openStore() {
      store ??= Store.open(place);
      return store;
    },
  };
}

let watched = false;
/** `imago images | head -1` is no error: a closed pipe ends the process quietly. */
export function standardOutput(): NodeJS.WriteStream {
  if (!watched) {
    watched = true;
    process.stdout.on('error', endOutput);
  }
  return process.stdout;
}

function endOutput(error: NodeJS.ErrnoException): void {
  if (stoppedBy !== undefined) return;
  const broken = error.code === 'EPIPE';
  if (!broken) process.stderr.write(`imago: cannot write to the standard output: ${error.message}\n`);
  stoppedBy = broken ? BROKEN_PIPE_STATUS : 1;
  if (stop === undefined) process.exit(stoppedBy);
  stop(error);
}

/** Waits until what was printed is with the system; a closed pipe ends the process here at the latest. */
export async function flushOutput(): Promise<void> {
  if (watched) await new Promise<void>((done) => process.stdout.write('', () => done()));
}

function catchSignals(): AbortSignal {
  const controller = new AbortController();
  stop = (reason) => controller.abort(reason);
  const numbers = { SIGINT: 2, SIGTERM: 15 } as const;
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (stoppedBy !== undefined) process.exit(stoppedBy);
      stoppedBy = 128 + numbers[name];
      controller.abort(new Error(`stopped by ${name}`));
    });
  }
  return controller.signal;
}
