import { type ContainerRecord, listRecords } from '../container/record.ts';
import { type ContainerState, containerState } from '../container/state.ts';
import { ImagoError } from '../core/errors.ts';
import { resolveImage } from '../image/resolve.ts';
import type { Store } from '../store/store.ts';

export interface ContainerRow {
  record: ContainerRecord;
  state: ContainerState;
}

export interface PsOptions {
  /** Those that do not run, too. */
  all?: boolean;
  /** Only the newest so many, whatever their state. */
  last?: number;
  /** KEY=VALUE: id, name, status, exited, ancestor, label, before, since, volume, network. */
  filters?: readonly string[];
  /** Hears of containers that cannot be listed. */
  onDamaged?: (id: string, error: ImagoError) => void;
}

type Filter = (row: ContainerRow) => boolean;

/** Docker's states; ours are three of them. */
const STATES = ['created', 'restarting', 'running', 'removing', 'paused', 'exited', 'dead'];

/** Lines of `ps`, newest first. Filters of one kind: any of them; of several kinds: all. Throws `BAD_FILTER`. */
export function listContainers(store: Store, options: PsOptions = {}): ContainerRow[] {
  const records = listRecords(store, options.onDamaged);
  const groups = new Map<string, Filter[]>();
  for (const text of options.filters ?? []) {
    const at = text.indexOf('=');
    const key = text.slice(0, Math.max(at, 0));
    const filter = at === -1 ? undefined : makeFilter(store, records, key, text.slice(at + 1));
    if (filter === undefined) {
      throw new ImagoError('BAD_FILTER', `invalid filter '${text}'`, {
        want: 'id=, name=, status=, exited=, ancestor=, label=, before=, since=, volume= or network=',
      });
    }
    groups.set(key, [...(groups.get(key) ?? []), filter]);
  }
  const stopped = options.all === true || options.last !== undefined || groups.has('status') || groups.has('exited');
  const rows = records
    .map((record): ContainerRow => ({ record, state: containerState(store, record) }))
    // A container that goes with its client is gone for everybody once it has ended.
    .filter(({ record, state }) => !(record.autoRemove && state.status === 'exited'))
    .filter((row) => stopped || row.state.status === 'running')
    .filter((row) => [...groups.values()].every((filters) => filters.some((filter) => filter(row))));
  return options.last === undefined ? rows : rows.slice(0, options.last);
}

function makeFilter(store: Store, records: ContainerRecord[], key: string, value: string): Filter | undefined {
  switch (key) {
    case 'id':
      return ({ record }) => record.id.startsWith(value);
    case 'name':
      return nameFilter(value);
    case 'status':
      if (!STATES.includes(value)) throw badValue(key, value, STATES.join(', '));
      return ({ state }) => state.status === value;
    case 'exited':
      return ({ state }) => state.status === 'exited' && state.exitCode === Number(value);
    case 'ancestor':
      return ancestorFilter(store, value);
    case 'label':
      return labelFilter(value);
    case 'before':
    case 'since':
      return orderFilter(records, key, value);
    case 'volume':
      return ({ record }) =>
        record.mounts.some((mount) => mount.destination === value || (mount.type === 'volume' && mount.name === value));
    case 'network':
      return ({ record }) => record.network === value;
    default:
      return undefined;
  }
}

/** As Docker: a regular expression that may match anywhere in the name. */
function nameFilter(value: string): Filter {
  let pattern: RegExp;
  try {
    pattern = new RegExp(value.replace(/^\^?\//, (slash) => slash.slice(0, -1)));
  } catch {
    throw badValue('name', value, 'a name or a regular expression');
  }
  return ({ record }) => pattern.test(record.name);
}

/** The image itself, or one whose layers it has at the bottom. */
function ancestorFilter(store: Store, value: string): Filter {
  let ancestor: ReturnType<typeof resolveImage> | undefined;
  try {
    ancestor = resolveImage(store, value);
  } catch {
    return ({ record }) => record.image.reference === value || record.image.id.slice(7).startsWith(value);
  }
  const { id, diffIds } = ancestor;
  return ({ record }) =>
    record.image.id === id || (diffIds.length > 0 && diffIds.every((diffId, i) => record.image.diffIds[i] === diffId));
}

function labelFilter(value: string): Filter {
  const at = value.indexOf('=');
  const name = at === -1 ? value : value.slice(0, at);
  return ({ record }) => {
    const label = record.config.Labels?.[name];
    return label !== undefined && (at === -1 || label === value.slice(at + 1));
  };
}

function orderFilter(records: ContainerRecord[], key: 'before' | 'since', value: string): Filter {
  const other = records.find((record) => record.name === value || record.id.startsWith(value));
  if (other === undefined) throw new ImagoError('NO_SUCH_CONTAINER', `No such container: ${value}`);
  return ({ record }) => (key === 'before' ? record.created < other.created : record.created > other.created);
}

function badValue(key: string, got: string, want: string): ImagoError {
  return new ImagoError('BAD_FILTER', `invalid filter '${key}=${got}'`, { want });
}
