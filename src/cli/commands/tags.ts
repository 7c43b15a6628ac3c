import { once } from 'node:events';
import { ImagoError } from '../../core/errors.ts';
import { familiarName } from '../../oci/reference.ts';
import { listRemoteTags, parseRepository } from '../../transfer/tags.ts';
import { INSECURE, registryOptions } from '../client-options.ts';
import type { Command } from '../command.ts';
import { printable } from '../failure.ts';
import { type ListFormat, printRows, type Row } from '../format.ts';

const LIST: ListFormat = { headers: { Repository: 'REPOSITORY', Tag: 'TAG' }, columns: ['Repository', 'Tag'] };

export const command: Command = {
  name: 'tags',
  summary: 'List the tags of a repository in a registry',
  usage: '[OPTIONS] REPOSITORY',
  description: 'One a line, as they come from the registry.',
  options: {
    format: {
      type: 'string',
      complete: 'none',
      help: "Print as 'table', 'table TEMPLATE', 'json' or by a Go template",
    },
    insecure: INSECURE,
    limit: { type: 'string', short: 'n', value: 'number', complete: 'none', help: 'Show so many and no more' },
  },
  args: { min: 1, max: 1 },
  complete: 'image',
  async run(context) {
    const { args, options, stdout } = context;
    const limit = parseLimit(options.limit as string | undefined);
    const format = options.format as string | undefined;
    const repository = familiarName(parseRepository(args[0]!));
    // Columns are as wide as their widest cell, which is known at the end.
    const gathered: Row[] | undefined = /^table(?:\s|$)/.test(format ?? '') ? [] : undefined;
    for await (const tag of listRemoteTags(args[0]!, { limit, ...registryOptions(context) })) {
      const row: Row = { Repository: repository, Tag: printable(tag) };
      if (gathered !== undefined) gathered.push(row);
      else if (format === undefined) stdout.write(`${row.Tag}\n`);
      else printRows(stdout, LIST, [row], format);
      if (stdout.writableNeedDrain) await once(stdout, 'drain');
    }
    if (gathered !== undefined) printRows(stdout, LIST, gathered, format);
    return 0;
  },
};

function parseLimit(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^[0-9]{1,9}$/.test(text)) return Number(text);
  throw new ImagoError('BAD_FLAG_VALUE', 'invalid --limit', { want: 'a number', got: JSON.stringify(text) });
}
