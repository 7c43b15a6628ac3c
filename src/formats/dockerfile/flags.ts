import { DockerfileError, withSuggestion } from './errors.ts';
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
    const kind = known[name];
    if (kind === undefined) {
      throw new DockerfileError(withSuggestion(`unknown flag: --${name}`, name, Object.keys(known)), raw);
    }
    if (values.has(name) && kind !== 'list') throw new DockerfileError(`duplicate flag specified: --${name}`, raw);
    if (value === undefined && kind !== 'boolean') throw new DockerfileError(`missing a value on flag: --${name}`, raw);
    const checked = kind === 'boolean' ? checkBoolean(raw, name, value) : value!;
    values.set(name, [...(values.get(name) ?? []), checked]);
  }
  return new Flags(values);
}

function checkBoolean(raw: RawInstruction, name: string, value: string | undefined): string {
  if (value === undefined) return 'true';
  if (value === '') throw new DockerfileError(`missing a value on flag: --${name}`, raw);
  const lower = value.toLowerCase();
  if (lower === 'true' || lower === 'false') return lower;
  throw new DockerfileError(`expecting boolean value for flag --${name}, not: ${value}`, raw);
}
