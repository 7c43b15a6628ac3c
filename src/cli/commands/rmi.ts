import { isImagoError } from '../../core/errors.ts';
import { removeImage } from '../../engine/rmi.ts';
import type { Command } from '../command.ts';
import { reportError } from '../failure.ts';

export const command: Command = {
  name: 'rmi',
  summary: 'Remove images',
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  options: {
    force: { type: 'boolean', short: 'f', help: 'Remove it although it has other names or containers that do not run' },
  },
  args: { min: 1 },
  complete: 'image',
  async run({ args, options, stdout, openStore }) {
    const store = openStore();
    const force = options.force === true;
    let status = 0;
    for (const name of args) {
      try {
        for (const removal of await removeImage(store, name, { force })) {
          stdout.write('untagged' in removal ? `Untagged: ${removal.untagged}\n` : `Deleted: ${removal.deleted}\n`);
        }
      } catch (error) {
        const failed = reportError(error);
        // As in Docker, -f is content with what is not there.
        if (!force || !isImagoError(error, 'IMAGE_NOT_FOUND')) status = failed;
      }
    }
    return status;
  },
};
