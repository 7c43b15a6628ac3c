import type { Store } from '../store/store.ts';

/** One flag of a command, keyed by its long name without the dashes. */
export interface OptionSpec {
  /** A boolean takes no value but `--flag=false`; a string takes the rest of its word or the next one. */
  type: 'boolean' | 'string';
  /** One letter. */
  short?: string;
  /** May be given again: the option is then always an array, empty where it was not given. */
  multiple?: boolean;
  /** Placeholder of the value in the help (default 'string', 'list' where multiple). */
  value?: string;
  help: string;
  hidden?: boolean;
  /** What the shell completes the value with: names that Imago knows, files (the default), or these words. */
  complete?: Completion;
}

export type Completion = 'image' | 'container' | 'file' | 'none' | readonly string[];

export type OptionValues = Record<string, string | boolean | string[] | undefined>;

/** What a command gets. The streams are made on first use: a command that prints nothing does not pay for them. */
export interface CommandContext {
  /** Positional arguments, within the command's `args` limits. */
  args: string[];
  options: OptionValues;
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly stdin: NodeJS.ReadStream;
  /**
   * Aborted by the first SIGINT or SIGTERM; a second one ends the process at once. Until a command reads this field
   * both signals simply kill it, so only those read it that have something to undo.
   */
  readonly signal: AbortSignal;
  /** The store of `--root` and `--run`. Opened once, cheap. */
  openStore(): Store;
}

/** One command: parsing is the framework's, `run` does nothing but call the engine and print. */
export interface Command {
  name: string;
  /** One line without a full stop. */
  summary: string;
  /** What follows the name: '[OPTIONS] IMAGE [COMMAND] [ARG...]'. */
  usage: string;
  /** More lines for the help, below the summary. */
  description?: string;
  options: Record<string, OptionSpec>;
  /** How many positional arguments; no `max` is no limit. */
  args: { min: number; max?: number };
  /** Flags end at the first positional argument: what follows belongs to the command in the container. */
  stopAtPositional?: boolean;
  /** What the shell completes positional arguments with; nothing by default. */
  complete?: Completion;
  /** Exit status of errors that bring none of their own (default 1; `run` has Docker's 125). */
  failureStatus?: number;
  /** Returns the exit status. Throw `ImagoError` for anything that failed. */
  run(context: CommandContext): number | Promise<number>;
}
