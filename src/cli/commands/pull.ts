import { familiarName, familiarReference, parseReference } from '../../oci/reference.ts';
import { type PullOptions, pullAllTags, pullImage } from '../../transfer/pull.ts';
import type { Command, CommandContext } from '../command.ts';
import { PullPrinter, pullStatus } from '../pull-output.ts';

export const command: Command = {
  name: 'pull',
  summary: 'Fetch an image from a registry',
  usage: '[OPTIONS] NAME[:TAG|@DIGEST]',
  description:
    'Only layers that are not here yet travel. A pull that was interrupted goes on where it ended, for six hours.',
  options: {
    'all-tags': { type: 'boolean', short: 'a', help: 'Fetch every tag of the repository' },
    insecure: { type: 'boolean', help: 'Take plain HTTP, and certificates that nobody vouches for' },
    'keep-blobs': {
      type: 'boolean',
      help: 'Keep the compressed layers too, for pushing and saving them without network',
    },
    platform: {
      type: 'string',
      value: 'platform',
      help: "Of several platforms, the one to fetch (default this machine's)",
      complete: 'none',
    },
    quiet: { type: 'boolean', short: 'q', help: 'Print nothing but the name in full' },
  },
  args: { min: 1, max: 1 },
  complete: 'image',
  async run(context) {
    const { args, options, stdout } = context;
    const name = args[0]!;
    const quiet = options.quiet === true;
    const printer = quiet ? undefined : new PullPrinter(stdout);
    const pull = readPullOptions(context, printer);
    const reference = parseReference(name, { defaultTag: false });
    try {
      if (options['all-tags'] === true) {
        const pulled = await pullAllTags(context.openStore(), name, pull);
        if (!quiet)
          stdout.write(
            pullStatus(
              familiarName(reference),
              pulled.some(({ changed }) => changed),
            ),
          );
        stdout.write(`${reference.domain}/${reference.path}\n`);
        return 0;
      }
      if (!quiet && reference.tag === undefined && reference.digest === undefined) {
        stdout.write('Using default tag: latest\n');
      }
      const pulled = await pullImage(context.openStore(), name, pull);
      if (!quiet) stdout.write(pullStatus(familiarReference(parseReference(pulled.reference)), pulled.changed));
      stdout.write(`${pulled.reference}\n`);
      return 0;
    } finally {
      printer?.close();
    }
  },
};

function readPullOptions({ options, signal }: CommandContext, printer: PullPrinter | undefined): PullOptions {
  return {
    signal,
    keepBlobs: options['keep-blobs'] === true,
    insecure: options.insecure === true,
    platform: options.platform as string | undefined,
    onEvent: printer && ((event) => printer.print(event)),
  };
}
