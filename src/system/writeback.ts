import { bindCall } from './call.ts';

const syncRangeCall = bindCall<[number, number, number, number]>(
  'sync_file_range',
  ['int', 'long', 'long', 'uint'],
  'int',
);
const SYNC_FILE_RANGE_WRITE = 2;
let usable = true;

/**
 * Asks the kernel to start writing a range of dirty pages to the disk now, so that the fsync at the end of a long
 * write finds little left. A hint: promises nothing, and where it cannot be given nothing happens.
 */
export function startWriteback(fd: number, offset: number, length: number): void {
  if (!usable) return;
  try {
    syncRangeCall(undefined, fd, offset, length, SYNC_FILE_RANGE_WRITE);
  } catch {
    usable = false;
  }
}
