import { ImagoError } from '../core/errors.ts';

/** Prints what went wrong, one line where it can, and returns the exit status: the error's own, or `status`. */
export function reportError(error: unknown, status = 1): number {
  process.stderr.write(`imago: ${printable(describe(error))}\n`);
  if (process.env.IMAGO_DEBUG) process.stderr.write(`${printable(stackOf(error))}\n`);
  if (error instanceof ImagoError && error.details.exitCode !== undefined) return error.details.exitCode;
  return status;
}

const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: 'free some space and try again',
  EDQUOT: 'the disk quota is used up: free some space and try again',
  EMFILE: "raise the limit of open files ('ulimit -n') and try again",
};

function describe(error: unknown): string {
  if (error instanceof ImagoError) return error.message;
  if (!(error instanceof Error)) return String(error);
  // A failed system call of Node's own says what and where ("ENOENT: no such file or directory, open 'x'").
  if ('syscall' in error && 'code' in error) {
    const remedy = REMEDIES[String(error.code)];
    return remedy === undefined ? error.message : `${error.message}: ${remedy}`;
  }
  return `internal error: ${error.message} (--debug before the command shows where)`;
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return '';
  const text = error.stack ?? error.message;
  return error.cause === undefined ? text : `${text}\ncaused by ${stackOf(error.cause)}`;
}

/** Names out of an image may end up in a message: what would steer a terminal is escaped. */
export function printable(text: string): string {
  return text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}
