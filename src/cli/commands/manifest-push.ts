import { pushList } from '../../transfer/manifest-push.ts';
import { INSECURE, registryOptions } from '../client-options.ts';
import type { Command } from '../command.ts';

export const command: Command = {
  name: 'manifest push',
  summary: 'Push a list of manifests, with those that its repository lacks',
  usage: '[OPTIONS] LIST',
  options: {
    insecure: INSECURE,
    purge: { type: 'boolean', short: 'p', help: 'Remove the list here once it is pushed' },
  },
  args: { min: 1, max: 1 },
  complete: 'image',
  async run(context) {
    const { args, options, stdout } = context;
    const { digest } = await pushList(context.openStore(), args[0]!, {
      purge: options.purge === true,
      onManifest: (name, pushed) => stdout.write(`Pushed ref ${name} with digest: ${pushed}\n`),
      ...registryOptions(context),
    });
    stdout.write(`${digest}\n`);
    return 0;
  },
};
