import { isImagoError } from '../../core/errors.ts';
import { removeByName } from '../../engine/containers.ts';
import type { Command } from '../command.ts';
import { forEachName } from '../each.ts';

export const command: Command = {
  name: 'rm',
  summary: 'Remove containers',
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  options: {
    force: { type: 'boolean', short: 'f', help: 'Kill those that run' },
    volumes: { type: 'boolean', short: 'v', help: 'Remove their anonymous volumes, too' },
  },
  args: { min: 1 },
  complete: 'container',
  async run({ args, options, stdout, openStore }) {
    const store = openStore();
    const force = options.force === true;
    return await forEachName(args, stdout, async (name) => {
      try {
        await removeByName(store, name, { force, volumes: options.volumes === true });
      } catch (error) {
        // As Docker's: what is not there need not be removed.
        if (!(force && isImagoError(error, 'NO_SUCH_CONTAINER'))) throw error;
      }
    });
  },
};
