import { closeSync, openSync, readSync } from 'node:fs';

/** `bytes` random bytes as hex, from the kernel: node:crypto takes 12 ms to load. */
export function randomHex(bytes: number): string {
  const fd = openSync('/dev/urandom', 'r');
  try {
    const buffer = Buffer.alloc(bytes);
    readSync(fd, buffer);
    return buffer.toString('hex');
  } finally {
    closeSync(fd);
  }
}
