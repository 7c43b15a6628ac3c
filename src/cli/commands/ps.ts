import { containerPaths } from '../../container/record.ts';
import type { ContainerState } from '../../container/state.ts';
import { formatDuration, formatTimestamp } from '../../core/durations.ts';
import { formatSize } from '../../core/sizes.ts';
import { collectLeftovers } from '../../engine/containers.ts';
import { type ContainerRow, listContainers } from '../../engine/ps.ts';
import type { Store } from '../../store/store.ts';
import { diskSize } from '../../system/disk-size.ts';
import type { Command } from '../command.ts';
import { type ListFormat, printRows, type Row } from '../format.ts';
import { ellipsis, shownId } from '../shown-id.ts';

const LIST: ListFormat = {
  headers: {
    ID: 'CONTAINER ID',
    Image: 'IMAGE',
    Command: 'COMMAND',
    RunningFor: 'CREATED',
    CreatedAt: 'CREATED AT',
    Status: 'STATUS',
    State: 'STATE',
    Ports: 'PORTS',
    Names: 'NAMES',
    Size: 'SIZE',
    Labels: 'LABELS',
    Mounts: 'MOUNTS',
    LocalVolumes: 'LOCAL VOLUMES',
    Networks: 'NETWORKS',
  },
  columns: ['ID', 'Image', 'Command', 'RunningFor', 'Status', 'Ports', 'Names'],
};
const COMMAND_WIDTH = 20;

export const command: Command = {
  name: 'ps',
  summary: 'List containers',
  usage: '[OPTIONS]',
  options: {
    all: { type: 'boolean', short: 'a', help: 'Show those that do not run, too' },
    filter: {
      type: 'string',
      short: 'f',
      multiple: true,
      value: 'filter',
      complete: [
        'id=',
        'name=',
        'status=',
        'exited=',
        'ancestor=',
        'label=',
        'before=',
        'since=',
        'volume=',
        'network=',
      ],
      help: 'Show only what matches: name=, status=, ancestor=, label=, exited=, …',
    },
    format: { type: 'string', help: "Print as 'table', 'table TEMPLATE', 'json' or by a Go template" },
    last: { type: 'string', short: 'n', value: 'number', complete: 'none', help: 'Show the newest so many' },
    latest: { type: 'boolean', short: 'l', help: 'Show the newest' },
    'no-trunc': { type: 'boolean', help: 'Show IDs and commands in full' },
    quiet: { type: 'boolean', short: 'q', help: 'Show IDs only' },
    size: { type: 'boolean', short: 's', help: 'Show the size of the writable layer' },
  },
  args: { min: 0, max: 0 },
  async run(context) {
    const { options, stdout, openStore } = context;
    const store = openStore();
    await collectLeftovers(store);
    const last = options.latest === true ? 1 : options.last === undefined ? undefined : Number(options.last);
    let status = 0;
    const rows = listContainers(store, {
      all: options.all === true,
      last,
      filters: options.filter as string[],
      onDamaged: (id, error) => {
        context.stderr.write(`imago: ${shownId(id, false)}: ${error.message}\n`);
        status = 1;
      },
    });
    const full = options['no-trunc'] === true;
    const format = options.format as string | undefined;
    if (options.quiet === true && format === undefined) {
      for (const { record } of rows) stdout.write(`${shownId(record.id, full)}\n`);
      return status;
    }
    const columns = options.size === true ? [...LIST.columns, 'Size'] : LIST.columns;
    const now = Date.now();
    printRows(
      stdout,
      { ...LIST, columns },
      rows.map((row) => rowOf(store, row, full, now)),
      format,
    );
    return status;
  },
};

function rowOf(store: Store, { record, state }: ContainerRow, full: boolean, now: number): Row {
  const words = record.process.args.join(' ');
  return {
    ID: shownId(record.id, full),
    Image: record.image.reference,
    Command: `"${full ? words : ellipsis(words, COMMAND_WIDTH)}"`,
    CreatedAt: formatTimestamp(record.created),
    RunningFor: `${formatDuration(now - Date.parse(record.created))} ago`,
    Status: describeState(state, now),
    State: state.status,
    Ports: '',
    Names: record.name,
    get Size() {
      return formatSize(diskSize(containerPaths(store, record).upper));
    },
    Labels: Object.entries(record.config.Labels ?? {})
      .map(([name, value]) => `${name}=${value}`)
      .join(','),
    Mounts: record.mounts
      .map((mount) => (mount.type === 'bind' ? mount.source : mount.type === 'volume' ? mount.name : 'tmpfs'))
      .join(','),
    LocalVolumes: String(record.mounts.filter((mount) => mount.type === 'volume').length),
    Networks: record.network,
  };
}

/** Docker's words (moby v28 container/state.go). */
function describeState(state: ContainerState, now: number): string {
  if (state.status === 'created') return 'Created';
  if (state.status === 'running') return `Up ${formatDuration(now - (state.startedAt ?? now))}`;
  const since = formatDuration(now - (state.finishedAt ?? state.startedAt ?? now));
  return `Exited (${state.exitCode ?? 255}) ${since} ago`;
}
