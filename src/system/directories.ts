import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * A directory and its parents; nothing happens where it is there. Not `mkdirSync` with `recursive`: where a file system
 * answers ENOENT for a directory whose parent is there, as /proc does, that never ends (Node 26).
 */
export function makeDirectories(path: string, mode: number): void {
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && statSync(path).isDirectory()) return;
    const parent = dirname(path);
    if (code !== 'ENOENT' || parent === path || statSync(parent, { throwIfNoEntry: false }) !== undefined) throw error;
    makeDirectories(parent, mode);
    // Again: somebody else may have been quicker.
    makeDirectories(path, mode);
  }
}
