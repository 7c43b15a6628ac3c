import { DockerfileError, nearestWord } from './errors.ts';
import { findWord } from './position.ts';
import type { RawInstruction } from './raw.ts';

export type FlagKind = 'string' | 'boolean' | 'list';

/** The checked flags of an instruction. */
export class Flags {
  readonly #values: Map<string, string[]>;

  constructor(values: Map<string, string[]>) {
    this.#values = values;
  }

  string(name: string): string | undefined {
    return this.#values.get(name)?.at(-1);
  }

  list(name: string): string[] {
    return this.#values.get(name) ?? [];
  }

  boolean(name: string): boolean | undefined {
    const value = this.string(name);
    return value === undefined ? undefined : value === 'true';
  }
}

/** Checks an instruction's `--name[=value]` words against the flags that it knows. */
export function parseFlags(raw: RawInstruction, known: Record<string, FlagKind>): Flags {
  const values = new Map<string, string[]>();
  for (const word of raw.flags) {
    const equals = word.indexOf('=');
    const name = equals < 0 ? word.slice(2) : word.slice(2, equals);
    const value = equals < 0 ? undefined : word.slice(equals + 1);
    const kind = Object.hasOwn(known, name) ? known[name] : undefined;
    if (kind === undefined) throw wrongFlag(raw, name, unknownFlag(raw, name, Object.keys(known)));
    const before = values.get(name);
    if (before !== undefined && kind !== 'list') throw wrongFlag(raw, name, `duplicate flag specified: --${name}`);
    if (value === undefined && kind !== 'boolean') throw wrongFlag(raw, name, `missing a value on flag: --${name}`);
    const checked = kind === 'boolean' ? checkBoolean(raw, name, value) : value!;
    if (before === undefined) values.set(name, [checked]);
    else before.push(checked);
  }
  return new Flags(values);
}

function unknownFlag(raw: RawInstruction, name: string, known: readonly string[]): string {
  const problem = `unknown flag: --${name}`;
  const near = nearestWord(name, known);
  if (near !== undefined) return `${problem} (did you mean ${near}?)`;
  const list = known.map((flag) => `--${flag}`).join(', ');
  return `${problem}: ${raw.name} has ${known.length === 0 ? 'none' : list}`;
}

function wrongFlag(raw: RawInstruction, name: string, problem: string): DockerfileError {
  return new DockerfileError(problem, raw, undefined, findWord(raw, `--${name}`));
}

function checkBoolean(raw: RawInstruction, name: string, value: string | undefined): string {
  if (value === undefined) return 'true';
  if (value === '') throw wrongFlag(raw, name, `missing a value on flag: --${name}`);
  const lower = value.toLowerCase();
  if (lower === 'true' || lower === 'false') return lower;
  const problem = `expecting boolean value for flag --${name}, not: ${value}`;
  const near = nearestWord(value, ['true', 'false']);
  const place = findWord(raw, `--${name}=${value}`);
  const word = place === undefined ? undefined : { ...place, column: place.column + name.length + 3 };
  const told = near === undefined ? `${problem} (wanted true or false)` : `${problem} (did you mean ${near}?)`;
  throw new DockerfileError(told, raw, undefined, word === undefined ? undefined : { ...word, length: value.length });
}
