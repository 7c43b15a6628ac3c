import { ImagoError } from '../../core/errors.ts';
import { formatSize } from '../../core/sizes.ts';
import { pruneCache } from '../../engine/build-cache-prune.ts';
import { CACHE_FILTER, CACHE_LIST, cacheRow } from '../cache-table.ts';
import type { Command } from '../command.ts';
import { confirm } from '../confirm.ts';
import { printRows } from '../format.ts';

export const command: Command = {
  name: 'builder prune',
  summary: 'Remove the build cache, or what of it is old or too much',
  usage: '[OPTIONS]',
  description: 'Results whose layers images have stay without --all. What a running build holds stays.',
  options: {
    all: { type: 'boolean', short: 'a', help: 'Remove all of it, not only what no image has' },
    filter: CACHE_FILTER,
    force: { type: 'boolean', short: 'f', help: 'Do not ask' },
    'keep-storage': { type: 'string', value: 'size', help: 'As --reserved-space', complete: 'none', hidden: true },
    'max-used-space': {
      type: 'string',
      value: 'size',
      help: 'Remove the oldest until it is this small',
      complete: 'none',
    },
    'min-free-space': {
      type: 'string',
      value: 'size',
      help: 'Remove the oldest until the disk has this much free',
      complete: 'none',
    },
    'reserved-space': { type: 'string', value: 'size', help: 'Keep this much in any case', complete: 'none' },
  },
  args: { min: 0, max: 0 },
  async run(context) {
    const { options, stdout, openStore } = context;
    const all = options.all === true;
    const size = (name: string): number | undefined => readSize(name, options[name] as string | undefined);
    const request = {
      all,
      filters: options.filter as string[],
      reservedSpace: size('reserved-space') ?? size('keep-storage'),
      maxUsedSpace: size('max-used-space'),
      minFreeSpace: size('min-free-space'),
    };
    const warning = `WARNING! This will remove all ${all ? '' : 'dangling '}build cache.`;
    if (options.force !== true && !(await confirm(context, warning))) return 0;
    const { entries, bytes } = await pruneCache(openStore(), request);
    if (entries.length > 0)
      printRows(
        stdout,
        CACHE_LIST,
        entries.map((entry) => cacheRow(entry)),
      );
    stdout.write(`Total:\t${formatSize(bytes)}\n`);
    return 0;
  },
};

const UNITS: Record<string, number> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40, p: 2 ** 50 };

/** Docker's RAMInBytes: `512`, `10gb`, `1.5GiB`; the units are powers of 1024. */
function readSize(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const match = /^(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?$/i.exec(text);
  const bytes = match === null ? Number.NaN : Math.floor(Number(match[1]) * UNITS[match[2]!.toLowerCase()]!);
  if (Number.isSafeInteger(bytes)) return bytes;
  throw new ImagoError('BAD_FLAG_VALUE', `invalid value of --${name}`, {
    want: 'a size, as 512mb or 10gb',
    got: JSON.stringify(text.slice(0, 100)),
    exitCode: 125,
  });
}
