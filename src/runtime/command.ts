import { constants, type Stats } from 'node:fs';
import { dirname, normalize } from 'node:path/posix';
import { ImagoError } from '../core/errors.ts';
import type { RunConfig } from '../oci/config.ts';
import { statConfined } from '../system/confined.ts';
import type { SpecMount } from './spec-types.ts';

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The entrypoint and the command after it. Throws `NO_COMMAND`. */
export function commandLine(config: Pick<RunConfig, 'Entrypoint' | 'Cmd'>): string[] {
  const out = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  if (out.length > 0) return out;
  throw new ImagoError('NO_COMMAND', 'no command specified, and the image has none', {
    remedy: 'give one after the image: imago run IMAGE COMMAND',
    exitCode: 125,
  });
}

/** The whole environment of a process but HOME, in Docker's order: PATH, HOSTNAME, TERM, then `variables`. */
export function environment(
  variables: readonly string[],
  defaults: { hostname?: string; terminal?: boolean },
): string[] {
  const own = [`PATH=${DEFAULT_PATH}`];
  if (defaults.hostname !== undefined) own.push(`HOSTNAME=${defaults.hostname}`);
  if (defaults.terminal === true) own.push('TERM=xterm');
  return mergeVariables(own, variables);
}

/**
 * `more` after `base`, each name once, the later value in the earlier place. A name of `more` without '=' takes the
 * caller's value, or takes the variable away where the caller has none.
 */
export function mergeVariables(
  base: readonly string[],
  more: readonly string[],
  own: Record<string, string | undefined> = process.env,
): string[] {
  const out = new Map<string, string>();
  for (const entry of base) setVariable(out, entry, {});
  for (const entry of more) setVariable(out, entry, own);
  return [...out].map(([name, value]) => `${name}=${value}`);
}

function setVariable(out: Map<string, string>, entry: string, own: Record<string, string | undefined>): void {
  const at = entry.indexOf('=');
  const name = at === -1 ? entry : entry.slice(0, at);
  const value = at === -1 ? own[name] : entry.slice(at + 1);
  if (value === undefined) out.delete(name);
  else out.set(name, value);
}

/** Lines of an `--env-file`: NAME=value or NAME; '#' starts a comment line; no quoting, as Docker. Throws `BAD_ENV_FILE`. */
export function parseEnvFile(text: string, path: string): string[] {
  const out: string[] = [];
  for (const [index, raw] of text
    .replace(/^\uFEFF/, '')
    .split('\n')
    .entries()) {
    const line = raw.replace(/\r$/, '').trimStart();
    if (line === '' || line.startsWith('#')) continue;
    const name = line.split('=', 1)[0] ?? '';
    if (name === '' || /\s/.test(name)) {
      throw new ImagoError('BAD_ENV_FILE', `${path}, line ${index + 1}: not a variable`, {
        want: 'NAME=value',
        got: JSON.stringify(line.slice(0, 80)),
        exitCode: 125,
      });
    }
    out.push(line);
  }
  return out;
}

/** Where a command is looked up: the root file system, open as a directory, and what will be mounted in it. */
export interface CommandPlace {
  root: number;
  cwd: string;
  env: readonly string[];
  mounts?: readonly SpecMount[];
}

/**
 * Whether a command can be run, looked up as the runtime does. Where symlinks into a mount leave it open, it is left
 * to the runtime. Throws `COMMAND_NOT_FOUND` (exit status 127) or `COMMAND_NOT_EXECUTABLE` (126), in Docker's words.
 */
export function checkExecutable(command: string, place: CommandPlace): void {
  if (command.includes('/')) {
    const path = normalize(command.startsWith('/') ? command : `${place.cwd}/${command}`);
    const stat = statInPlace(place, path);
    if (stat === 'unknown') return;
    if (stat === undefined) throw notFound(command, `stat ${command}: no such file or directory`);
    if (stat.isDirectory()) throw notExecutable(command, 'is a directory');
    if (!isExecutable(stat)) throw notExecutable(command, 'permission denied');
    return;
  }
  const path = place.env.find((entry) => entry.startsWith('PATH='))?.slice(5) ?? '';
  for (const directory of path.split(':')) {
    const stat = statInPlace(place, normalize(`${directory === '' ? place.cwd : directory}/${command}`));
    if (stat === 'unknown' || (stat !== undefined && !stat.isDirectory() && isExecutable(stat))) return;
  }
  throw notFound(command, 'executable file not found in $PATH');
}

function statInPlace({ root, mounts = [] }: CommandPlace, path: string): Stats | 'unknown' | undefined {
  const below = mounts.filter(({ destination }) => path === destination || path.startsWith(`${destination}/`)).at(-1);
  if (below !== undefined) return 'unknown';
  const stat = statConfined(root, path);
  if (stat !== undefined || mounts.length === 0) return stat;
  for (let at = path; at !== '/'; at = dirname(at)) {
    const link = statConfined(root, at, 'nofollow');
    if (link !== undefined) return link.isSymbolicLink() ? 'unknown' : undefined;
  }
  return undefined;
}

function isExecutable(stat: Stats): boolean {
  return (stat.mode & (constants.S_IXUSR | constants.S_IXGRP | constants.S_IXOTH)) !== 0;
}

function notFound(command: string, reason: string): ImagoError {
  return new ImagoError('COMMAND_NOT_FOUND', `cannot run the command: exec: ${JSON.stringify(command)}: ${reason}`, {
    exitCode: 127,
  });
}

function notExecutable(command: string, reason: string): ImagoError {
  return new ImagoError(
    'COMMAND_NOT_EXECUTABLE',
    `cannot run the command: exec: ${JSON.stringify(command)}: ${reason}`,
    { exitCode: 126 },
  );
}
