import { formatAge } from '../core/durations.ts';
import { formatSize } from '../core/sizes.ts';
import type { CacheEntry } from '../engine/build-cache-usage.ts';
import type { OptionSpec } from './command.ts';
import type { ListFormat, Row } from './format.ts';

export const CACHE_FILTER: OptionSpec = {
  type: 'string',
  multiple: true,
  value: 'filter',
  help: 'Only these: until=24h, id=, type=, description~=, inuse, mutable, shared, private',
  complete: 'none',
};

/** As docker buildx lists its cache (commands/diskusage.go, v0.25). */
export const CACHE_LIST: ListFormat = {
  headers: {
    ID: 'ID',
    Parents: 'PARENTS',
    CreatedAt: 'CREATED AT',
    Mutable: 'MUTABLE',
    Reclaimable: 'RECLAIMABLE',
    Shared: 'SHARED',
    Size: 'SIZE',
    Description: 'DESCRIPTION',
    UsageCount: 'USAGE COUNT',
    LastUsedAt: 'LAST ACCESSED',
    Type: 'TYPE',
  },
  columns: ['ID', 'Reclaimable', 'Size', 'LastUsedAt'],
};

/** In a table, `*` marks what may change (at the ID) and what images have, too (at the size). JSON has plain values. */
export function cacheRow(entry: CacheEntry, format?: string): Row {
  const { id, mutable, shared, size, inUse, type, description } = entry;
  const created = new Date(entry.created).toISOString();
  const used = new Date(entry.lastUsed).toISOString();
  const json = format === 'json';
  const mark = (on: boolean): string => (on && (format === undefined || format.startsWith('table')) ? '*' : '');
  return {
    ID: `${id}${mark(mutable)}`,
    Parents: [],
    CreatedAt: created,
    Mutable: mutable,
    Reclaimable: !inUse,
    Shared: shared,
    Size: json ? String(size) : `${formatSize(size)}${mark(shared)}`,
    Description: description,
    LastUsedAt: json ? used : formatAge(used, Date.now()),
    Type: type,
  };
}

/** The sums below the table. */
export function printSummary(out: { write(text: string): unknown }, entries: readonly CacheEntry[]): void {
  const sum = (size: (entry: CacheEntry) => number): number => entries.reduce((total, entry) => total + size(entry), 0);
  const total = sum(({ size }) => size);
  const own = sum((entry) => entry.own);
  const lines: [string, number][] = [
    ...(own < total
      ? ([
          ['Shared', total - own],
          ['Private', own],
        ] as [string, number][])
      : []),
    ['Reclaimable', sum((entry) => (entry.inUse ? 0 : entry.own))],
    ['Total', total],
  ];
  out.write(lines.map(([name, bytes]) => `${`${name}:`.padEnd(15)}${formatSize(bytes)}\n`).join(''));
}
