import { bindCall } from './call.ts';

const adviseCall = bindCall<[number, number, number, number]>('posix_fadvise', ['int', 'long', 'long', 'int'], 'int');
const POSIX_FADV_WILLNEED = 3;
let usable = true;

/**
 * Asks the kernel to begin to read the first bytes of a file, so that they are there when they are wanted. A hint:
 * promises nothing, and where it cannot be given nothing happens.
 */
export function startReading(fd: number, length: number): void {
  if (!usable) return;
  try {
    adviseCall(undefined, fd, 0, length, POSIX_FADV_WILLNEED);
  } catch {
    usable = false;
  }
}
