import { constants } from 'node:os';
import { ImagoError } from '../core/errors.ts';
import { lastErrno, libcFunction } from './ffi.ts';

const names = new Map<number, string>();
for (const [name, value] of Object.entries(constants.errno)) {
  // EWOULDBLOCK and EOPNOTSUPP are second names of the same numbers.
  if (!names.has(value) || name === 'EAGAIN' || name === 'ENOTSUP') names.set(value, name);
}
names.set(15, 'ENOTBLK');

export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`;
}

/** A failed system call. `code` is the errno's name ('ENOENT'), `call` the call, `path` what it was about. */
export class SystemError extends ImagoError {
  override readonly name: string = 'SystemError';
  readonly errno: number;
  readonly call: string;

  constructor(call: string, errno: number, path?: string) {
    super(errnoName(errno), `${call} failed with ${errnoName(errno)}`, path === undefined ? {} : { path });
    this.call = call;
    this.errno = errno;
  }
}

/** A path as C wants it. Text is UTF-8; names from inside an image come as bytes. */
export type PathLike = string | Uint8Array;

export function cPath(path: PathLike): Buffer {
  if (typeof path === 'string') {
    if (path.includes('\0')) throw new SystemError('path', constants.errno.EINVAL, JSON.stringify(path));
    return Buffer.from(`${path}\0`);
  }
  const out = Buffer.alloc(path.length + 1);
  out.set(path);
  return out;
}

export function shownPath(path: PathLike): string {
  return typeof path === 'string' ? path : Buffer.from(path).toString();
}

/**
 * Binds a libc function on its first use. The result throws `SystemError` on -1; pass `path` for the message.
 * `args` are koffi's names of the C types.
 */
export function bindCall<A extends unknown[]>(
  name: string,
  args: string[],
  result = 'long',
): (path: PathLike | undefined, ...values: A) => number {
  let fn: ((...values: unknown[]) => unknown) | undefined;
  return (path, ...values) => {
    fn ??= libcFunction(name, result, args);
    const value = Number(fn(...values));
    if (value === -1) throw new SystemError(name, lastErrno(), path === undefined ? undefined : shownPath(path));
    return value;
  };
}

/** Like `bindCall`, through syscall(2) by number, for calls that older C libraries do not wrap. */
export function bindSyscall<A extends unknown[]>(
  name: string,
  number: number,
  args: string[],
): (path: PathLike | undefined, ...values: A) => number {
  let fn: ((...values: unknown[]) => unknown) | undefined;
  return (path, ...values) => {
    fn ??= libcFunction('syscall', 'long', ['long', ...args]);
    const value = Number(fn(number, ...values));
    if (value === -1) throw new SystemError(name, lastErrno(), path === undefined ? undefined : shownPath(path));
    return value;
  };
}
