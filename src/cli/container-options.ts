import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { CreateOptions } from '../container/create.ts';
import { parseTmpfsOption, parseVolumeOption } from '../container/mount-request.ts';
import { ImagoError } from '../core/errors.ts';
import type { ImageWish } from '../engine/with-image.ts';
import { hostPlatform, type Platform, parsePlatform } from '../oci/platform.ts';
import { parseEnvFile } from '../runtime/command.ts';
import { parseResources } from '../runtime/resources.ts';
import type { CommandContext, OptionSpec, OptionValues } from './command.ts';

/** The flags of `create`, which `run` has too. */
export const CREATE_OPTIONS: Record<string, OptionSpec> = {
  'cap-add': { type: 'string', multiple: true, help: 'Give a capability', complete: 'none' },
  'cap-drop': { type: 'string', multiple: true, help: 'Take a capability away (ALL for all)', complete: 'none' },
  cpus: { type: 'string', value: 'number', help: 'Limit of processors (1.5)', complete: 'none' },
  entrypoint: { type: 'string', value: 'command', help: "Replace the image's entrypoint ('' removes it)" },
  env: { type: 'string', short: 'e', multiple: true, help: 'Set a variable (NAME=value, or NAME for your own)' },
  'env-file': { type: 'string', multiple: true, value: 'file', help: 'Read variables from a file' },
  hostname: { type: 'string', short: 'h', value: 'name', help: 'Host name of the container', complete: 'none' },
  interactive: { type: 'boolean', short: 'i', help: 'Keep standard input open' },
  label: { type: 'string', short: 'l', multiple: true, help: 'Set a label (NAME=value)', complete: 'none' },
  memory: { type: 'string', short: 'm', value: 'size', help: 'Limit of memory (200m, 1g)', complete: 'none' },
  name: { type: 'string', value: 'name', help: 'Name of the container', complete: 'none' },
  network: {
    type: 'string',
    value: 'mode',
    help: "'none' (default) or 'host'; bridge networks are to come",
    complete: ['none', 'host'],
  },
  'pids-limit': { type: 'string', value: 'number', help: 'Limit of processes (-1: none)', complete: 'none' },
  platform: {
    type: 'string',
    value: 'platform',
    help: 'Of several platforms, the one to run (linux/arm64)',
    complete: 'none',
  },
  pull: {
    type: 'string',
    value: 'policy',
    help: "Fetch the image: 'always', 'missing' (default) or 'never'",
    complete: ['always', 'missing', 'never'],
  },
  quiet: { type: 'boolean', short: 'q', help: 'Print nothing of a pull' },
  'read-only': { type: 'boolean', help: 'Make the root file system read-only' },
  rm: { type: 'boolean', help: 'Remove the container when it ends' },
  'stop-signal': { type: 'string', value: 'signal', help: "What 'imago stop' sends first", complete: 'none' },
  'stop-timeout': { type: 'string', value: 'seconds', help: 'And how long it waits for it', complete: 'none' },
  tmpfs: { type: 'string', multiple: true, value: 'path', help: 'Mount a tmpfs (PATH[:OPTIONS])' },
  tty: { type: 'boolean', short: 't', help: 'Give it a terminal' },
  user: { type: 'string', short: 'u', value: 'user', help: 'User or ID, and group (USER[:GROUP])', complete: 'none' },
  volume: {
    type: 'string',
    short: 'v',
    multiple: true,
    help: 'Mount a directory or a volume ([SOURCE:]PATH[:OPTIONS])',
  },
  workdir: { type: 'string', short: 'w', value: 'path', help: 'Working directory in the container', complete: 'none' },
};

/** What the flags and `IMAGE [COMMAND] [ARG...]` ask for. Throws with exit status 125. */
export function readCreateOptions(args: readonly string[], options: OptionValues): CreateOptions {
  const text = (name: string): string | undefined => options[name] as string | undefined;
  const list = (name: string): string[] => options[name] as string[];
  return {
    image: args[0]!,
    platform: readPlatform(text('platform')),
    args: args.slice(1),
    entrypoint: text('entrypoint'),
    name: text('name'),
    env: [...list('env-file').flatMap(readEnvFile), ...list('env').map(checkVariable)],
    user: text('user'),
    workdir: readWorkdir(text('workdir')),
    hostname: text('hostname'),
    network: readNetwork(text('network')),
    mounts: [
      ...list('volume').map((volume) => parseVolumeOption(absoluteSource(volume))),
      ...list('tmpfs').map(parseTmpfsOption),
    ],
    labels: readLabels(list('label')),
    stopSignal: text('stop-signal'),
    stopTimeout: readSeconds(text('stop-timeout'), 'stop-timeout'),
    terminal: options.tty === true,
    stdin: options.interactive === true,
    readonlyRootfs: options['read-only'] === true,
    autoRemove: options.rm === true,
    capAdd: list('cap-add'),
    capDrop: list('cap-drop'),
    resources: parseResources({ memory: text('memory'), cpus: text('cpus'), pidsLimit: text('pids-limit') }),
  };
}

/** What `--pull` and `--quiet` say; a pull is told on standard error, since the output is the container's. */
export function readImageWish(context: Pick<CommandContext, 'options' | 'stderr'>): ImageWish {
  const { options } = context;
  const pull = options.pull as string | undefined;
  if (pull !== undefined && pull !== 'always' && pull !== 'missing' && pull !== 'never') {
    throw new ImagoError('BAD_FLAG_VALUE', 'invalid value of --pull', {
      want: 'always, missing or never',
      got: JSON.stringify(pull),
      exitCode: 125,
    });
  }
  return {
    pull,
    onPull: async (name, missing) => {
      const { announcePull } = await import('./pull-output.ts');
      return announcePull(context.stderr, { name, missing, quiet: options.quiet === true });
    },
  };
}

export function readSeconds(text: string | undefined, option: string): number | undefined {
  if (text === undefined) return undefined;
  if (/^-?[0-9]+$/.test(text)) return Number(text);
  throw new ImagoError('BAD_FLAG_VALUE', `invalid value of --${option}`, { want: 'seconds', got: text, exitCode: 125 });
}

/** A path that begins with a dot is from here, as in Docker; any other word without a slash is a volume. */
function absoluteSource(volume: string): string {
  const source = volume.slice(0, Math.max(volume.indexOf(':'), 0));
  return /^\.\.?(\/|$)/.test(source) ? `${resolve(source)}${volume.slice(source.length)}` : volume;
}

function readPlatform(text: string | undefined): Platform | undefined {
  return text === undefined ? undefined : parsePlatform(text, hostPlatform(process.arch));
}

function readNetwork(text: string | undefined): 'none' | 'host' | undefined {
  if (text === undefined || text === 'none' || text === 'host') return text;
  throw new ImagoError('NO_SUCH_NETWORK', `network ${text} not found`, {
    remedy: "this version has 'none' and 'host'",
    exitCode: 125,
  });
}

function readLabels(labels: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    labels.map((label) => {
      const at = label.indexOf('=');
      return at === -1 ? [label, ''] : [label.slice(0, at), label.slice(at + 1)];
    }),
  );
}

export function checkVariable(text: string): string {
  if (text !== '' && !text.startsWith('=')) return text;
  throw new ImagoError('BAD_FLAG_VALUE', 'invalid environment variable', {
    want: 'NAME=value',
    got: JSON.stringify(text),
    exitCode: 125,
  });
}

export function readEnvFile(path: string): string[] {
  try {
    return parseEnvFile(readFileSync(path, 'utf8'), path);
  } catch (cause) {
    if (cause instanceof ImagoError) throw cause;
    throw new ImagoError('BAD_ENV_FILE', `open ${path}: ${(cause as NodeJS.ErrnoException).code}`, { exitCode: 125 });
  }
}

export function readWorkdir(text: string | undefined): string | undefined {
  if (text === undefined || text.startsWith('/')) return text;
  throw new ImagoError(
    'BAD_FLAG_VALUE',
    `the working directory '${text}' is invalid, it needs to be an absolute path`,
    {
      exitCode: 125,
    },
  );
}
