import { ImagoError } from '../../core/errors.ts';
import { inspectContainer } from '../../engine/inspect-container.ts';
import { inspectImage } from '../../image/inspect.ts';
import { hostPlatform, parsePlatform } from '../../oci/platform.ts';
import type { Store } from '../../store/store.ts';
import { INSECURE, registryOptions } from '../client-options.ts';
import type { Command, CommandContext } from '../command.ts';
import { printable, reportError } from '../failure.ts';
import { printValue } from '../format.ts';

const KINDS = ['container', 'image'] as const;
/** What means "not of this kind" rather than "damaged". */
const MISSING: ReadonlySet<string> = new Set(['NO_SUCH_CONTAINER', 'IMAGE_NOT_FOUND', 'BAD_REFERENCE', 'BAD_DIGEST']);

export const command: Command = {
  name: 'inspect',
  summary: 'Show all that is known of containers and images, as JSON',
  usage: '[OPTIONS] NAME|ID [NAME|ID...]',
  options: {
    config: { type: 'boolean', help: "With --remote: the image's config alone" },
    format: { type: 'string', short: 'f', help: "Print as 'json' or by a Go template" },
    insecure: INSECURE,
    platform: {
      type: 'string',
      value: 'platform',
      complete: 'none',
      help: "With --remote: of several platforms, the one to show (default this machine's)",
    },
    raw: { type: 'boolean', help: 'With --remote: the exact bytes of the manifest, or of the config' },
    remote: { type: 'boolean', help: 'Ask the registry, and fetch nothing but the manifest and the config' },
    type: { type: 'string', value: 'kind', complete: KINDS, help: "Only a 'container' or an 'image'" },
  },
  args: { min: 1 },
  complete: 'image',
  run(context) {
    const { args, options, stdout, stderr } = context;
    const kinds = chooseKinds(options.type as string | undefined);
    if (options.remote === true) {
      if (!kinds.includes('image'))
        throw new ImagoError('BAD_USAGE', 'a registry has no containers: --remote shows images');
      return inspectRemotely(context);
    }
    for (const name of ['config', 'insecure', 'platform', 'raw']) {
      if (options[name] !== undefined && options[name] !== false) {
        throw new ImagoError('BAD_USAGE', `--${name} needs --remote`);
      }
    }
    const store = context.openStore();
    const format = options.format as string | undefined;
    const found: unknown[] = [];
    let status = 0;
    for (const name of args) {
      const value = inspectAny(store, name, kinds);
      if (value === undefined) {
        stderr.write(`Error: No such ${kinds.length === 1 ? kinds[0] : 'object'}: ${printable(name)}\n`);
        status = 1;
      } else if (format === undefined) found.push(value);
      else printValue(stdout, value, format);
    }
    if (format === undefined) stdout.write(`${JSON.stringify(found, undefined, 4)}\n`);
    return status;
  },
};

async function inspectRemotely(context: CommandContext): Promise<number> {
  const { args, options, stdout } = context;
  const { inspectRemote, readRemoteConfig, readRemoteManifest } = await import('../../transfer/remote-inspect.ts');
  const platform =
    options.platform === undefined ? undefined : parsePlatform(options.platform as string, hostPlatform(process.arch));
  const request = { platform, ...registryOptions(context) };
  const format = options.format as string | undefined;
  const found: unknown[] = [];
  const show = async (name: string): Promise<void> => {
    if (options.raw === true) {
      stdout.write(await (options.config === true ? readRemoteConfig : readRemoteManifest)(name, request));
      return;
    }
    const value: unknown =
      options.config === true
        ? JSON.parse(Buffer.from(await readRemoteConfig(name, request)).toString())
        : await inspectRemote(name, request);
    if (format === undefined) found.push(value);
    else printValue(stdout, value, format);
  };
  let status = 0;
  for (const name of args) {
    try {
      await show(name);
    } catch (error) {
      if (args.length === 1 || request.signal?.aborted) throw error;
      reportError(error);
      status = 1;
    }
  }
  if (options.raw !== true && format === undefined) stdout.write(`${JSON.stringify(found, undefined, 4)}\n`);
  return status;
}

function chooseKinds(type: string | undefined): readonly string[] {
  if (type === undefined || type === '') return KINDS;
  if ((KINDS as readonly string[]).includes(type)) return [type];
  throw new ImagoError('BAD_FLAG_VALUE', 'unknown --type', { want: KINDS.join(' or '), got: JSON.stringify(type) });
}

/** A container comes before an image of that name, as in Docker. */
function inspectAny(store: Store, name: string, kinds: readonly string[]): unknown {
  for (const kind of kinds) {
    try {
      return kind === 'container' ? inspectContainer(store, name) : inspectImage(store, name);
    } catch (error) {
      if (!(error instanceof ImagoError) || !MISSING.has(error.code)) throw error;
    }
  }
  return undefined;
}
