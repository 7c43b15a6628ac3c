import { inspectInList, inspectManifest, inspectManifestVerbose } from '../../transfer/manifest-inspect.ts';
import { INSECURE, registryOptions } from '../client-options.ts';
import type { Command } from '../command.ts';

export const command: Command = {
  name: 'manifest inspect',
  summary: 'Show a list of manifests, or a manifest in a registry',
  usage: '[OPTIONS] [LIST] MANIFEST',
  options: {
    insecure: INSECURE,
    verbose: { type: 'boolean', short: 'v', help: 'Show each manifest of an index with its contents' },
  },
  args: { min: 1, max: 2 },
  complete: 'image',
  async run(context) {
    const { args, options, stdout } = context;
    const [first, second] = args as [string, string | undefined];
    const client = registryOptions(context);
    const inspect = options.verbose === true ? inspectManifestVerbose : inspectManifest;
    const found =
      second === undefined
        ? await inspect(context.openStore(), first, client)
        : await inspectInList(context.openStore(), first, second, client);
    stdout.write(`${JSON.stringify(found, undefined, '\t')}\n`);
    return 0;
  },
};
