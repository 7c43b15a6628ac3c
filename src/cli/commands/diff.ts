import { displayName } from '../../core/bytes.ts';
import { diffImages } from '../../engine/diff-images.ts';
import { parsePlatform } from '../../oci/platform.ts';
import type { Store } from '../../store/store.ts';
import type { Change } from '../../tree/diff.ts';
import type { Command } from '../command.ts';

export const command: Command = {
  name: 'diff',
  summary: 'Show what changed in a container, or from one image to another',
  usage: '[OPTIONS] CONTAINER | IMAGE IMAGE',
  description: 'A is added, C changed, D deleted.',
  options: {
    format: { type: 'string', value: 'json', complete: ['json'], help: "'json': one object a line" },
    platform: { type: 'string', value: 'os/arch', complete: 'none', help: 'Of an index, this platform' },
  },
  args: { min: 2, max: 2 },
  complete: ['container', 'image'],
  run({ args, options, stdout, openStore }) {
    const changes = readChanges(openStore(), args, options.platform as string | undefined);
    let text = '';
    for (const { kind, path } of changes) {
      const shown = displayName(path);
      text += options.format === 'json' ? `${JSON.stringify({ kind, path: shown })}\n` : `${kind} ${shown}\n`;
    }
    stdout.write(text);
    return 0;
  },
};

function readChanges(store: Store, [before, after]: string[], platform: string | undefined): Change[] {
  return diffImages(store, before!, after!, platform === undefined ? undefined : parsePlatform(platform));
}
