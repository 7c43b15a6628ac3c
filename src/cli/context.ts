import { Store } from '../store/store.ts';
import type { ParsedArguments } from './args.ts';
import type { CommandContext } from './command.ts';

/** The status of a process whose reader went away, as SIGPIPE would have ended it. */
const BROKEN_PIPE_STATUS = 141;

/** What a signal that a command took as `context.signal` ended it with, or undefined. */
let stoppedBy: number | undefined;

/** 128 + the number of the signal that aborted the command, or undefined. */
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
    process.stdout.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exit(BROKEN_PIPE_STATUS);
      throw error;
    });
  }
  return process.stdout;
}

/** Waits until what was printed is with the system; a closed pipe ends the process here at the latest. */
export async function flushOutput(): Promise<void> {
  if (watched) await new Promise<void>((done) => process.stdout.write('', () => done()));
}

function catchSignals(): AbortSignal {
  const controller = new AbortController();
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
