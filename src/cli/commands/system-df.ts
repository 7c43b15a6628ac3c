import { shortId } from '../../core/digest.ts';
import { formatSize } from '../../core/sizes.ts';
import {
  type DiskUsage,
  listContainerUsage,
  listVolumeUsage,
  readDiskUsage,
  type UsageRow,
} from '../../engine/disk-usage.ts';
import { listImageRows } from '../../engine/images.ts';
import type { Store } from '../../store/store.ts';
import type { Command } from '../command.ts';
import { type ListFormat, printRows, type Row } from '../format.ts';
import { printTable } from '../table.ts';

const LIST: ListFormat = {
  headers: { Type: 'TYPE', TotalCount: 'TOTAL', Active: 'ACTIVE', Size: 'SIZE', Reclaimable: 'RECLAIMABLE' },
  columns: ['Type', 'TotalCount', 'Active', 'Size', 'Reclaimable'],
};

export const command: Command = {
  name: 'system df',
  summary: 'Show how much disk is used, what is shared, and what could go',
  usage: '[OPTIONS]',
  options: {
    format: { type: 'string', help: "Print as 'table', 'table TEMPLATE', 'json' or by a Go template" },
    verbose: { type: 'boolean', short: 'v', help: 'Show each image, container and volume' },
  },
  args: { min: 0, max: 0 },
  async run({ options, stdout, openStore }) {
    const store = openStore();
    if (options.verbose === true) {
      printEach(stdout, store);
      return 0;
    }
    const usage = await readDiskUsage(store);
    const format = options.format as string | undefined;
    printRows(stdout, LIST, rowsOf(usage), format);
    if (format === undefined) stdout.write(remarks(usage));
    return 0;
  },
};

function rowsOf(usage: DiskUsage): Row[] {
  const row = (type: string, { total, active, size, reclaimable }: UsageRow): Row => {
    const percent = size === 0 ? '' : ` (${Math.round((reclaimable / size) * 100)}%)`;
    return {
      Type: type,
      TotalCount: String(total),
      Active: String(active),
      Size: formatSize(size),
      Reclaimable: `${formatSize(reclaimable)}${type === 'Build Cache' ? '' : percent}`,
    };
  };
  return [
    row('Images', usage.images),
    row('Containers', usage.containers),
    row('Local Volumes', usage.volumes),
    row('Build Cache', usage.cache),
  ];
}

/** What Docker's table does not tell. */
function remarks({ images, garbage }: DiskUsage): string {
  let text = '';
  if (images.total > 1) {
    text += `\nEach alone, the images would take ${formatSize(images.alone)}. What they share (${formatSize(images.shared)}) is stored once: ${formatSize(images.size)} in all.\n`;
  }
  if (garbage > 0) text += `\nNothing needs ${formatSize(garbage)} more: 'imago prune' removes it.\n`;
  return text;
}

function printEach(out: NodeJS.WriteStream, store: Store): void {
  const containers = listContainerUsage(store);
  out.write('Images space usage:\n\n');
  const images = listImageRows(store, { all: true, onDamaged: () => {} });
  printTable(
    out,
    ['REPOSITORY', 'TAG', 'IMAGE ID', 'SIZE', 'SHARED SIZE', 'UNIQUE SIZE', 'CONTAINERS'],
    images.map((image) => [
      image.repository ?? '<none>',
      image.tag ?? '<none>',
      shortId(image.id),
      formatSize(image.size),
      formatSize(image.sharedSize),
      formatSize(image.uniqueSize),
      String(containers.filter(({ record }) => record.image.id === image.id).length),
    ]),
  );
  out.write('\nContainers space usage:\n\n');
  printTable(
    out,
    ['CONTAINER ID', 'IMAGE', 'SIZE', 'STATUS', 'NAMES'],
    containers.map(({ record, status, size }) => [
      shortId(record.id),
      record.image.reference,
      formatSize(size),
      status,
      record.name,
    ]),
  );
  out.write('\nLocal Volumes space usage:\n\n');
  printTable(
    out,
    ['VOLUME NAME', 'LINKS', 'SIZE'],
    listVolumeUsage(store).map(({ name, links, size }) => [name, String(links), formatSize(size)]),
  );
}
