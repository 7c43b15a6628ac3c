import { ImagoError } from '../../core/errors.ts';
import type { Healthcheck } from '../../formats/dockerfile/instruction.ts';
import type { Call, Draft, ImageBuilder } from './definition.ts';

/** Another image in the making, or the name of an image or of a named context. */
export type ImageSource = ImageBuilder | string;

export interface CopyOptions {
  /** Default: the build's context. */
  from?: ImageSource;
  /** `user:group`, names or numbers. */
  chown?: string;
  /** `0o755`, or as chmod takes it. */
  chmod?: number | string;
  /** The layer does not depend on those below it. */
  link?: boolean;
  /** Keep the sources' directories. */
  parents?: boolean;
  /** Patterns of what is left out. */
  exclude?: readonly string[];
}

export interface AddOptions extends Omit<CopyOptions, 'from' | 'parents'> {
  /** Of a URL's bytes (`sha256:…`), or a commit. */
  checksum?: string;
  keepGitDir?: boolean;
  unpack?: boolean;
}

/** As `RUN --mount`; `target` is a path in the container. */
export type MountOption =
  | { type: 'bind'; target: string; from?: ImageSource; source?: string; readonly?: boolean }
  | {
      type: 'cache';
      target: string;
      id?: string;
      from?: ImageSource;
      source?: string;
      sharing?: 'shared' | 'private' | 'locked';
      readonly?: boolean;
      mode?: number;
      uid?: number;
      gid?: number;
    }
  /** `size` in bytes. */
  | { type: 'tmpfs'; target: string; size?: number }
  | {
      type: 'secret';
      id: string;
      target?: string;
      /** The variable that has its value. */
      env?: string;
      required?: boolean;
      mode?: number;
      uid?: number;
      gid?: number;
    }
  | { type: 'ssh'; id?: string; target?: string; required?: boolean; mode?: number; uid?: number; gid?: number };

export interface RunOptions {
  mounts?: readonly MountOption[];
  /** Default: the build's. */
  network?: 'default' | 'none' | 'host';
  security?: 'sandbox' | 'insecure';
}

/** Times in milliseconds. */
export interface HealthcheckOptions {
  interval?: number;
  timeout?: number;
  startPeriod?: number;
  startInterval?: number;
  retries?: number;
}

export function makeRun(
  command: string | readonly string[],
  { mounts = [], network, security }: RunOptions,
): Call['make'] {
  const line = commandLine('run', command);
  // What is wrong with a mount is told here, at the call.
  for (const mount of mounts) mountText(mount, () => '');
  return (nameOf): Draft => ({
    ...line,
    name: 'RUN',
    source: `RUN ${shown(command)}`,
    heredocs: [],
    devices: [],
    mounts: mounts.map((mount) => mountText(mount, nameOf)),
    network,
    security,
  });
}

export function makeCommand(name: 'CMD' | 'ENTRYPOINT', command: string | readonly string[]): Call['make'] {
  const line = commandLine(name.toLowerCase(), command);
  return () => ({ ...line, name, source: `${name} ${shown(command)}` });
}

/** One operand more where `content` is given: a file with that text, of the destination's name. */
export function makeCopy(
  name: 'COPY' | 'ADD',
  sources: string | readonly string[],
  destination: string,
  options: CopyOptions & AddOptions,
  content?: string,
): Call['make'] {
  const method = content !== undefined ? 'file' : name.toLowerCase();
  const operands = listOf(method, typeof sources === 'string' ? [sources] : sources, 'a source');
  const dest = textOf(method, destination, 'the destination');
  if (dest === '' || (content !== undefined && dest.endsWith('/')))
    throw bad(method, 'the destination', dest, 'a path');
  if (operands.length === 0 && content === undefined) throw bad(method, 'the sources', sources, 'one at least');
  const { from, chown, chmod, link = false, parents = false, exclude = [], checksum, keepGitDir, unpack } = options;
  const mode = typeof chmod === 'number' ? chmod.toString(8).padStart(4, '0') : chmod;
  const common = {
    sources: operands.map(literal),
    inline: content === undefined ? [] : [{ name: dest.slice(dest.lastIndexOf('/') + 1), content, expand: false }],
    dest: literal(dest),
    ...(chown !== undefined && { chown: wordOf(method, chown, 'chown') }),
    ...(mode !== undefined && { chmod: wordOf(method, mode, 'chmod') }),
    link,
    exclude: wordsOf(method, exclude, 'exclude'),
  };
  const flags = from === undefined ? '' : typeof from === 'string' ? `--from=${from} ` : '--from=(image) ';
  const source = `${name} ${flags}${[...operands, dest].join(' ')}`;
  return (nameOf): Draft =>
    name === 'COPY'
      ? { ...common, name, parents, source, ...(from !== undefined && { from: nameOf(from) }) }
      : { ...common, name, source, checksum: checksum && literal(checksum), keepGitDir, unpack };
}

export function makePairs(name: 'ENV' | 'LABEL', values: Readonly<Record<string, string>>): Call['make'] {
  const method = name.toLowerCase();
  const pairs = Object.entries(values).map(([key, value]) => {
    if (key === '' || (name === 'ENV' && key.includes('='))) throw bad(method, 'a name', key, 'one without =');
    return { key: wordOf(method, key, 'a name'), value: wordOf(method, value, key) };
  });
  if (pairs.length === 0) throw bad(method, 'the argument', values, 'one name and value at least');
  const source = `${name} ${Object.entries(values)
    .map((pair) => pair.join('='))
    .join(' ')}`;
  return () => ({ name, pairs, source });
}

export function makeHealthcheck(command: string | readonly string[] | null, options: HealthcheckOptions): Call['make'] {
  const health: Healthcheck = { test: ['NONE'] };
  if (command !== null) {
    const { args, shell } = commandLine('healthcheck', command);
    health.test = [shell ? 'CMD-SHELL' : 'CMD', ...args];
    for (const key of ['interval', 'timeout', 'startPeriod', 'startInterval'] as const) {
      const value = options[key];
      if (value !== undefined && !(value >= 1 && value <= Number.MAX_SAFE_INTEGER / 1e6)) {
        throw bad('healthcheck', key, value, 'milliseconds, 1 at least');
      }
      if (value !== undefined) health[key] = Math.round(value * 1e6);
    }
    const { retries } = options;
    if (retries !== undefined && !(Number.isInteger(retries) && retries >= 0)) {
      throw bad('healthcheck', 'retries', retries, 'a number');
    }
    health.retries = retries;
  }
  return () => ({ name: 'HEALTHCHECK', health, source: `HEALTHCHECK ${command === null ? 'NONE' : shown(command)}` });
}

function commandLine(method: string, command: string | readonly string[]): { args: string[]; shell: boolean } {
  if (typeof command === 'string') {
    const text = textOf(method, command, 'the command');
    if (text.trim() === '') throw bad(method, 'the command', command, 'one that is not empty');
    return { args: [text], shell: true };
  }
  const args = listOf(method, command, 'a word');
  if (args.length === 0 && method === 'run') throw bad(method, 'the command', command, 'one word at least');
  return { args, shell: false };
}

/** A line for people, of the progress. */
function shown(command: string | readonly string[]): string {
  return typeof command === 'string' ? command : JSON.stringify(command);
}

/** The value of a `--mount`, in CSV, as the planner reads it. */
function mountText(mount: MountOption, nameOf: (source: ImageSource) => string): string {
  const fields: string[] = [];
  for (const [key, value] of Object.entries(mount) as [string, unknown][]) {
    if (value === undefined) continue;
    let text: string;
    if (key === 'from') text = nameOf(value as ImageSource);
    else if (key === 'mode') text = (value as number).toString(8);
    else text = literal(textOf('run', String(value), `the mount's ${key}`));
    const field = `${key}=${text}`;
    fields.push(/[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field);
  }
  return fields.join(',');
}

/** A text as a word of a Dockerfile that means just that: nothing in it expands, quotes or escapes. */
export function literal(text: string): string {
  return text.replace(/[\\'"$\s]/g, '\\$&');
}

export function textOf(method: string, value: unknown, what: string): string {
  if (typeof value === 'string' && !value.includes('\0')) return value;
  throw bad(method, what, value, 'a text without NUL');
}

export function listOf(method: string, values: unknown, what: string): string[] {
  if (!Array.isArray(values)) throw bad(method, what, values, 'a list of texts');
  return values.map((value) => textOf(method, value, what));
}

export function wordOf(method: string, value: unknown, what: string): string {
  return literal(textOf(method, value, what));
}

/** None of them empty. */
export function wordsOf(method: string, values: unknown, what: string): string[] {
  return listOf(method, values, what).map((value) => {
    if (value === '') throw bad(method, what, value, 'one that is not empty');
    return literal(value);
  });
}

export function bad(method: string, what: string, got: unknown, want: string): ImagoError {
  const shownGot = typeof got === 'number' ? String(got) : (JSON.stringify(got) ?? String(got));
  return new ImagoError('BAD_ARGUMENT', `${method}: ${what} is wrong`, { want, got: shownGot });
}
