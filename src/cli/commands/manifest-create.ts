import { createList } from '../../transfer/manifest-create.ts';
import { INSECURE, parseAnnotations, registryOptions } from '../client-options.ts';
import type { Command } from '../command.ts';

export const command: Command = {
  name: 'manifest create',
  summary: 'Make a list of manifests, for an image of several platforms',
  usage: '[OPTIONS] LIST MANIFEST [MANIFEST...]',
  description:
    'A manifest is an image that is here, or else in its registry (docker://NAME: there in any case). An index gives all that it has. The list is kept here until it is pushed.',
  options: {
    amend: { type: 'boolean', short: 'a', help: 'Add to a list that is there already' },
    annotation: {
      type: 'string',
      multiple: true,
      value: 'key=value',
      complete: 'none',
      help: 'Annotate the list',
    },
    insecure: INSECURE,
  },
  args: { min: 2 },
  complete: 'image',
  async run(context) {
    const { args, options, stdout } = context;
    const { reference } = await createList(context.openStore(), args[0]!, args.slice(1), {
      amend: options.amend === true,
      annotations: parseAnnotations(options.annotation as string[]),
      ...registryOptions(context),
    });
    stdout.write(`Created manifest list ${reference}\n`);
    return 0;
  },
};
