import { shortId } from '../../core/digest.ts';
import { ImagoError } from '../../core/errors.ts';
import { formatPlatform, hostPlatform, parsePlatform } from '../../oci/platform.ts';
import { type CopyEvent, type CopyOptions, copyImage } from '../../transfer/copy.ts';
import { registryOptions } from '../client-options.ts';
import type { Command, CommandContext } from '../command.ts';
import { createProgress, type Progress } from '../progress.ts';

export const command: Command = {
  name: 'copy',
  summary: 'Copy an image from one place to another, with the same digests',
  usage: '[OPTIONS] SOURCE DESTINATION',
  description:
    'A place is docker://REF (or REF alone), oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF] or store:NAME. Nothing is unpacked, and no digest changes: what a place cannot hold as it is ends in an error.\nSignatures and other referrers are not copied.',
  options: {
    all: { type: 'boolean', short: 'a', help: 'All platforms, and the index that names them' },
    'dest-insecure': { type: 'boolean', help: 'As --src-insecure, for the registry that the image goes to' },
    platform: {
      type: 'string',
      value: 'platform',
      help: "Of several platforms, the one to copy (default this machine's)",
      complete: 'none',
    },
    quiet: { type: 'boolean', short: 'q', help: 'Print nothing but the digest' },
    'src-insecure': {
      type: 'boolean',
      help: 'Take plain HTTP, and certificates that nobody vouches for, of the registry that the image comes from',
    },
  },
  args: { min: 2, max: 2 },
  complete: 'image',
  async run(context) {
    const { args, options, stdout } = context;
    const [source, target] = args as [string, string];
    const progress = options.quiet === true ? undefined : createProgress(stdout);
    try {
      const { digest, size } = await copyImage(source, target, readCopyOptions(context, progress));
      progress?.close();
      stdout.write(progress === undefined ? `${digest}\n` : `${target}: digest: ${digest} size: ${size}\n`);
    } finally {
      progress?.close();
    }
    return 0;
  },
};

function readCopyOptions(context: CommandContext, progress: Progress | undefined): CopyOptions {
  const { options, stdout, signal } = context;
  const platform = options.platform as string | undefined;
  if (options.all === true && platform !== undefined) {
    throw new ImagoError('BAD_USAGE', '--all and --platform cannot be used together');
  }
  const client = registryOptions(context);
  return {
    all: options.all === true,
    ...(platform === undefined ? {} : { platform: parsePlatform(platform, hostPlatform(process.arch)) }),
    source: { ...client, insecure: options['src-insecure'] === true },
    target: { ...client, insecure: options['dest-insecure'] === true },
    openStore: () => context.openStore(),
    signal,
    ...(progress === undefined ? {} : { onEvent: (event) => show(progress, event, stdout.isTTY === true) }),
  };
}

const WORDS = {
  copying: 'Copying',
  copied: 'Copied',
  exists: 'Already exists',
  mounted: 'Mounted from',
  skipped: 'Skipped foreign layer',
} as const;

function show(progress: Progress, event: CopyEvent, live: boolean): void {
  if (event.type === 'chosen') {
    const { digest, platform } = event;
    progress.update(shortId(digest), { status: `Chosen for ${formatPlatform(platform)}`, finished: true });
    return;
  }
  const { digest, status, done, total, from } = event;
  // How far it is tells a log nothing.
  if (status === 'copying' && !live) return;
  const words = from === undefined ? WORDS[status] : `${WORDS[status]} ${from}`;
  progress.update(shortId(digest), { status: words, done, total, finished: status !== 'copying' });
}
