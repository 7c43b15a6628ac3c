import { pruneStore } from '../../engine/prune.ts';
import type { Command } from '../command.ts';
import { confirm } from '../confirm.ts';
import { formatPruned } from '../pruned.ts';

export const command: Command = {
  name: 'system prune',
  summary: 'Remove stopped containers, unused images and the build cache',
  usage: '[OPTIONS]',
  options: {
    all: { type: 'boolean', short: 'a', help: 'Remove all images that no container uses, not only untagged ones' },
    force: { type: 'boolean', short: 'f', help: 'Do not ask' },
  },
  args: { min: 0, max: 0 },
  async run(context) {
    const { options, stdout, openStore } = context;
    const all = options.all === true;
    const warning = [
      'WARNING! This will remove:',
      '  - all stopped containers',
      `  - all ${all ? '' : 'untagged '}images that no container uses`,
      '  - the build cache',
      '',
    ].join('\n');
    if (options.force !== true && !(await confirm(context, warning))) return 0;
    stdout.write(formatPruned(await pruneStore(openStore(), { all, containers: true, cache: true })));
    return 0;
  },
};
