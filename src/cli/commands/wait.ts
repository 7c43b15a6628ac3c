import { waitByName } from '../../engine/containers.ts';
import type { Command } from '../command.ts';
import { reportError } from '../failure.ts';

export const command: Command = {
  name: 'wait',
  summary: 'Wait for containers to end, and print their exit statuses',
  usage: 'CONTAINER [CONTAINER...]',
  options: {},
  args: { min: 1 },
  complete: 'container',
  async run({ args, stdout, openStore }) {
    const store = openStore();
    let status = 0;
    for (const name of args) {
      try {
        stdout.write(`${await waitByName(store, name)}\n`);
      } catch (error) {
        reportError(error);
        status = 1;
      }
    }
    return status;
  },
};
