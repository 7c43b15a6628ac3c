import type { Command } from './command.ts';

type CommandGroup = 'common' | 'containers' | 'images' | 'system' | 'hidden';

/** What the top-level help, the dispatcher and the shell know of a command without loading it. */
export interface RegistryEntry {
  /** The same line as the command's own `summary`; a test compares them. */
  summary: string;
  /** Where the top-level help shows it. */
  group: CommandGroup;
  aliases?: readonly string[];
  load: () => Promise<{ readonly command: Command }>;
}

/** Every command by its name, in the order of the help; two words for a subcommand. One dynamic import = one chunk. */
export const registry: Readonly<Record<string, RegistryEntry>> = {
  version: {
    summary: 'Show the versions of Imago and of what it runs on',
    group: 'system',
    load: () => import('./commands/version.ts'),
  },
  completion: {
    summary: 'Print the completion script for bash, zsh or fish',
    group: 'system',
    load: () => import('./commands/completion.ts'),
  },
  __complete: {
    summary: 'Print what may stand at the end of a command line',
    group: 'hidden',
    load: () => import('./commands/complete.ts'),
  },
};
