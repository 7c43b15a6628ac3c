import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, type YAMLMap } from 'yaml';
import { ImagoError } from '../../core/errors.ts';
import { nearest } from '../../core/suggest.ts';

/** Reads one setting; `at` says where it stands, for errors. */
export type Reader<T> = (node: Node | null | undefined, at: Place) => T;

/** Where in the file something stands. */
export interface Place {
  /** 'auth.rules[0].users'; '' for the whole file. */
  path: string;
  fail(node: Node | null | undefined, problem: string): never;
}

/**
 * Reads a YAML file (YAML 1.2, core schema) strictly: a key that is not known, a value of the wrong kind and a key
 * twice are `BAD_CONFIG`, with file, line and column. `name` is what errors call the file; undefined where it is none.
 */
export function readYaml<T>(text: string, name: string | undefined, read: Reader<T>): T {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const failAt = (offset: number, problem: string): never => {
    const { line, col } = lines.linePos(offset);
    if (name === undefined) throw new ImagoError('BAD_CONFIG', problem);
    throw new ImagoError('BAD_CONFIG', `${name}:${Math.max(1, line)}:${Math.max(1, col)}: ${problem}`);
  };
  const [broken] = [...document.errors, ...document.warnings];
  if (broken !== undefined) failAt(broken.pos[0], broken.message);
  const fail = (node: Node | null | undefined, problem: string): never => failAt(node?.range?.[0] ?? 0, problem);
  return read(document.contents as Node | null, { path: '', fail });
}

/** A map with these keys and no others; a key that is not there is read from undefined. */
export function object<T>(fields: { [K in keyof T]-?: Reader<T[K]> }): Reader<T> {
  return (node, at) => {
    const map = isEmpty(node)
      ? undefined
      : isMap(node)
        ? node
        : at.fail(node, `${title(at)} must be a map of settings`);
    for (const key of map === undefined ? [] : keysOf(map, at)) {
      if (Object.hasOwn(fields, key.name)) continue;
      const near = nearest(key.name, Object.keys(fields));
      const hint = near === undefined ? `known are ${Object.keys(fields).join(', ')}` : `did you mean '${near}'?`;
      at.fail(key.node, `unknown setting '${key.name}'${at.path === '' ? '' : ` in ${at.path}`}: ${hint}`);
    }
    const inside: Place = { ...at, fail: (inner, problem) => at.fail(inner ?? node, problem) };
    const result: Partial<T> = {};
    for (const key of Object.keys(fields) as (keyof T & string)[]) {
      result[key] = fields[key](map?.get(key, true) as Node | undefined, {
        ...inside,
        path: at.path ? `${at.path}.${key}` : key,
      });
    }
    return result as T;
  };
}

/** A map whose keys are the user's own. */
export function dictionary<T>(read: Reader<T>): Reader<Record<string, T>> {
  return (node, at) => {
    if (isEmpty(node)) return {};
    const map = isMap(node) ? node : at.fail(node, `${title(at)} must be a map`);
    const entries = keysOf(map, at).map(({ name }) => {
      const value = map.get(name, true) as Node | undefined;
      return [name, read(value, { ...at, path: `${at.path}.${name}` })] as const;
    });
    return Object.fromEntries(entries);
  };
}

/** A list, or one thing alone. */
export function list<T>(read: Reader<T>): Reader<T[]> {
  return (node, at) => {
    if (isEmpty(node)) return [];
    const items = isSeq(node) ? (node.items as Node[]) : [node as Node];
    return items.map((item, i) => read(item, { ...at, path: isSeq(node) ? `${at.path}[${i}]` : at.path }));
  };
}

/** The setting may be left out. */
export function optional<T>(read: Reader<T>): Reader<T | undefined> {
  return (node, at) => (isEmpty(node) ? undefined : read(node, at));
}

export function withDefault<T>(read: Reader<T>, value: T): Reader<T> {
  return (node, at) => (isEmpty(node) ? value : read(node, at));
}

export const text: Reader<string> = (node, at) => {
  const value = scalar(node, at, 'text');
  if (typeof value === 'string' && value !== '') return value;
  return at.fail(node, `${title(at)} must be text${typeof value === 'object' ? '' : `: write "${String(value)}"`}`);
};

export const flag: Reader<boolean> = (node, at) => {
  const value = scalar(node, at, 'true or false');
  return typeof value === 'boolean' ? value : at.fail(node, `${title(at)} must be true or false`);
};

/** A whole number of things, 1 or more. */
export const count: Reader<number> = (node, at) => {
  const value = scalar(node, at, 'a whole number');
  if (typeof value === 'number' && Number.isSafeInteger(value) && value > 0) return value;
  return at.fail(node, `${title(at)} must be a whole number above 0`);
};

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** Bytes: `4MiB`, `10GB`, or a number alone. */
export const bytes: Reader<number> = (node, at) => {
  const value = parseBytes(String(scalar(node, at, 'a size')));
  return value ?? at.fail(node, `${title(at)} must be a size such as 4MiB or 10GB`);
};

/** Bytes of '4MiB', '512'; undefined where it is none. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?([KMGT]i?B|B|)$/i.exec(text);
  const value = match === null ? Number.NaN : Math.round(Number(match[1]) * UNITS[match[2]!.toLowerCase()]!);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** Milliseconds: `500ms`, `30s`, `10m`, `24h`, `7d`. */
export const duration: Reader<number> = (node, at) => {
  const value = parseDuration(String(scalar(node, at, 'a time')));
  return value ?? at.fail(node, `${title(at)} must be a time such as 30s, 10m, 24h or 7d`);
};

/** Milliseconds of '30s', '1h30m'; undefined where it is none. At most a year. */
export function parseDuration(text: string): number | undefined {
  if (!/^(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+$|^0$/.test(text)) return undefined;
  const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
  let value = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)) value += Number(number) * units[unit!]!;
  return value <= 366 * 86_400_000 ? Math.round(value) : undefined;
}

export function oneOf<T extends string>(...words: readonly T[]): Reader<T> {
  return (node, at) => {
    const value = String(scalar(node, at, words.join(' or ')));
    if ((words as readonly string[]).includes(value)) return value as T;
    const near = nearest(value, words);
    return at.fail(
      node,
      `${title(at)} must be ${words.join(' or ')}${near === undefined ? '' : `: did you mean '${near}'?`}`,
    );
  };
}

/** A setting that is more than its kind: `check` says what is wrong, or nothing. */
export function checked<T>(read: Reader<T>, check: (value: T) => string | undefined): Reader<T> {
  return (node, at) => {
    const value = read(node, at);
    const problem = check(value);
    return problem === undefined ? value : at.fail(node, `${title(at)} ${problem}`);
  };
}

function title({ path }: Place): string {
  return path === '' ? 'the file' : path;
}

function isEmpty(node: Node | null | undefined): boolean {
  return node === undefined || node === null || (isScalar(node) && node.value === null);
}

function scalar(node: Node | null | undefined, at: Place, wanted: string): unknown {
  if (isAlias(node)) return at.fail(node, 'aliases are not supported: write the value itself');
  if (node === undefined || node === null) return at.fail(node, `${title(at)} is missing`);
  return isScalar(node) ? node.value : at.fail(node, `${title(at)} must be ${wanted}`);
}

function keysOf(map: YAMLMap, at: Place): { name: string; node: Node }[] {
  return map.items.map(({ key }) => {
    const node = key as Node;
    if (!isScalar(node)) return at.fail(node, 'a key must be a word');
    return { name: String(node.value), node };
  });
}
