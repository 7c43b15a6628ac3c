import { killByName } from '../../engine/containers.ts';
import type { Command } from '../command.ts';
import { forEachName } from '../each.ts';

export const command: Command = {
  name: 'kill',
  summary: 'Kill running containers',
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  options: {
    signal: { type: 'string', short: 's', value: 'signal', complete: 'none', help: 'Send this (default SIGKILL)' },
  },
  args: { min: 1 },
  complete: 'container',
  async run({ args, options, stdout, openStore }) {
    const store = openStore();
    const signal = (options.signal as string | undefined) ?? 'SIGKILL';
    return await forEachName(args, stdout, (name) => killByName(store, name, signal));
  },
};
