import type { BigIntStats } from 'node:fs';
import type { TreeNode } from '../tree/node.ts';

/** Of a file on the host, as trees and tars have it. Undefined for sockets, which no tar holds. */
export function fileType(stat: BigIntStats): TreeNode['type'] | undefined {
  if (stat.isFile()) return 'file';
  if (stat.isDirectory()) return 'directory';
  if (stat.isSymbolicLink()) return 'symlink';
  if (stat.isCharacterDevice()) return 'char';
  if (stat.isBlockDevice()) return 'block';
  return stat.isFIFO() ? 'fifo' : undefined;
}
