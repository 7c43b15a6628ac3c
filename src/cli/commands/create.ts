import { createByName } from '../../engine/containers.ts';
import type { Command } from '../command.ts';
import { CREATE_OPTIONS, readCreateOptions, readImageWish } from '../container-options.ts';

export const command: Command = {
  name: 'create',
  summary: 'Make a container without starting it',
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  options: CREATE_OPTIONS,
  args: { min: 1 },
  stopAtPositional: true,
  complete: 'image',
  failureStatus: 125,
  async run(context) {
    const create = { ...readCreateOptions(context.args, context.options), ...readImageWish(context) };
    context.stdout.write(`${await createByName(context.openStore(), create)}\n`);
    return 0;
  },
};
