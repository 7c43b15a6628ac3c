import { libcFunction } from './ffi.ts';

const TCSANOW = 0;
/** struct termios is 60 bytes in glibc and musl. */
const TERMIOS_SIZE = 128;

/**
 * Puts a terminal into raw mode, output included, as cfmakeraw(3) has it: what is at its other end is a terminal, too,
 * that has edited lines and line ends already. (Node's setRawMode leaves the output cooked.) Returns what puts it back;
 * undefined where the descriptor is no terminal.
 */
export function makeRaw(fd: number): (() => void) | undefined {
  const before = Buffer.alloc(TERMIOS_SIZE);
  if (Number(libcFunction('tcgetattr', 'int', ['int', 'void *'])(fd, before)) !== 0) return undefined;
  const raw = Buffer.from(before);
  libcFunction('cfmakeraw', 'void', ['void *'])(raw);
  const set = libcFunction('tcsetattr', 'int', ['int', 'int', 'void *']);
  set(fd, TCSANOW, raw);
  return () => {
    set(fd, TCSANOW, before);
  };
}
