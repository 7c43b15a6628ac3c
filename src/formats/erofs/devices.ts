import { ImagoError } from '../../core/errors.ts';
import { BLOCK, SLOT_SIZE, SLOT_TABLE } from './layout.ts';

const MAX_BLOCKS = 2 ** 32 - 1;

/** The data files of an image, in slot order; slot numbers start at 1. */
export interface DeviceTable {
  /** Blocks of each. */
  blocks: number[];
  /**
   * So many slots, from the first, have an address in the image's own range of blocks, behind the image: their files
   * need no chunk index. The range has 2^32 blocks (2 TiB).
   */
  flat: number;
}

/** `sizes` in bytes; `maxImage` is what the image may take of the range. Throws `TAR_TOO_LARGE` past 2 TiB. */
export function planDevices(sizes: readonly number[], maxImage: number): DeviceTable {
  const blocks = sizes.map((size) => Math.ceil(size / BLOCK));
  let end = Math.ceil(maxImage / BLOCK);
  let flat = 0;
  let open = true;
  for (const count of blocks) {
    if (count > MAX_BLOCKS) {
      throw new ImagoError('TAR_TOO_LARGE', 'a layer larger than EROFS can map', {
        want: '< 2 TiB',
        got: count * BLOCK,
      });
    }
    end += count;
    open &&= end <= MAX_BLOCKS;
    if (open) flat++;
  }
  return { blocks, flat };
}

/** Writes the slots; returns each device's first block in the image's range, by slot number, 0 for the image itself. */
export function writeDevices(view: DataView, table: DeviceTable, imageBlocks: number): number[] {
  const starts = [0];
  let next = imageBlocks;
  table.blocks.forEach((count, i) => {
    const at = SLOT_SIZE * (SLOT_TABLE + i);
    const start = i < table.flat ? next : 0;
    view.setUint32(at + 64, count, true);
    view.setUint32(at + 68, start, true);
    starts.push(start);
    next += count;
  });
  return starts;
}
