import { attachByName } from '../../engine/containers.ts';
import type { Command } from '../command.ts';
import { endStatus, foregroundStreams } from '../foreground.ts';

export const command: Command = {
  name: 'attach',
  summary: 'Attach to a running container',
  usage: '[OPTIONS] CONTAINER',
  options: {
    'detach-keys': { type: 'string', value: 'keys', help: "Leave the container with these (default 'ctrl-p,ctrl-q')" },
    'no-stdin': { type: 'boolean', help: 'Do not pass standard input on' },
  },
  args: { min: 1, max: 1 },
  complete: 'container',
  async run(context) {
    const { options } = context;
    const end = await attachByName(context.openStore(), context.args[0]!, ({ terminal, stdin }) =>
      foregroundStreams(context, {
        terminal,
        stdin: stdin && options['no-stdin'] !== true,
        detachKeys: options['detach-keys'] as string | undefined,
      }),
    );
    return endStatus(end);
  },
};
