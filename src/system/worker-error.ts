import { ImagoError } from '../core/errors.ts';

/** An error as plain data, which survives the way between threads as classes and their fields do not. */
export interface PackedError {
  imago: boolean;
  message: string;
  stack: string | undefined;
  code: string | undefined;
  /** `details` of an ImagoError, else errno, syscall and path of a system call that failed. */
  details: Record<string, unknown>;
}

export function packError(error: unknown): PackedError {
  if (!(error instanceof Error)) {
    return { imago: false, message: String(error), stack: undefined, code: undefined, details: {} };
  }
  const { message, stack, code } = error as NodeJS.ErrnoException;
  if (error instanceof ImagoError) {
    const { cause, ...details } = error.details;
    return {
      imago: true,
      message,
      stack,
      code,
      details: { ...details, cause: cause instanceof Error ? cause.message : undefined },
    };
  }
  const { errno, syscall, path } = error as NodeJS.ErrnoException;
  return { imago: false, message, stack, code, details: { errno, syscall, path } };
}

export function unpackError(packed: PackedError): Error {
  if (packed.imago) {
    // The message is complete already: the details go in behind the constructor, which would add them to it again.
    const error = new ImagoError(packed.code ?? 'UNKNOWN', packed.message);
    Object.assign(error, { details: packed.details });
    error.stack = packed.stack ?? error.stack;
    return error;
  }
  const error = Object.assign(new Error(packed.message), packed.details, { code: packed.code });
  error.stack = packed.stack ?? error.stack;
  return error;
}
