import { hostPlatform, parsePlatform } from '../../oci/platform.ts';
import { familiarReference, parseReference } from '../../oci/reference.ts';
import { pullArtifact } from '../../transfer/artifact-pull.ts';
import { INSECURE, registryOptions } from '../client-options.ts';
import type { Command } from '../command.ts';
import { printable } from '../failure.ts';
import { createProgress } from '../progress.ts';

export const command: Command = {
  name: 'artifact pull',
  summary: 'Get the files of an artifact from a registry',
  usage: '[OPTIONS] NAME[:TAG|@DIGEST]',
  description: 'Files that are there are replaced, once all of it is here and checked.',
  options: {
    insecure: INSECURE,
    'keep-old-files': { type: 'boolean', short: 'k', help: 'Fail where a file is there already' },
    output: { type: 'string', short: 'o', value: 'dir', help: 'Where the files go (default here)' },
    platform: { type: 'string', value: 'platform', complete: 'none', help: 'Of an index, this platform' },
    quiet: { type: 'boolean', short: 'q', help: 'Print the digest only' },
  },
  args: { min: 1, max: 1 },
  complete: 'none',
  async run(context) {
    const { args, options, stdout, stderr } = context;
    const quiet = options.quiet === true;
    const platform =
      options.platform === undefined
        ? undefined
        : parsePlatform(options.platform as string, hostPlatform(process.arch));
    const progress = quiet || !stderr.isTTY ? undefined : createProgress(stderr);
    const pulled = await pullArtifact(args[0]!, {
      directory: options.output as string | undefined,
      keepExisting: options['keep-old-files'] === true,
      platform,
      onFile: (name, done, total) =>
        progress?.update(printable(name), {
          status: done === total ? 'Downloaded' : 'Downloading',
          done,
          total,
          finished: done === total,
        }),
      ...registryOptions(context),
    }).finally(() => progress?.close());
    const { reference, digest, files, unnamed } = pulled;
    if (quiet) {
      stdout.write(`${digest}\n`);
      return 0;
    }
    for (const file of files) stdout.write(`${printable(file)}\n`);
    if (unnamed.length > 0) {
      const what =
        unnamed.length === 1
          ? 'one blob has no file name and was'
          : `${unnamed.length} blobs have no file names and were`;
      stderr.write(`imago: ${what} left in the registry\n`);
    }
    stdout.write(`Pulled ${familiarReference(parseReference(reference))}\nDigest: ${digest}\n`);
    return 0;
  },
};
