import { pruneStore } from '../../engine/prune.ts';
import type { Command } from '../command.ts';
import { confirm } from '../confirm.ts';
import { formatPruned } from '../pruned.ts';

export const command: Command = {
  name: 'prune',
  summary: 'Remove untagged images, and what interrupted commands left',
  usage: '[OPTIONS]',
  options: {
    all: { type: 'boolean', short: 'a', help: 'Remove all images that no container uses, not only untagged ones' },
    force: { type: 'boolean', short: 'f', help: 'Do not ask' },
  },
  args: { min: 0, max: 0 },
  async run(context) {
    const { options, stdout, openStore } = context;
    const all = options.all === true;
    const which = all ? 'images that no container uses' : 'untagged images that no container uses';
    if (options.force !== true && !(await confirm(context, `WARNING! This will remove all ${which}.`))) return 0;
    stdout.write(formatPruned(await pruneStore(openStore(), { all })));
    return 0;
  },
};
