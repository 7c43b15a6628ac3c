import { commitByName } from '../../engine/commit.ts';
import type { Command } from '../command.ts';

export const command: Command = {
  name: 'commit',
  summary: "Make an image of a container's changes",
  usage: '[OPTIONS] CONTAINER [REPOSITORY[:TAG]]',
  options: {
    author: { type: 'string', short: 'a', complete: 'none', help: 'Author ("Ann <ann@example.org>")' },
    change: {
      type: 'string',
      short: 'c',
      multiple: true,
      value: 'instruction',
      complete: 'none',
      help: 'Apply a Dockerfile instruction (CMD, ENV, USER, …)',
    },
    message: { type: 'string', short: 'm', complete: 'none', help: 'Say what it is' },
    pause: { type: 'boolean', short: 'p', help: 'Hold the container meanwhile (default; --pause=false does not)' },
  },
  args: { min: 1, max: 2 },
  complete: ['container', 'image'],
  async run({ args, options, stdout, openStore }) {
    const id = await commitByName(openStore(), args[0]!, {
      reference: args[1],
      author: options.author as string | undefined,
      message: options.message as string | undefined,
      changes: options.change as string[],
      pause: options.pause !== false,
    });
    stdout.write(`${id}\n`);
    return 0;
  },
};
