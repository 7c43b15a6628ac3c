type Call = (...args: unknown[]) => unknown;

/** Go's rule: false, 0, nil, and anything empty are false. */
export function isTrue(value: unknown): boolean {
  if (value === null || value === undefined || value === false || value === 0 || value === '') return false;
  if (Array.isArray(value)) return value.length > 0;
  // A map is false when empty; Docker's structs, never empty here, are true.
  if (typeof value === 'object') return Object.keys(value).length > 0;
  return true;
}

/** A value as Go's `%v` prints it: `[a b]`, `map[k:v]` with sorted keys, `<no value>` for nothing. */
export function formatValue(value: unknown): string {
  if (value === null || value === undefined) return '<no value>';
  return formatInner(value);
}

function formatInner(value: unknown): string {
  if (value === null || value === undefined) return '<nil>';
  if (Array.isArray(value)) return `[${value.map(formatInner).join(' ')}]`;
  if (typeof value === 'object') {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `map[${entries.map(([k, v]) => `${k}:${formatInner(v)}`).join(' ')}]`;
  }
  return String(value);
}

/** Throws `TypeError` with a plain message where the function or its arguments make no sense. */
export function callFunction(name: string, args: unknown[]): unknown {
  const fn = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name]! : undefined;
  if (fn === undefined) {
    throw new TypeError(`function ${JSON.stringify(name)} not defined; there are ${FUNCTION_NAMES.join(', ')}`);
  }
  const [min, max, call] = fn;
  if (args.length < min || args.length > max) {
    const want = min === max ? String(min) : max === Infinity ? `at least ${min}` : `${min} to ${max}`;
    throw new TypeError(`${name} wants ${want} arguments, got ${args.length}`);
  }
  return call(...args);
}

/** Name → fewest and most arguments, and the function. Docker's are those of cli/templates/templates.go. */
const FUNCTIONS: Record<string, [min: number, max: number, call: Call]> = {
  json: [1, 1, (v) => JSON.stringify(v ?? null)],
  upper: [1, 1, (v) => text(v).toUpperCase()],
  lower: [1, 1, (v) => text(v).toLowerCase()],
  title: [1, 1, (v) => text(v).replace(/(^|\s)(\p{Ll})/gu, (_, space, letter) => space + letter.toUpperCase())],
  split: [2, 2, (v, separator) => text(v).split(text(separator))],
  join: [2, 2, (list, separator) => items(list).map(formatInner).join(text(separator))],
  pad: [3, 3, (v, before, after) => (v === '' ? '' : ' '.repeat(int(before)) + text(v) + ' '.repeat(int(after)))],
  truncate: [2, 2, (v, length) => Array.from(text(v)).slice(0, int(length)).join('')],
  println: [0, Infinity, (...values) => `${values.map(formatInner).join(' ')}\n`],
  print: [0, Infinity, (...values) => print(values)],
  printf: [1, Infinity, (format, ...values) => sprintf(text(format), values)],
  len: [1, 1, (v) => size(v)],
  index: [1, Infinity, (v, ...keys) => keys.reduce(indexValue, v)],
  slice: [1, 3, (v, from = 0, to = undefined) => sliceValue(v, int(from), to === undefined ? undefined : int(to))],
  eq: [2, Infinity, (a, ...others) => others.some((b) => same(a, b))],
  ne: [2, 2, (a, b) => !same(a, b)],
  lt: [2, 2, (a, b) => order(a, b) < 0],
  le: [2, 2, (a, b) => order(a, b) <= 0],
  gt: [2, 2, (a, b) => order(a, b) > 0],
  ge: [2, 2, (a, b) => order(a, b) >= 0],
  not: [1, 1, (v) => !isTrue(v)],
};

/** What the evaluator itself knows is listed with them. */
const FUNCTION_NAMES: string[] = [...Object.keys(FUNCTIONS), 'and', 'or'].sort();

function text(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw new TypeError(`wanted a string, got ${formatValue(value)}`);
}

function int(value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0) return value;
  throw new TypeError(`wanted a whole number, got ${formatValue(value)}`);
}

function items(value: unknown): unknown[] {
  if (value === null || value === undefined) return [];
  if (Array.isArray(value)) return value;
  throw new TypeError(`wanted a list, got ${formatValue(value)}`);
}

function size(value: unknown): number {
  if (typeof value === 'string') return new TextEncoder().encode(value).length;
  if (Array.isArray(value)) return value.length;
  if (value === null || value === undefined) return 0;
  if (typeof value === 'object') return Object.keys(value).length;
  throw new TypeError(`${formatValue(value)} has no length`);
}

function indexValue(value: unknown, key: unknown): unknown {
  if (Array.isArray(value)) {
    const i = int(key);
    if (i >= value.length) throw new TypeError(`index ${i} is out of range of ${value.length} items`);
    return value[i];
  }
  // Go gives a map's zero value for a key that is not there; all maps that templates index hold strings.
  if (value === null || value === undefined) return '';
  if (typeof value === 'object') return Object.hasOwn(value, text(key)) ? (value as never)[text(key)] : '';
  throw new TypeError(`can't index ${formatValue(value)}`);
}

function sliceValue(value: unknown, from: number, to?: number): unknown {
  if (typeof value !== 'string' && !Array.isArray(value)) throw new TypeError(`can't slice ${formatValue(value)}`);
  if (from > value.length || (to ?? 0) > value.length) throw new TypeError('slice is out of range');
  return value.slice(from, to);
}

/** Go's fmt.Print: a space between two operands where neither is a string. */
function print(values: unknown[]): string {
  return values.reduce<string>((out, value, i) => {
    const apart = i > 0 && typeof value !== 'string' && typeof values[i - 1] !== 'string';
    return out + (apart ? ' ' : '') + formatInner(value);
  }, '');
}

function same(a: unknown, b: unknown): boolean {
  if (a == null || b == null) return a == null && b == null;
  if (typeof a !== typeof b) throw new TypeError(`can't compare ${formatValue(a)} with ${formatValue(b)}`);
  return a === b;
}

function order(a: unknown, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a === 'string' && typeof b === 'string') return a < b ? -1 : a > b ? 1 : 0;
  throw new TypeError(`can't compare ${formatValue(a)} with ${formatValue(b)}`);
}

/** The verbs of Go's fmt that make sense here: %s %v %d %q %t %x %f %%, with width, `-`, `0` and precision. */
function sprintf(format: string, values: unknown[]): string {
  let next = 0;
  const out = format.replace(/%([-0+ ]*)([0-9]*)(?:\.([0-9]+))?(.)/gs, (_, flags, width, precision, verb) => {
    if (verb === '%') return '%';
    if (next >= values.length) return `%!${verb}(MISSING)`;
    let shown = formatVerb(verb, values[next++], precision === undefined ? undefined : Number(precision));
    if (flags.includes('+') && verb === 'd' && !shown.startsWith('-')) shown = `+${shown}`;
    if (flags.includes('-')) return shown.padEnd(Number(width));
    return shown.padStart(Number(width), flags.includes('0') ? '0' : ' ');
  });
  const rest = values.slice(next).map((v) => `${typeof v === 'number' ? 'int' : typeof v}=${formatInner(v)}`);
  return rest.length > 0 ? `${out}%!(EXTRA ${rest.join(', ')})` : out;
}

function formatVerb(verb: string, value: unknown, precision?: number): string {
  switch (verb) {
    case 's':
    case 'v':
      return precision === undefined ? formatInner(value) : formatInner(value).slice(0, precision);
    case 'd':
      return typeof value === 'number' ? String(Math.trunc(value)) : `%!d(${formatInner(value)})`;
    case 'f':
      return typeof value === 'number' ? value.toFixed(precision ?? 6) : `%!f(${formatInner(value)})`;
    case 'q':
      return Array.isArray(value) ? `[${value.map((v) => formatVerb('q', v)).join(' ')}]` : JSON.stringify(text(value));
    case 't':
      return typeof value === 'boolean' ? String(value) : `%!t(${formatInner(value)})`;
    case 'x':
      if (typeof value === 'number') return value.toString(16);
      return Array.from(new TextEncoder().encode(text(value)), (b) => b.toString(16).padStart(2, '0')).join('');
    default:
      return `%!${verb}(${formatInner(value)})`;
  }
}
