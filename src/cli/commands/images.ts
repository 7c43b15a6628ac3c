import { formatAge, formatTimestamp } from '../../core/durations.ts';
import { formatSize } from '../../core/sizes.ts';
import { type ImageRow, listImageRows } from '../../engine/images.ts';
import type { Command } from '../command.ts';
import { type ListFormat, printRows, type Row } from '../format.ts';
import { shownId } from '../shown-id.ts';

const LIST: ListFormat = {
  headers: {
    Repository: 'REPOSITORY',
    Tag: 'TAG',
    Digest: 'DIGEST',
    ID: 'IMAGE ID',
    CreatedSince: 'CREATED',
    CreatedAt: 'CREATED AT',
    Size: 'SIZE',
    SharedSize: 'SHARED SIZE',
    UniqueSize: 'UNIQUE SIZE',
    Containers: 'CONTAINERS',
  },
  columns: ['Repository', 'Tag', 'ID', 'CreatedSince', 'Size'],
};

export const command: Command = {
  name: 'images',
  summary: 'List images',
  usage: '[OPTIONS] [REPOSITORY[:TAG]]',
  options: {
    all: { type: 'boolean', short: 'a', help: 'Show every platform of an index, not only this one' },
    digests: { type: 'boolean', help: 'Show digests' },
    filter: {
      type: 'string',
      short: 'f',
      multiple: true,
      value: 'filter',
      complete: ['dangling=', 'label=', 'before=', 'since=', 'until=', 'reference='],
      help: 'Show only what matches: dangling=, label=, before=, since=, until=, reference=',
    },
    format: { type: 'string', help: "Print as 'table', 'table TEMPLATE', 'json' or by a Go template" },
    'no-trunc': { type: 'boolean', help: 'Show IDs in full' },
    quiet: { type: 'boolean', short: 'q', help: 'Show IDs only' },
  },
  args: { min: 0, max: 1 },
  complete: 'image',
  run(context) {
    const { args, options, stdout, openStore } = context;
    let status = 0;
    const images = listImageRows(openStore(), {
      all: options.all === true,
      match: args[0],
      filters: options.filter as string[],
      onDamaged: ({ reference, error }) => {
        context.stderr.write(`imago: ${reference}: ${error.message}\n`);
        status = 1;
      },
    });
    const full = options['no-trunc'] === true;
    const format = options.format as string | undefined;
    if (options.quiet === true && format === undefined) {
      for (const { id } of images) stdout.write(`${shownId(id, full)}\n`);
      return status;
    }
    const columns = options.digests === true ? withDigest(LIST.columns) : LIST.columns;
    const now = Date.now();
    printRows(
      stdout,
      { ...LIST, columns },
      images.map((image) => rowOf(image, full, now)),
      format,
    );
    return status;
  },
};

function withDigest(columns: readonly string[]): string[] {
  return columns.flatMap((column) => (column === 'Tag' ? ['Tag', 'Digest'] : [column]));
}

function rowOf(image: ImageRow, full: boolean, now: number): Row {
  return {
    Repository: image.repository ?? '<none>',
    Tag: image.tag ?? '<none>',
    Digest: image.digest,
    ID: shownId(image.id, full),
    CreatedSince: formatAge(image.created, now),
    CreatedAt: formatTimestamp(image.created),
    Size: formatSize(image.size),
    VirtualSize: formatSize(image.size),
    SharedSize: formatSize(image.sharedSize),
    UniqueSize: formatSize(image.uniqueSize),
    Containers: 'N/A',
  };
}
