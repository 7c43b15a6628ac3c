import { formatAge } from '../../core/durations.ts';
import { formatSize } from '../../core/sizes.ts';
import { type HistoryStep, listHistory } from '../../engine/history.ts';
import { parsePlatform } from '../../oci/platform.ts';
import type { Command } from '../command.ts';
import { type ListFormat, printRows, type Row } from '../format.ts';
import { ellipsis, shownId } from '../shown-id.ts';

const LIST: ListFormat = {
  headers: {
    ID: 'IMAGE',
    CreatedSince: 'CREATED',
    CreatedAt: 'CREATED AT',
    CreatedBy: 'CREATED BY',
    Size: 'SIZE',
    Comment: 'COMMENT',
  },
  columns: ['ID', 'CreatedSince', 'CreatedBy', 'Size', 'Comment'],
};
const CREATED_BY_WIDTH = 45;

export const command: Command = {
  name: 'history',
  summary: 'Show the history of an image',
  usage: '[OPTIONS] IMAGE',
  options: {
    format: { type: 'string', help: "Print as 'table', 'table TEMPLATE', 'json' or by a Go template" },
    human: { type: 'boolean', short: 'H', help: 'Sizes and dates for people (default; --human=false for exact ones)' },
    'no-trunc': { type: 'boolean', help: 'Show everything in full' },
    platform: { type: 'string', value: 'os/arch', complete: 'none', help: 'Of an index, this platform' },
    quiet: { type: 'boolean', short: 'q', help: 'Show IDs only' },
  },
  args: { min: 1, max: 1 },
  complete: 'image',
  run({ args, options, stdout, openStore }) {
    const platform = options.platform === undefined ? undefined : parsePlatform(options.platform as string);
    const steps = listHistory(openStore(), args[0]!, platform);
    const full = options['no-trunc'] === true;
    const format = options.format as string | undefined;
    if (options.quiet === true && format === undefined) {
      for (const step of steps) stdout.write(`${stepId(step, full)}\n`);
      return 0;
    }
    const human = options.human !== false;
    const columns = human ? LIST.columns : LIST.columns.map((name) => (name === 'CreatedSince' ? 'CreatedAt' : name));
    const now = Date.now();
    printRows(
      stdout,
      { ...LIST, columns },
      steps.map((step) => rowOf(step, full, human, now)),
      format,
    );
    return 0;
  },
};

function stepId(step: HistoryStep, full: boolean): string {
  return step.id === undefined ? '<missing>' : shownId(step.id, full);
}

function rowOf(step: HistoryStep, full: boolean, human: boolean, now: number): Row {
  // Control characters, newlines of heredocs among them, would break the table and may steer a terminal.
  const createdBy = step.createdBy.replace(/[\x00-\x1f\x7f]+/g, ' ');
  return {
    ID: stepId(step, full),
    CreatedSince: formatAge(step.created, now),
    CreatedAt: step.created ?? 'N/A',
    CreatedBy: full ? createdBy : ellipsis(createdBy, CREATED_BY_WIDTH),
    Size: human ? formatSize(step.size) : String(step.size),
    Comment: step.comment.replace(/[\x00-\x1f\x7f]+/g, ' '),
  };
}
