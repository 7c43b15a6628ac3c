import { addAbortSignal, type Readable } from 'node:stream';
import type { CheckWarning } from '../../build/checks/report.ts';
import { decodeDockerfile } from '../../build/dockerfile-text.ts';
import { EPOCH_ARG } from '../../build/epoch.ts';
import { ImagoError } from '../../core/errors.ts';
import { buildImage } from '../../engine/build.ts';
import { type DockerfileSource, LARGEST_DOCKERFILE } from '../../engine/build-dockerfile.ts';
import type { BuildOptions } from '../../engine/build-options.ts';
import { readWholeStream } from '../../system/read-whole.ts';
import { type Call, parseCall, runCall } from '../build-call.ts';
import { printChecks } from '../build-checks.ts';
import { BUILD_CLASSIC_OPTIONS, warnOfClassicOptions } from '../build-classic-options.ts';
import { debugFailure } from '../build-debug.ts';
import { printExcerpt } from '../build-error.ts';
import { createBuildPrinter, PROGRESS_KINDS, type ProgressKind, readProgressKind } from '../build-output.ts';
import {
  BUILD_OUTPUT_OPTIONS,
  dropImageIdFile,
  readBuildOutputOptions,
  writeBuildResult,
} from '../build-output-options.ts';
import { BUILD_RUN_OPTIONS, readBuildRunOptions } from '../build-run-options.ts';
import type { Command, CommandContext, OptionValues } from '../command.ts';

export const command: Command = {
  name: 'build',
  summary: 'Build an image from a Dockerfile',
  usage: '[OPTIONS] PATH | URL | -',
  description:
    "PATH is a directory; a URL names a git repository (as 'https://host/name.git#ref:directory'), a tar or a Dockerfile. With '-' a tar of the files comes on standard input, or a Dockerfile alone.",
  options: {
    tag: {
      type: 'string',
      short: 't',
      multiple: true,
      value: 'name',
      help: "Name of the image, as 'name:tag'",
      complete: 'none',
    },
    file: {
      type: 'string',
      short: 'f',
      value: 'path',
      help: "The Dockerfile, or its URL (default: PATH/Dockerfile; '-' is standard input)",
    },
    'build-arg': {
      type: 'string',
      multiple: true,
      value: 'NAME[=value]',
      help: 'Set a variable that ARG declares',
      complete: 'none',
    },
    target: { type: 'string', value: 'stage', help: 'Stop at this stage', complete: 'none' },
    label: { type: 'string', multiple: true, value: 'key=value', help: 'Set a label of the image', complete: 'none' },
    network: {
      type: 'string',
      value: 'mode',
      help: 'Network of RUN: host (default) or none',
      complete: ['host', 'none'],
    },
    platform: {
      type: 'string',
      multiple: true,
      value: 'platform',
      help: "Platforms of the image, as 'linux/amd64,linux/arm64' (default: this machine's)",
      complete: 'none',
    },
    'build-context': {
      type: 'string',
      multiple: true,
      value: 'name=value',
      help: "Files or an image for FROM and --from by that name: a directory, a URL, 'docker-image://NAME', 'oci-layout://DIR'",
      complete: 'none',
    },
    ...BUILD_RUN_OPTIONS,
    'cache-from': {
      type: 'string',
      multiple: true,
      value: 'place',
      help: 'A cache to use: NAME, type=local,src=DIR',
      complete: 'none',
    },
    'cache-to': {
      type: 'string',
      multiple: true,
      value: 'place',
      help: 'Write a cache: type=registry,ref=NAME, type=local,dest=DIR, type=inline',
      complete: 'none',
    },
    'no-cache': { type: 'boolean', help: 'Do every step anew' },
    'no-cache-filter': { type: 'string', multiple: true, value: 'stage', help: 'Do the steps of these stages anew' },
    pull: { type: 'boolean', help: 'Look for newer base images at their registries' },
    ...BUILD_OUTPUT_OPTIONS,
    ...BUILD_CLASSIC_OPTIONS,
    progress: {
      type: 'string',
      value: 'kind',
      help: 'auto, tty, plain, rawjson or quiet',
      complete: PROGRESS_KINDS,
    },
    debug: { type: 'boolean', help: 'Open a shell where a step failed' },
    quiet: { type: 'boolean', short: 'q', help: 'Print nothing but the image ID' },
    check: { type: 'boolean', help: 'Check the Dockerfile and build nothing; exit status 1 where something is found' },
    call: {
      type: 'string',
      value: 'what',
      help: 'Instead of building: check, outline (what can be given), targets; with ,format=json',
      complete: ['build', 'check', 'outline', 'targets'],
    },
  },
  args: { min: 1, max: 1 },
  complete: 'file',
  async run(context) {
    const { options, stdout, stderr, signal } = context;
    const call = readCall(options);
    const build = await readOptions(context);
    warnOfClassicOptions(options, stderr);
    if (call !== undefined) return runCall(call, context, build);
    const kind = readProgress(options);
    const quiet = kind === 'quiet';
    dropImageIdFile(options);
    let dockerfile: DockerfileSource | undefined;
    const printer = createBuildPrinter(kind, stderr);
    const checks: CheckWarning[] = [];
    const close = (): void => {
      printer.close();
      if (kind !== 'rawjson' && !quiet) printChecks(stderr, checks, dockerfile, process.env.IMAGO_DEBUG !== undefined);
    };
    try {
      const result = await buildImage(context.openStore(), {
        ...build,
        signal,
        onDockerfile: (source) => {
          dockerfile = source;
        },
        onEvent: (event) => {
          const check = event.type === 'warning' ? event.check : undefined;
          if (check !== undefined) checks.push(check);
          if (check === undefined || kind === 'rawjson') printer.print(event);
        },
        ...(options.debug === true && { onFailure: (failed) => debugFailure(failed, context, printer) }),
      });
      close();
      writeBuildResult(result, options, stdout, quiet);
      return 0;
    } catch (error) {
      close();
      if (!signal.aborted && kind !== 'rawjson') printExcerpt(stderr, error, () => dockerfile);
      throw error;
    }
  },
};

function readCall(options: OptionValues): Call | undefined {
  const call = options.call === undefined ? undefined : parseCall(options.call as string);
  if (options.check !== true) return call;
  if (options.call === undefined) return { name: 'check', json: false, ignoreStatus: false };
  throw new ImagoError('BAD_USAGE', '--check and --call cannot be used together: --call=check is the same', {
    exitCode: 125,
  });
}

async function readOptions({ args, options, stdin, stdout, signal }: CommandContext): Promise<BuildOptions> {
  const path = args[0]!;
  const file = options.file as string | undefined;
  checkChoice('network', options.network, ['default', 'host', 'none']);
  if (path === '-' && file === '-') {
    throw new ImagoError('BAD_USAGE', 'standard input cannot be both the context and the Dockerfile: leave --file out');
  }
  const input = addAbortSignal(signal, stdin);
  return {
    context: path === '-' ? input : path,
    file: file === '-' ? { name: 'Dockerfile', text: await readInput(input) } : file,
    contexts: readContexts(options['build-context'] as string[]),
    tags: options.tag as string[],
    buildArgs: readBuildArgs(options['build-arg'] as string[]),
    labels: readPairs(options.label as string[], 'label'),
    target: options.target as string | undefined,
    platform: options.platform as string[],
    network: options.network === 'default' ? undefined : (options.network as BuildOptions['network']),
    noCache: options['no-cache'] === true,
    noCacheFilter: ((options['no-cache-filter'] ?? []) as string[]).flatMap((names) => names.split(',')),
    cacheFrom: options['cache-from'] as string[],
    cacheTo: options['cache-to'] as string[],
    pull: options.pull === true ? 'always' : 'missing',
    ...readBuildRunOptions(options),
    ...readBuildOutputOptions(options, stdout),
  };
}

function readProgress(options: OptionValues): ProgressKind {
  const kind = readProgressKind(options.progress as string | undefined);
  if (options.quiet !== true) return kind;
  if (options.progress === undefined || kind === 'auto' || kind === 'quiet') return 'quiet';
  throw new ImagoError('BAD_USAGE', `--progress=${kind} and --quiet cannot be used together`, { exitCode: 125 });
}

function checkChoice(name: string, value: unknown, choices: readonly string[]): void {
  if (value === undefined || choices.includes(value as string)) return;
  throw new ImagoError('BAD_FLAG_VALUE', `invalid value of --${name}`, {
    want: choices.join(', '),
    got: String(value),
    exitCode: 125,
  });
}

async function readInput(stdin: Readable): Promise<string> {
  const bytes = await readWholeStream(stdin, { limit: LARGEST_DOCKERFILE });
  if (bytes !== undefined) return decodeDockerfile(bytes);
  throw new ImagoError('NO_DOCKERFILE', 'cannot read the Dockerfile: what comes on standard input is too large');
}

function readContexts(words: readonly string[]): Record<string, string> {
  for (const word of words) {
    if (word.indexOf('=') > 0) continue;
    throw new ImagoError('BAD_FLAG_VALUE', 'invalid value of --build-context', {
      want: 'name=value',
      got: word,
      exitCode: 125,
    });
  }
  return readPairs(words, 'build-context');
}

/** Without a value it is the caller's own variable, if that is set; SOURCE_DATE_EPOCH need not be named. */
function readBuildArgs(words: readonly string[]): Record<string, string> {
  const out: Record<string, string> = {};
  const epoch = process.env[EPOCH_ARG];
  if (epoch) out[EPOCH_ARG] = epoch;
  for (const word of words) {
    const [name, value = process.env[name]] = cutPair(word, 'build-arg');
    if (value !== undefined) out[name] = value;
  }
  return out;
}

function readPairs(words: readonly string[], option: string): Record<string, string> {
  return Object.fromEntries(words.map((word) => cutPair(word, option)).map(([key, value = '']) => [key, value]));
}

function cutPair(word: string, option: string): [key: string, value?: string] {
  const equals = word.indexOf('=');
  if (word !== '' && equals !== 0) return equals < 0 ? [word] : [word.slice(0, equals), word.slice(equals + 1)];
  throw new ImagoError('BAD_FLAG_VALUE', `invalid value of --${option}: the key is empty`, {
    want: 'key=value',
    got: word,
    exitCode: 125,
  });
}
