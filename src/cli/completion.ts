import type { Command, Completion, OptionSpec } from './command.ts';
import { GLOBAL_OPTIONS } from './help.ts';
import { findCommand, firstWords, listGroup } from './lookup.ts';
import { registry } from './registry.ts';

/** What the shell is to offer: words with an optional description, or the names of files. */
export type Candidates = { words: readonly (readonly [word: string, about: string])[] } | { files: true };

/** Names that only the store knows. */
export interface NameSource {
  images(): readonly string[];
  containers(): readonly string[];
}

/**
 * What may stand at the cursor. `words` are those after `imago`, the last one (maybe empty) being typed.
 * What is offered begins with that word.
 */
export async function completeWords(words: readonly string[], names: NameSource): Promise<Candidates> {
  const typed = words.at(-1) ?? '';
  const before = skipGlobalOptions(words.slice(0, -1));
  if (before === undefined) return { files: true };
  if (before.length === 0 || before[0] === 'help') {
    const offered = typed.startsWith('-')
      ? flagWords(GLOBAL_OPTIONS, typed)
      : [...commandWords(), ['help', 'Show the help of a command'] as const];
    return startingWith(typed, offered);
  }
  const found = findCommand(before);
  if (found === undefined) return startingWith(typed, before.length === 1 ? listGroup(before[0]!) : []);
  const { command } = await found.entry.load();
  return completeArguments(command, found.rest, typed, names);
}

function completeArguments(command: Command, before: readonly string[], typed: string, names: NameSource): Candidates {
  let positionals = 0;
  let flagsEnded = false;
  for (let i = 0; i < before.length; i++) {
    const word = before[i]!;
    if (flagsEnded || !word.startsWith('-') || word === '-') {
      positionals++;
      flagsEnded ||= command.stopAtPositional === true;
    } else if (word === '--') flagsEnded = true;
    else {
      const spec = valueOption(command.options, word);
      if (spec === undefined) continue;
      if (i === before.length - 1) return offer(spec.complete ?? 'file', typed, names);
      i++;
    }
  }
  if (!flagsEnded && typed.startsWith('-')) {
    const equals = typed.indexOf('=');
    if (equals < 0) return startingWith(typed, flagWords(command.options, typed));
    const spec = command.options[typed.slice(2, equals)];
    return spec?.type === 'string'
      ? offer(spec.complete ?? 'file', typed, names, typed.slice(0, equals + 1))
      : { words: [] };
  }
  if (command.args.max !== undefined && positionals >= command.args.max) return { words: [] };
  // After `run IMAGE` comes a command inside the image, which is not ours to know.
  if (command.complete === undefined || (command.stopAtPositional && positionals > 0)) return { words: [] };
  return offer(command.complete, typed, names);
}

function offer(kind: Completion, typed: string, names: NameSource, prefix = ''): Candidates {
  if (kind === 'file') return { files: true };
  if (kind === 'none') return { words: [] };
  const list = kind === 'image' ? names.images() : kind === 'container' ? names.containers() : kind;
  return startingWith(
    typed,
    list.map((word) => [prefix + word, ''] as const),
  );
}

/** The option whose value is the next word: `--name`, `-e`, `-ite`; undefined where this word needs none. */
function valueOption(options: Record<string, OptionSpec>, word: string): OptionSpec | undefined {
  if (word.startsWith('--')) {
    const spec = options[word.slice(2)];
    return spec?.type === 'string' ? spec : undefined;
  }
  for (let i = 1; i < word.length; i++) {
    const spec = Object.values(options).find(({ short }) => short === word[i]);
    if (spec?.type === 'string') return i === word.length - 1 ? spec : undefined;
  }
  return undefined;
}

/** The words from the command on; undefined where the word before the cursor wants a directory. */
function skipGlobalOptions(words: readonly string[]): readonly string[] | undefined {
  let i = 0;
  while (i < words.length && words[i]!.startsWith('-')) {
    const takesValue = valueOption(GLOBAL_OPTIONS, words[i]!) !== undefined;
    if (takesValue && i === words.length - 1) return undefined;
    i += takesValue ? 2 : 1;
  }
  return words.slice(i);
}

function commandWords(): (readonly [string, string])[] {
  return firstWords().map((word) => [word, registry[word]?.summary ?? ''] as const);
}

function flagWords(options: Record<string, OptionSpec>, typed: string): (readonly [string, string])[] {
  const words: (readonly [string, string])[] = [];
  for (const [name, spec] of Object.entries(options)) {
    if (spec.hidden) continue;
    if (spec.short !== undefined && typed.length === 1) words.push([`-${spec.short}`, spec.help]);
    words.push([`--${name}`, spec.help]);
  }
  return [...words, ['--help', 'Show the help of the command']];
}

function startingWith(typed: string, words: readonly (readonly [string, string])[]): Candidates {
  return { words: words.filter(([word]) => word.startsWith(typed)) };
}
