import { shortId } from '../../core/digest.ts';
import { loadImages } from '../../engine/load.ts';
import { hostPlatform, parsePlatform } from '../../oci/platform.ts';
import type { Command } from '../command.ts';
import { createProgress } from '../progress.ts';
import { archiveInput } from '../standard-input.ts';

export const command: Command = {
  name: 'load',
  summary: 'Load images from an archive or a directory',
  usage: '[OPTIONS]',
  description:
    'Takes OCI image layouts (a directory or a tar) and Docker archives, compressed by gzip, zstd, bzip2, xz\nor not at all. Layers keep their compressed bytes, so that a save gives back the same digests.',
  options: {
    input: { type: 'string', short: 'i', value: 'path', help: 'File or directory to read, instead of stdin' },
    platform: {
      type: 'string',
      value: 'platform',
      help: "Of several platforms, the one to load (default this machine's)",
      complete: 'none',
    },
    quiet: { type: 'boolean', short: 'q', help: 'No progress' },
  },
  args: { min: 0, max: 0 },
  complete: 'none',
  async run(context) {
    const { options, stdout, stderr, signal } = context;
    const input = options.input as string | undefined;
    const source = input === undefined || input === '-' ? archiveInput(context, 'name an archive with -i') : input;
    const platform =
      options.platform === undefined
        ? undefined
        : parsePlatform(options.platform as string, hostPlatform(process.arch));
    const progress = stderr.isTTY && options.quiet !== true ? createProgress(stderr) : undefined;
    const loaded = await loadImages(context.openStore(), source, {
      platform,
      signal,
      onLayer: (id, done, total) => progress?.update(shownId(id), { status: 'Loading layer', done, total }),
      onLayerDone: (id, existed) =>
        progress?.update(shownId(id), { status: existed ? 'Layer already exists' : 'Loaded layer', finished: true }),
      onBadName: (name) => stderr.write(`imago: the archive's name for an image is none: ${JSON.stringify(name)}\n`),
    }).finally(() => progress?.close());
    for (const { id, names, taken } of loaded) {
      for (const { name, from } of taken) {
        const old = from === undefined ? '' : ` with ID ${from}`;
        stdout.write(`The image ${name} already exists, renaming the old one${old} to empty string\n`);
      }
      if (names.length === 0) stdout.write(`Loaded image ID: ${id}\n`);
      for (const name of names) stdout.write(`Loaded image: ${name}\n`);
    }
    return 0;
  },
};

function shownId(id: string): string {
  return id.startsWith('sha256:') ? shortId(id) : (id.split('/').at(-1) ?? id).slice(0, 12);
}
