import { formatAge, formatTimestamp } from '../../core/durations.ts';
import { ImagoError } from '../../core/errors.ts';
import { formatSize } from '../../core/sizes.ts';
import { parseCacheFilters } from '../../engine/build-cache-filter.ts';
import { listCacheEntries } from '../../engine/build-cache-usage.ts';
import { CACHE_FILTER, CACHE_LIST, cacheRow, printSummary } from '../cache-table.ts';
import type { Command } from '../command.ts';
import { printRows } from '../format.ts';

export const command: Command = {
  name: 'builder du',
  summary: 'Show what the build cache keeps',
  usage: '[OPTIONS]',
  options: {
    filter: CACHE_FILTER,
    format: { type: 'string', help: "Print as 'table', 'table TEMPLATE', 'json' or by a Go template" },
    verbose: { type: 'boolean', help: 'Show all that is known of each' },
  },
  args: { min: 0, max: 0 },
  async run({ options, stdout, openStore }) {
    const format = options.format as string | undefined;
    if (format !== undefined && options.verbose === true) {
      throw new ImagoError('BAD_USAGE', '--format and --verbose cannot be used together', { exitCode: 125 });
    }
    const filter = parseCacheFilters(options.filter as string[]);
    const entries = (await listCacheEntries(openStore())).filter(filter).reverse();
    if (options.verbose === true) {
      for (const entry of entries) {
        const lines = [
          ['ID', entry.id],
          ['Created at', formatTimestamp(new Date(entry.created).toISOString())],
          ['Mutable', String(entry.mutable)],
          ['Reclaimable', String(!entry.inUse)],
          ['Shared', String(entry.shared)],
          ['Size', formatSize(entry.size)],
          ['Description', entry.description],
          ['Last used', formatAge(new Date(entry.lastUsed).toISOString(), Date.now())],
          ['Type', entry.type],
        ];
        stdout.write(`${lines.map(([name, text]) => `${`${name}:`.padEnd(14)}${text}\n`).join('')}\n`);
      }
    } else {
      printRows(
        stdout,
        CACHE_LIST,
        entries.map((entry) => cacheRow(entry, format)),
        format,
      );
    }
    if (format === undefined) printSummary(stdout, entries);
    return 0;
  },
};
