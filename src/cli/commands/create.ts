import { createByName } from '../../engine/containers.ts';
import type { Command } from '../command.ts';
import { CREATE_OPTIONS, readCreateOptions } from '../container-options.ts';

export const command: Command = {
  name: 'create',
  summary: 'Make a container without starting it',
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  options: CREATE_OPTIONS,
  args: { min: 1 },
  stopAtPositional: true,
  complete: 'image',
  failureStatus: 125,
  run({ args, options, stdout, openStore }) {
    stdout.write(`${createByName(openStore(), readCreateOptions(args, options))}\n`);
    return 0;
  },
};
