import { annotateList } from '../../transfer/manifest-annotate.ts';
import { parseAnnotations } from '../client-options.ts';
import type { Command } from '../command.ts';

export const command: Command = {
  name: 'manifest annotate',
  summary: 'Change what a list of manifests says of one of them',
  usage: '[OPTIONS] LIST MANIFEST',
  description: 'MANIFEST is the name it was put in with, or its digest.',
  options: {
    annotation: {
      type: 'string',
      multiple: true,
      value: 'key=value',
      complete: 'none',
      help: 'Annotate the manifest',
    },
    arch: { type: 'string', value: 'name', complete: 'none', help: 'Architecture' },
    os: { type: 'string', value: 'name', complete: 'none', help: 'Operating system' },
    'os-features': { type: 'string', multiple: true, complete: 'none', help: 'Features of the operating system' },
    'os-version': { type: 'string', value: 'version', complete: 'none', help: 'Version of the operating system' },
    variant: { type: 'string', value: 'name', complete: 'none', help: 'Variant of the architecture' },
  },
  args: { min: 2, max: 2 },
  complete: 'image',
  run({ args, options, openStore }) {
    annotateList(openStore(), args[0]!, args[1]!, {
      annotations: parseAnnotations(options.annotation as string[]),
      architecture: options.arch as string | undefined,
      os: options.os as string | undefined,
      osFeatures: (options['os-features'] as string[]).flatMap((text) => text.split(',')),
      osVersion: options['os-version'] as string | undefined,
      variant: options.variant as string | undefined,
    });
    return 0;
  },
};
