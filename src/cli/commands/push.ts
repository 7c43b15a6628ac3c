import { shortId } from '../../core/digest.ts';
import { hostPlatform, parsePlatform } from '../../oci/platform.ts';
import { parseReference } from '../../oci/reference.ts';
import { parseForm } from '../../store/compression-form.ts';
import { type PushOptions, pushName } from '../../transfer/push.ts';
import type { OnPushEvent, PushedLayerStatus } from '../../transfer/push-events.ts';
import { INSECURE, registryOptions } from '../client-options.ts';
import type { Command, CommandContext } from '../command.ts';
import { createProgress } from '../progress.ts';

export const command: Command = {
  name: 'push',
  summary: 'Send an image to a registry',
  usage: '[OPTIONS] NAME[:TAG]',
  description:
    'What came from a registry is pushed as it is, with the same digests. Layers that were made here are compressed on the way. Of an image for several platforms the index is pushed where the other platforms are at this registry already; else the one platform that is here.',
  options: {
    'all-tags': { type: 'boolean', short: 'a', help: 'Push every tag of the repository' },
    compression: {
      type: 'string',
      value: 'kind[:level]',
      help: "For layers made here: 'gzip' (default), 'zstd', 'none', with a level such as zstd:19",
      complete: ['gzip', 'zstd', 'none'],
    },
    insecure: INSECURE,
    platform: {
      type: 'string',
      value: 'platform',
      help: 'Of several platforms, push this one alone',
      complete: 'none',
    },
    quiet: { type: 'boolean', short: 'q', help: 'Print nothing but the names in full' },
    recompress: { type: 'boolean', help: 'Make all layers anew: the image gets another digest' },
  },
  args: { min: 1, max: 1 },
  complete: 'image',
  async run(context) {
    const { args, options, stdout } = context;
    const name = args[0]!;
    const quiet = options.quiet === true;
    const { tag, digest } = parseReference(name, { defaultTag: false });
    if (!quiet && options['all-tags'] !== true && tag === undefined && digest === undefined) {
      stdout.write('Using default tag: latest\n');
    }
    const printer = quiet ? undefined : createPrinter(context);
    try {
      const pushed = await pushName(context.openStore(), name, readPushOptions(context, printer?.print));
      printer?.close();
      if (quiet) for (const { reference } of pushed) stdout.write(`${reference}\n`);
    } finally {
      printer?.close();
    }
    return 0;
  },
};

function readPushOptions(context: CommandContext, onEvent: OnPushEvent | undefined): PushOptions {
  const { options } = context;
  const { compression, platform } = options as Record<string, string | undefined>;
  return {
    ...registryOptions(context),
    allTags: options['all-tags'] === true,
    recompress: options.recompress === true,
    ...(compression === undefined ? {} : { compression: parseForm(compression) }),
    ...(platform === undefined ? {} : { platform: parsePlatform(platform, hostPlatform(process.arch)) }),
    ...(onEvent === undefined ? {} : { onEvent }),
  };
}

/** Docker's words (moby v28, distribution/push_v2.go). */
const WORDS: Record<PushedLayerStatus, string> = {
  preparing: 'Preparing',
  waiting: 'Waiting',
  pushing: 'Pushing',
  pushed: 'Pushed',
  exists: 'Layer already exists',
  mounted: 'Mounted from',
  skipped: 'Skipped foreign layer',
};

/** One tag after the other: each has lines of progress of its own, closed before the line with its digest. */
function createPrinter({ stdout }: CommandContext): { print: OnPushEvent; close: () => void } {
  let progress = createProgress(stdout);
  return {
    print(event) {
      if (event.type === 'repository') stdout.write(`The push refers to repository [${event.name}]\n`);
      else if (event.type === 'layer') {
        const { diffId, status, done, total, from } = event;
        // How far it is tells a log nothing.
        if (status === 'pushing' && stdout.isTTY !== true) return;
        const words = from === undefined ? WORDS[status] : `${WORDS[status]} ${from}`;
        const finished = status !== 'preparing' && status !== 'waiting' && status !== 'pushing';
        progress.update(shortId(diffId), { status: words, done, total, finished });
      } else if (event.type === 'partial') {
        progress.close();
        stdout.write(
          `Not all platforms of ${event.index} are here or at this registry: only the available single-platform image was pushed\n`,
        );
      } else {
        progress.close();
        progress = createProgress(stdout);
        stdout.write(`${event.tag}: digest: ${event.digest} size: ${event.size}\n`);
      }
    },
    close: () => progress.close(),
  };
}
