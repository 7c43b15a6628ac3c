import { runContainer } from '../../engine/run.ts';
import type { Command } from '../command.ts';
import { CREATE_OPTIONS, readCreateOptions, readImageWish } from '../container-options.ts';

export const command: Command = {
  name: 'run',
  summary: 'Run a command in a new container',
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  options: {
    ...CREATE_OPTIONS,
    detach: { type: 'boolean', short: 'd', help: 'Run it in the background and print its ID' },
    'detach-keys': { type: 'string', value: 'keys', help: "Leave the container with these (default 'ctrl-p,ctrl-q')" },
  },
  args: { min: 1 },
  stopAtPositional: true,
  complete: 'image',
  failureStatus: 125,
  async run(context) {
    const { options } = context;
    const create = { ...readCreateOptions(context.args, options), ...readImageWish(context) };
    const detach = options.detach === true;
    const { foregroundStreams, endStatus } = await loadForeground(detach || (create.autoRemove && !create.terminal));
    // Before anything is made.
    const streams =
      foregroundStreams === undefined
        ? undefined
        : foregroundStreams(context, {
            terminal: create.terminal === true,
            stdin: create.stdin === true,
            detachKeys: options['detach-keys'] as string | undefined,
          });
    const result = await runContainer(context.openStore(), { ...create, detach }, () => streams!);
    if (result.kind !== 'started') return endStatus!(result);
    context.stdout.write(`${result.id}\n`);
    return 0;
  },
};

/** Streams cost a short command more than their use is worth where it has none. */
async function loadForeground(none: boolean | undefined): Promise<Partial<typeof import('../foreground.ts')>> {
  return none === true ? {} : await import('../foreground.ts');
}
