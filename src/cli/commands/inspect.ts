import { isImagoError } from '../../core/errors.ts';
import { inspectImage } from '../../engine/inspect.ts';
import type { Store } from '../../store/store.ts';
import type { Command } from '../command.ts';
import { printValue } from '../format.ts';

export const command: Command = {
  name: 'inspect',
  summary: 'Show all that is known of containers and images, as JSON',
  usage: '[OPTIONS] NAME|ID [NAME|ID...]',
  options: {
    format: { type: 'string', short: 'f', help: "Print as 'json' or by a Go template" },
    type: { type: 'string', value: 'kind', complete: ['container', 'image'], help: "Only a 'container' or an 'image'" },
  },
  args: { min: 1 },
  complete: 'image',
  run({ args, options, stdout, stderr, openStore }) {
    const store = openStore();
    const format = options.format as string | undefined;
    const found: unknown[] = [];
    let status = 0;
    for (const name of args) {
      const value = inspectAny(store, name);
      if (value === undefined) {
        stderr.write(`Error: No such object: ${name}\n`);
        status = 1;
      } else if (format === undefined) found.push(value);
      else printValue(stdout, value, format);
    }
    if (format === undefined) stdout.write(`${JSON.stringify(found, undefined, 4)}\n`);
    return status;
  },
};

function inspectAny(store: Store, name: string): unknown {
  try {
    return inspectImage(store, name);
  } catch (error) {
    if (isImagoError(error, 'IMAGE_NOT_FOUND') || isImagoError(error, 'BAD_REFERENCE')) return undefined;
    throw error;
  }
}
