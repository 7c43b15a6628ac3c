import { isatty } from 'node:tty';
import { ImagoError } from '../../core/errors.ts';
import { execByName } from '../../engine/exec.ts';
import type { Command } from '../command.ts';
import { checkVariable, readEnvFile, readWorkdir } from '../container-options.ts';

export const command: Command = {
  name: 'exec',
  summary: 'Run one more command in a running container',
  usage: '[OPTIONS] CONTAINER COMMAND [ARG...]',
  options: {
    detach: { type: 'boolean', short: 'd', help: 'Run it in the background' },
    env: { type: 'string', short: 'e', multiple: true, help: 'Set a variable (NAME=value, or NAME for your own)' },
    'env-file': { type: 'string', multiple: true, value: 'file', help: 'Read variables from a file' },
    interactive: { type: 'boolean', short: 'i', help: 'Keep standard input open' },
    tty: { type: 'boolean', short: 't', help: 'Give it a terminal' },
    user: { type: 'string', short: 'u', value: 'user', complete: 'none', help: 'User or ID, and group (USER[:GROUP])' },
    workdir: {
      type: 'string',
      short: 'w',
      value: 'path',
      complete: 'none',
      help: 'Working directory in the container',
    },
  },
  args: { min: 2 },
  stopAtPositional: true,
  complete: 'container',
  failureStatus: 125,
  async run({ args, options, openStore }) {
    const terminal = options.tty === true;
    if (terminal && options.detach !== true && !isatty(0)) {
      throw new ImagoError('NOT_A_TERMINAL', 'the input device is not a TTY', {
        remedy: 'leave out -t, or run it in a terminal',
        exitCode: 1,
      });
    }
    await execByName(openStore(), args[0]!, {
      args: args.slice(1),
      env: [...(options['env-file'] as string[]).flatMap(readEnvFile), ...(options.env as string[]).map(checkVariable)],
      user: options.user as string | undefined,
      workdir: readWorkdir(options.workdir as string | undefined),
      terminal,
      stdin: options.interactive === true,
      detach: options.detach === true,
    });
    return 0;
  },
};
