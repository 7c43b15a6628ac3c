import { formatSize } from '../core/sizes.ts';
import type { PruneStoreResult } from '../engine/prune.ts';

/** What a prune took away, as Docker prints it. */
export function formatPruned(result: PruneStoreResult): string {
  const parts: string[] = [];
  if (result.containers.length > 0) parts.push(['Deleted Containers:', ...result.containers].join('\n'));
  const images = [
    ...result.untagged.map((name) => `untagged: ${name}`),
    ...result.layers.map((diffId) => `deleted: ${diffId}`),
  ];
  if (images.length > 0) parts.push(['Deleted Images:', ...images].join('\n'));
  if (result.cacheRecords > 0) parts.push(`Deleted build cache records: ${result.cacheRecords}`);
  if (result.leftovers > 0) parts.push(`Deleted leftovers of interrupted commands: ${result.leftovers}`);
  parts.push(`Total reclaimed space: ${formatSize(result.bytes)}`);
  return `${parts.join('\n\n')}\n`;
}
