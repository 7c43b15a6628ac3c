import { ImagoError } from '../../core/errors.ts';
import { withSuggestion } from './errors.ts';

export type MountType = 'bind' | 'cache' | 'tmpfs' | 'secret' | 'ssh';
export type CacheSharing = 'shared' | 'private' | 'locked';

/** What `RUN --mount` says, as it says it: BuildKit's defaults of each type are filled in by who uses it. */
export interface MountFlag {
  type: MountType;
  /** A stage, an image or a named context; '' is the build context. */
  from: string;
  source: string;
  target: string;
  readonly: boolean;
  /** Of a tmpfs, in bytes; 0 is no limit. */
  size: number;
  id: string;
  sharing?: CacheSharing;
  required: boolean;
  /** Of a secret: the variable that has its value. */
  env?: string;
  mode?: number;
  uid?: number;
  gid?: number;
}

const TYPES: readonly MountType[] = ['bind', 'cache', 'tmpfs', 'secret', 'ssh'];
const SHARING: readonly CacheSharing[] = ['shared', 'private', 'locked'];
/** Nearest words are looked for among them in this order. */
const KEYS: readonly string[] =
  'type from source target readonly id sharing required size mode uid gid src dst destination ro rw readwrite env'.split(
    ' ',
  );
const MAX_UINT32 = 2 ** 32 - 1;

/**
 * The `from` of a mount flag, without looking at anything else, since other values may be variables. '' where it has
 * none. Throws `BAD_MOUNT` for one that has a variable, and for bad CSV.
 */
export function mountOrigin(text: string): string {
  let from = '';
  for (const field of splitFields(text)) {
    const { key, value } = cutField(field);
    if (key !== 'from' || value === undefined) continue;
    const dollar = value.indexOf('$');
    if (dollar >= 0 && dollar !== value.length - 1) {
      throw bad("'from' doesn't support variable expansion, define alias stage instead");
    }
    from = value;
  }
  return from;
}

/**
 * Parses the value of `RUN --mount=` (docs.docker.com/reference/dockerfile/#run---mount). `expand` replaces variables
 * in values. Options are checked against the type that stands before them, as BuildKit does. Throws `BAD_MOUNT`.
 */
export function parseMount(text: string, expand: (value: string) => string): MountFlag {
  const reader = new MountReader();
  for (const field of splitFields(text)) {
    const { key, value } = cutField(field);
    if (value === undefined) reader.setFlag(key, field);
    else reader.set(key, expand(value), field);
  }
  return reader.finish();
}

class MountReader {
  readonly #mount: MountFlag = {
    type: 'bind',
    from: '',
    source: '',
    target: '',
    readonly: true,
    size: 0,
    id: '',
    required: false,
  };
  #readonly: boolean | undefined;

  setFlag(key: string, field: string): void {
    if (key === 'readonly' || key === 'ro') this.#readonly = true;
    else if (key === 'readwrite' || key === 'rw') this.#readonly = false;
    else if (key === 'required') {
      this.#only(key, ['secret', 'ssh']);
      this.#mount.required = true;
    } else throw bad(`invalid field '${field}' must be a key=value pair`);
  }

  set(key: string, value: string, field: string): void {
    const mount = this.#mount;
    switch (key) {
      case 'type':
        mount.type = oneOf(value, TYPES, 'unsupported mount type');
        return;
      case 'sharing':
        mount.sharing = oneOf(value, SHARING, 'unsupported sharing value');
        return;
      case 'from':
      case 'id':
      case 'env':
        mount[key] = value;
        return;
      case 'source':
      case 'src':
        mount.source = value;
        return;
      case 'target':
      case 'dst':
      case 'destination':
        mount.target = value;
        return;
      case 'readonly':
      case 'ro':
        this.#readonly = parseBoolean(key, value);
        return;
      case 'readwrite':
      case 'rw':
        this.#readonly = !parseBoolean(key, value);
        return;
      case 'required':
        this.#only(key, ['secret', 'ssh']);
        mount.required = parseBoolean(key, value);
        return;
      case 'size':
        this.#only(key, ['tmpfs']);
        mount.size = parseByteCount(value) ?? Number.NaN;
        if (Number.isNaN(mount.size)) throw bad(`invalid value for ${key}: ${value}`, "a size, as '64m' or '1g'");
        return;
      case 'mode':
      case 'uid':
      case 'gid':
        mount[key] = parseNumber(key, value);
        return;
      default:
        throw bad(withSuggestion(`unexpected key '${key}' in '${field}'`, key, KEYS));
    }
  }

  finish(): MountFlag {
    const mount = this.#mount;
    const { type } = mount;
    if (type === 'bind' || type === 'tmpfs') {
      for (const key of ['mode', 'uid', 'gid'] as const) {
        if (mount[key] !== undefined) throw bad(`${key} not allowed for "${type}" type mounts`);
      }
    }
    mount.readonly = this.#readonly ?? (type !== 'cache' && type !== 'tmpfs');
    if (type === 'secret') checkSecret(mount);
    if (type === 'ssh' && mount.source !== '') throw bad('ssh does not support source');
    if (mount.sharing !== undefined && type !== 'cache') throw bad(`invalid cache sharing set for ${type} mount`);
    return mount;
  }

  #only(key: string, types: readonly MountType[]): void {
    const { type } = this.#mount;
    if (!types.includes(type)) throw bad(`unexpected key '${key}' for mount type '${type}'`);
  }
}

function checkSecret({ from, sharing, source, target, id }: MountFlag): void {
  if (from !== '') throw bad('secret mount should not have a from');
  if (sharing !== undefined) throw bad('secret mount should not define sharing');
  if (source === '' && target === '' && id === '')
    throw bad('invalid secret mount. one of source, target, id required');
  if (source !== '' && id !== '') throw bad("both source and id can't be set");
}

function cutField(field: string): { key: string; value: string | undefined } {
  const equals = field.indexOf('=');
  if (equals < 0) return { key: field.toLowerCase(), value: undefined };
  return { key: field.slice(0, equals).toLowerCase(), value: field.slice(equals + 1) };
}

/** The fields of one line of CSV (RFC 4180): a field in quotes may hold commas, and a quote as two. */
export function splitFields(text: string): string[] {
  const fields: string[] = [];
  for (let at = 0; ; at++) {
    if (text[at] === '"') {
      const end = closingQuote(text, at + 1);
      if (end < 0) throw bad('failed to parse csv mounts: a quote is not closed');
      fields.push(text.slice(at + 1, end).replaceAll('""', '"'));
      at = end + 1;
      if (at < text.length && text[at] !== ',') throw bad('failed to parse csv mounts: text after a closing quote');
    } else {
      const comma = text.indexOf(',', at);
      const field = text.slice(at, comma < 0 ? text.length : comma);
      if (field.includes('"')) throw bad('failed to parse csv mounts: a quote inside a field without quotes');
      fields.push(field);
      at = comma < 0 ? text.length : comma;
    }
    if (at >= text.length) return fields;
  }
}

function closingQuote(text: string, from: number): number {
  for (let at = from; at < text.length; at++) {
    if (text[at] !== '"') continue;
    if (text[at + 1] !== '"') return at;
    at++;
  }
  return -1;
}

function oneOf<T extends string>(value: string, words: readonly T[], problem: string): T {
  const found = words.find((word) => word === value.toLowerCase());
  if (found !== undefined) return found;
  throw bad(withSuggestion(`${problem} ${JSON.stringify(value)}`, value, words), words.join(', '));
}

/** Go's strconv.ParseBool. */
function parseBoolean(key: string, value: string): boolean {
  if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(value)) return true;
  if (['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(value)) return false;
  throw bad(`invalid value for ${key}: ${value}`, 'true or false');
}

function parseNumber(key: 'mode' | 'uid' | 'gid', value: string): number {
  const octal = key === 'mode';
  const number = (octal ? /^[0-7]+$/ : /^\d+$/).test(value) ? Number.parseInt(value, octal ? 8 : 10) : Number.NaN;
  if (number <= MAX_UINT32) return number;
  throw bad(`invalid value ${value} for ${key}`, octal ? 'an octal number, as 0750' : 'a number');
}

/** Bytes of '64m', '1.5GiB', '4096': units are powers of 1024. Undefined for what is no size. */
export function parseByteCount(value: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?$/i.exec(value);
  const power = 'kmgtp'.indexOf(match?.[2]?.toLowerCase() || '-') + 1;
  const bytes = Math.trunc(Number(match?.[1]) * 1024 ** power);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

function bad(problem: string, want?: string): ImagoError {
  return new ImagoError('BAD_MOUNT', problem, { want });
}
