import { lstatSync, readdirSync } from 'node:fs';

/**
 * Bytes that a file or a directory and all below it take on disk; a file with several names there counts once.
 * What vanishes meanwhile does not count.
 */
export function diskSize(path: string): number {
  return sumBelow(Buffer.from(path), new Set());
}

function sumBelow(path: Buffer, seen: Set<bigint>): number {
  let sum = 0;
  try {
    // bigint: inode numbers of an overlay with xino are past 2^53.
    const stat = lstatSync(path, { bigint: true });
    if (stat.nlink > 1n && !stat.isDirectory()) {
      if (seen.has(stat.ino)) return 0;
      seen.add(stat.ino);
    }
    sum += Number(stat.blocks) * 512;
    if (!stat.isDirectory()) return sum;
    for (const name of readdirSync(path, { encoding: 'buffer' })) {
      sum += sumBelow(Buffer.concat([path, Buffer.from('/'), name]), seen);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  return sum;
}
