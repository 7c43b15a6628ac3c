import { removeList } from '../../transfer/manifest-list.ts';
import type { Command } from '../command.ts';
import { reportError } from '../failure.ts';

export const command: Command = {
  name: 'manifest rm',
  summary: 'Remove lists of manifests that are kept here',
  usage: 'LIST [LIST...]',
  options: {},
  args: { min: 1 },
  complete: 'image',
  async run({ args, openStore }) {
    const store = openStore();
    let status = 0;
    for (const name of args) {
      try {
        await removeList(store, name);
      } catch (error) {
        status = reportError(error);
      }
    }
    return status;
  },
};
