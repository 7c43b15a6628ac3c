import { logOut } from '../../transfer/login.ts';
import type { Command } from '../command.ts';

export const command: Command = {
  name: 'logout',
  summary: 'Log out from a registry',
  usage: '[SERVER]',
  description: 'Forgets the credentials. Without SERVER the registry is Docker Hub.',
  options: {},
  args: { min: 0, max: 1 },
  complete: 'none',
  async run({ args, stdout }) {
    const { registry, removed } = await logOut(args[0]);
    stdout.write(removed ? `Removing login credentials for ${registry}\n` : `Not logged in to ${registry}\n`);
    return 0;
  },
};
