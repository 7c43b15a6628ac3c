import { ImagoError } from '../../core/errors.ts';
import { startAttachedByName, startByName } from '../../engine/containers.ts';
import type { Command } from '../command.ts';
import { forEachName } from '../each.ts';

export const command: Command = {
  name: 'start',
  summary: 'Start containers that do not run',
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  options: {
    attach: { type: 'boolean', short: 'a', help: 'Show its output and pass signals on' },
    'detach-keys': { type: 'string', value: 'keys', help: "Leave the container with these (default 'ctrl-p,ctrl-q')" },
    interactive: { type: 'boolean', short: 'i', help: 'Pass standard input on, too' },
  },
  args: { min: 1 },
  complete: 'container',
  async run(context) {
    const { args, options } = context;
    const store = context.openStore();
    if (options.attach !== true && options.interactive !== true) {
      return await forEachName(args, context.stdout, (name) => startByName(store, name));
    }
    if (args.length > 1) throw new ImagoError('BAD_USAGE', 'you cannot start and attach multiple containers at once');
    const { endStatus, foregroundStreams } = await import('../foreground.ts');
    const end = await startAttachedByName(store, args[0]!, ({ terminal, stdin }) =>
      foregroundStreams(context, {
        terminal,
        stdin: stdin && options.interactive === true,
        detachKeys: options['detach-keys'] as string | undefined,
      }),
    );
    return endStatus(end);
  },
};
