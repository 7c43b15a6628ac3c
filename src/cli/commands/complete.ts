import { listContainerNames, listImageNames } from '../../engine/names.ts';
import type { Command } from '../command.ts';
import { completeWords } from '../completion.ts';

/** Not for people: what the scripts of `imago completion` ask. */
export const command: Command = {
  name: '__complete',
  summary: 'Print what may stand at the end of a command line',
  usage: '[WORD...]',
  options: {},
  args: { min: 0 },
  complete: 'none',
  async run({ args, openStore, stdout }) {
    const quietly = (list: () => readonly string[]) => () => {
      try {
        return list();
      } catch {
        // No store that this user may read: nothing to offer, and a message would land in the line being typed.
        return [];
      }
    };
    const candidates = await completeWords(args, {
      images: quietly(() => listImageNames(openStore())),
      containers: quietly(() => listContainerNames(openStore())),
    });
    if ('files' in candidates) stdout.write(':files\n');
    else stdout.write(candidates.words.map(([word, about]) => `${word}${about && `\t${about}`}\n`).join(''));
    return 0;
  },
};
