import { ImagoError } from '../core/errors.ts';
import { imagoVersion } from '../system/version.ts';
import { parseArguments, parseFlags } from './args.ts';
import { createContext, flushOutput, signalStatus, standardOutput } from './context.ts';
import { reportError } from './failure.ts';
import { formatCommandHelp, formatGroupHelp, formatTopHelp, GLOBAL_OPTIONS } from './help.ts';
import { findCommand, listGroup, suggestCommand } from './lookup.ts';
import { keepOwnersRights } from './umask.ts';

interface GlobalOptions {
  root?: string | undefined;
  run?: string | undefined;
}

/** The program: runs `imago WORDS` and ends the process with its status. */
export async function start(words: readonly string[]): Promise<void> {
  keepOwnersRights();
  const status = await main(words);
  await flushOutput();
  process.exit(status);
}

/** One run of `imago WORDS`. Returns the exit status; errors are printed, not thrown. */
export async function main(words: readonly string[]): Promise<number> {
  try {
    const { options, args, help } = parseFlags(GLOBAL_OPTIONS, words, { name: 'imago', stopAtPositional: true });
    if (options.debug === true) process.env.IMAGO_DEBUG = '1';
    const global: GlobalOptions = {
      root: options.root as string | undefined,
      run: options.run as string | undefined,
    };
    if (options.version === true) return print(`imago version ${imagoVersion()}\n`);
    if (args.length === 0 || help) return await showHelp(help ? args : [], global);
    if (args[0] === 'help') return await showHelp(args.slice(1), global);
    return await runCommand(args, global);
  } catch (error) {
    return fail(error);
  }
}

async function runCommand(words: readonly string[], global: GlobalOptions): Promise<number> {
  const found = findCommand(words);
  if (found === undefined) return showGroup(words);
  const { command } = await found.entry.load();
  const parsed = parseArguments(command, found.rest);
  if (parsed.help) return print(formatCommandHelp(command, found.entry.aliases));
  try {
    const status = await command.run(createContext(parsed, global));
    return signalStatus() ?? status;
  } catch (error) {
    return fail(error, command.failureStatus);
  }
}

async function showHelp(words: readonly string[], global: GlobalOptions): Promise<number> {
  if (words.length === 0) return print(formatTopHelp());
  const found = findCommand(words);
  if (found === undefined) return showGroup(words);
  return await runCommand([...found.name.split(' '), '--help'], global);
}

/** The first word is no command: one that groups some, or a mistake. */
function showGroup(words: readonly string[]): number {
  const [group, word] = words as [string, string | undefined];
  const members = listGroup(group);
  if (members.length === 0) {
    const near = suggestCommand(group);
    const hint = near === undefined ? '' : ` Did you mean '${near}'?`;
    throw new ImagoError('UNKNOWN_COMMAND', `'${group}' is not an imago command.${hint}\nSee 'imago --help'.`);
  }
  if (word === undefined || word === '--help' || word === '-h') return print(formatGroupHelp(group, members));
  throw new ImagoError('UNKNOWN_COMMAND', `'${group} ${word}' is not an imago command.\nSee 'imago ${group} --help'.`);
}

function print(text: string): number {
  standardOutput().write(text);
  return 0;
}

function fail(error: unknown, status?: number): number {
  // What a command gave up because of a signal needs no words: the user sent it.
  return signalStatus() ?? reportError(error, status);
}

if (import.meta.main) await start(process.argv.slice(2));
