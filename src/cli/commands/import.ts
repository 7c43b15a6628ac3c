import { importImage } from '../../engine/import.ts';
import { hostPlatform, parsePlatform } from '../../oci/platform.ts';
import type { Command } from '../command.ts';
import { createProgress } from '../progress.ts';
import { archiveInput } from '../standard-input.ts';

export const command: Command = {
  name: 'import',
  summary: 'Make an image from the tar of a root file system',
  usage: '[OPTIONS] file|URL|- [REPOSITORY[:TAG]]',
  description: 'The tar may be compressed by gzip, zstd, bzip2 or xz.',
  options: {
    change: {
      type: 'string',
      short: 'c',
      multiple: true,
      help: 'Apply a Dockerfile instruction to the image: CMD, ENTRYPOINT, ENV, EXPOSE, …',
      complete: 'none',
    },
    message: { type: 'string', short: 'm', help: 'Comment in the history of the image', complete: 'none' },
    platform: { type: 'string', help: "What the image runs on (default this machine's)", complete: 'none' },
    quiet: { type: 'boolean', short: 'q', help: 'No progress' },
  },
  args: { min: 1, max: 2 },
  complete: ['file', 'none'],
  async run(context) {
    const { args, options, stdout, stderr, signal } = context;
    const [file, reference] = args as [string, string | undefined];
    const source = file === '-' ? archiveInput(context, 'name a file, or pipe a tar in') : file;
    const progress = stderr.isTTY && options.quiet !== true ? createProgress(stderr) : undefined;
    const { id } = await importImage(context.openStore(), source, {
      reference,
      changes: options.change as string[],
      message: (options.message as string | undefined) ?? `Imported from ${file}`,
      platform:
        options.platform === undefined
          ? undefined
          : parsePlatform(options.platform as string, hostPlatform(process.arch)),
      signal,
      onProgress: (done, total) => progress?.update(file, { status: 'Importing', done, total }),
    }).finally(() => progress?.close());
    stdout.write(`${id}\n`);
    return 0;
  },
};
