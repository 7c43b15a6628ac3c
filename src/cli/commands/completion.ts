import { ImagoError } from '../../core/errors.ts';
import type { Command } from '../command.ts';
import { COMPLETION_SCRIPTS } from '../completion-scripts.ts';

export const command: Command = {
  name: 'completion',
  summary: 'Print the completion script for bash, zsh or fish',
  usage: 'SHELL',
  description: 'For the current shell: source <(imago completion bash)',
  options: {},
  args: { min: 1, max: 1 },
  complete: Object.keys(COMPLETION_SCRIPTS),
  run({ args: [shell], stdout }) {
    if (shell !== 'bash' && shell !== 'zsh' && shell !== 'fish') {
      throw new ImagoError('UNKNOWN_SHELL', 'no completion for this shell', {
        want: 'bash, zsh or fish',
        got: JSON.stringify(shell),
      });
    }
    stdout.write(COMPLETION_SCRIPTS[shell]);
    return 0;
  },
};
