import { stopByName } from '../../engine/containers.ts';
import type { Command } from '../command.ts';
import { readSeconds } from '../container-options.ts';
import { forEachName } from '../each.ts';

export const command: Command = {
  name: 'stop',
  summary: 'Stop running containers',
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  options: {
    signal: { type: 'string', short: 's', value: 'signal', complete: 'none', help: 'Send this first' },
    time: {
      type: 'string',
      short: 't',
      value: 'seconds',
      complete: 'none',
      help: 'Kill after (default 10; -1: never)',
    },
    timeout: { type: 'string', value: 'seconds', complete: 'none', help: 'The same', hidden: true },
  },
  args: { min: 1 },
  complete: 'container',
  async run({ args, options, stdout, openStore }) {
    const store = openStore();
    const timeout = readSeconds((options.time ?? options.timeout) as string | undefined, 'time');
    const signal = options.signal as string | undefined;
    return await forEachName(args, stdout, (name) => stopByName(store, name, { timeout, signal }));
  },
};
