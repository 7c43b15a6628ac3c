import { once } from 'node:events';
import { ImagoError } from '../../core/errors.ts';
import { SAVE_FORMATS, type SaveFormat, saveImages } from '../../engine/save.ts';
import { hostPlatform, parsePlatform } from '../../oci/platform.ts';
import type { Command, CommandContext } from '../command.ts';

export const command: Command = {
  name: 'save',
  summary: 'Save images to an archive or a directory',
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  description: 'A repository without a tag stands for all its tags. The same images give the same bytes.',
  options: {
    output: { type: 'string', short: 'o', value: 'path', help: 'Write to a file or directory, instead of stdout' },
    format: {
      type: 'string',
      value: 'format',
      help: "'docker-archive' (default; an OCI layout too), 'oci-archive' or 'oci-dir'",
      complete: SAVE_FORMATS,
    },
    platform: {
      type: 'string',
      value: 'platform',
      help: "Of several platforms, the one to save (default this machine's)",
      complete: 'none',
    },
  },
  args: { min: 1 },
  complete: 'image',
  async run(context) {
    const { args, options, stderr, signal } = context;
    const format = parseFormat(options.format as string | undefined);
    const platform =
      options.platform === undefined
        ? undefined
        : parsePlatform(options.platform as string, hostPlatform(process.arch));
    const output = options.output as string | undefined;
    const { rewritten } = await saveImages(context.openStore(), args, {
      output: output === undefined || output === '-' ? writeToStdout(context, format) : output,
      format,
      platform,
      signal,
    });
    for (const name of rewritten) {
      stderr.write(
        `imago: ${name}: its compressed layers are not kept here, so they are saved as plain tars and the manifest has another digest (pull with --keep-blobs to keep them)\n`,
      );
    }
    return 0;
  },
};

function parseFormat(text: string | undefined): SaveFormat {
  const format = SAVE_FORMATS.find((name) => name === (text ?? 'docker-archive'));
  if (format !== undefined) return format;
  throw new ImagoError('BAD_FORMAT', 'unknown format', { want: SAVE_FORMATS.join(', '), got: JSON.stringify(text) });
}

function writeToStdout({ stdout }: CommandContext, format: SaveFormat): (chunk: Uint8Array) => Promise<void> {
  if (format === 'oci-dir') {
    throw new ImagoError('BAD_OUTPUT', 'a directory cannot be written to stdout', { remedy: 'name it with -o' });
  }
  if (stdout.isTTY) {
    throw new ImagoError('STDOUT_IS_TERMINAL', 'refusing to save to a terminal', {
      remedy: 'name a file with -o, or redirect',
    });
  }
  return async (chunk) => {
    // The buffer is used again: wait until it is written, not only until there is room.
    if (stdout.destroyed) await once(stdout, 'close');
    await new Promise<void>((resolve, reject) => stdout.write(chunk, (error) => (error ? reject(error) : resolve())));
  };
}
