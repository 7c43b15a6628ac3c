import { displayName } from '../../core/bytes.ts';
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
  args: { min: 1, max: 2 },
  complete: ['container', 'image'],
  async run({ args, options, stdout, openStore }) {
    const changes = await readChanges(openStore(), args, options.platform as string | undefined);
    let text = '';
    for (const { kind, path } of changes) {
      const shown = displayName(path);
      text += options.format === 'json' ? `${JSON.stringify({ kind, path: shown })}\n` : `${kind} ${shown}\n`;
    }
    stdout.write(text);
    return 0;
  },
};

async function readChanges(store: Store, names: string[], platform: string | undefined): Promise<Change[]> {
  const [before, after] = names as [string, string | undefined];
  if (after === undefined) {
    const { diffByName } = await import('../../engine/diff-container.ts');
    return diffByName(store, before);
  }
  const { diffImages } = await import('../../engine/diff-images.ts');
  return diffImages(store, before, after, platform === undefined ? undefined : parsePlatform(platform));
}
