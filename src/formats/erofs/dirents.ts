import type { ByteString } from '../../core/bytes.ts';
import { BLOCK, DIRENT_SIZE } from './layout.ts';

/**
 * Bytes of a directory of these sorted names: whole blocks, then what is used of the last.
 * `onBlock` gets each block's names as a range, and its number.
 */
export function packDirectory(
  names: readonly ByteString[],
  onBlock?: (from: number, to: number, block: number) => void,
): number {
  let block = 0;
  let first = 0;
  let used = 0;
  for (let i = 0; i < names.length; i++) {
    const need = DIRENT_SIZE + names[i]!.length;
    if (used + need > BLOCK) {
      onBlock?.(first, i, block);
      block++;
      first = i;
      used = 0;
    }
    used += need;
  }
  onBlock?.(first, names.length, block);
  return block * BLOCK + used;
}
