import { ImagoError } from '../core/errors.ts';
import { nearest } from '../core/suggest.ts';
import type { Command, OptionSpec, OptionValues } from './command.ts';

/** Docker's exit status for a flag that it cannot take; a wrong number of arguments ends with 1. */
const BAD_FLAG_STATUS = 125;

export interface ParsedArguments {
  options: OptionValues;
  args: string[];
  /** `--help` or `-h` stood among the flags; limits were not checked then. */
  help: boolean;
}

/**
 * Parses flags as Docker's pflag does: `--name value`, `--name=value`, `-n value`, `-nvalue`, `-n=value`, `-it` for
 * `-i -t`, `--flag=false`, `--` ends the flags. A value may begin with a dash. The last of a repeated flag counts
 * unless it is `multiple`. Written by hand because node:util's parseArgs neither stops at the first positional
 * argument nor knows `--flag=false` and `-n=value`.
 * Throws `UNKNOWN_FLAG`, `FLAG_NEEDS_VALUE`, `BAD_FLAG_VALUE` (status 125) and `BAD_USAGE` (status 1).
 */
export function parseArguments(
  command: Pick<Command, 'name' | 'options' | 'args' | 'stopAtPositional' | 'usage'>,
  words: readonly string[],
): ParsedArguments {
  const parsed = parseFlags(command.options, words, {
    name: `imago ${command.name}`,
    stopAtPositional: command.stopAtPositional === true,
  });
  if (!parsed.help) checkCount(command, parsed.args.length);
  return parsed;
}

/** Parses flags alone. `name` is what the hint at `--help` calls the command. */
export function parseFlags(
  specs: Record<string, OptionSpec>,
  words: readonly string[],
  { name, stopAtPositional }: { name: string; stopAtPositional: boolean },
): ParsedArguments {
  const parser = new FlagParser(specs, words, name);
  while (parser.at < words.length) {
    const word = words[parser.at++]!;
    if (word === '--') {
      parser.args.push(...words.slice(parser.at));
      break;
    }
    if (word.startsWith('--')) parser.takeLong(word);
    else if (word.startsWith('-') && word !== '-') parser.takeShort(word);
    else {
      parser.args.push(word);
      if (stopAtPositional) {
        parser.args.push(...words.slice(parser.at));
        break;
      }
    }
  }
  return { options: parser.options, args: parser.args, help: parser.help };
}

class FlagParser {
  readonly options: OptionValues = {};
  readonly args: string[] = [];
  help = false;
  at = 0;
  private readonly specs: Record<string, OptionSpec>;
  private readonly words: readonly string[];
  private readonly name: string;
  private readonly shorts = new Map<string, string>();

  constructor(specs: Record<string, OptionSpec>, words: readonly string[], name: string) {
    this.specs = specs;
    this.words = words;
    this.name = name;
    for (const [long, spec] of Object.entries(specs)) {
      if (spec.short !== undefined) this.shorts.set(spec.short, long);
      if (spec.multiple) this.options[long] = [];
    }
  }

  takeLong(word: string): void {
    const equals = word.indexOf('=');
    const long = equals < 0 ? word.slice(2) : word.slice(2, equals);
    const inline = equals < 0 ? undefined : word.slice(equals + 1);
    const spec = Object.hasOwn(this.specs, long) ? this.specs[long]! : undefined;
    if (spec === undefined) {
      if (long === 'help') {
        this.help = true;
        return;
      }
      const near = nearest(long, visibleNames(this.specs));
      throw this.error('UNKNOWN_FLAG', `unknown flag: --${long}`, near && `did you mean --${near}?`);
    }
    if (spec.type === 'boolean') this.set(long, inline === undefined ? true : this.parseBoolean(long, inline));
    else if (inline !== undefined) this.set(long, inline);
    else if (this.at < this.words.length) this.set(long, this.words[this.at++]!);
    else throw this.error('FLAG_NEEDS_VALUE', `flag needs an argument: --${long}`);
  }

  takeShort(word: string): void {
    for (let i = 1; i < word.length; i++) {
      const letter = word[i]!;
      const long = this.shorts.get(letter);
      if (long === undefined) {
        if (letter !== 'h') throw this.error('UNKNOWN_FLAG', `unknown shorthand flag: '${letter}' in ${word}`);
        this.help = true;
        continue;
      }
      const rest = word.slice(i + 1);
      const inline = rest.startsWith('=') ? rest.slice(1) : undefined;
      if (this.specs[long]!.type === 'boolean') {
        this.set(long, inline === undefined ? true : this.parseBoolean(long, inline));
        if (inline !== undefined) return;
        continue;
      }
      if (rest !== '') this.set(long, inline ?? rest);
      else if (this.at < this.words.length) this.set(long, this.words[this.at++]!);
      else throw this.error('FLAG_NEEDS_VALUE', `flag needs an argument: '${letter}' in ${word}`);
      return;
    }
  }

  private set(long: string, value: string | boolean): void {
    if (this.specs[long]!.multiple) (this.options[long] as string[]).push(String(value));
    else this.options[long] = value;
  }

  /** The spellings of Go's strconv.ParseBool. */
  private parseBoolean(long: string, text: string): boolean {
    if (/^(?:1|t|T|true|TRUE|True)$/.test(text)) return true;
    if (/^(?:0|f|F|false|FALSE|False)$/.test(text)) return false;
    throw this.error('BAD_FLAG_VALUE', `invalid argument ${JSON.stringify(text)} for --${long}: wanted true or false`);
  }

  private error(code: string, summary: string, suggestion?: string): ImagoError {
    const hint = `See '${this.name} --help'.`;
    return new ImagoError(code, suggestion ? `${summary}: ${suggestion}\n${hint}` : `${summary}\n${hint}`, {
      exitCode: BAD_FLAG_STATUS,
    });
  }
}

function visibleNames(specs: Record<string, OptionSpec>): string[] {
  return Object.keys(specs).filter((name) => !specs[name]!.hidden);
}

function checkCount(command: Pick<Command, 'name' | 'args' | 'usage'>, count: number): void {
  const { min, max } = command.args;
  if (count >= min && (max === undefined || count <= max)) return;
  let wants: string;
  if (max === 0) wants = 'accepts no arguments';
  else if (min === max) wants = `requires ${min === 1 ? 'exactly 1 argument' : `exactly ${min} arguments`}`;
  else if (count < min) wants = `requires at least ${min === 1 ? '1 argument' : `${min} arguments`}`;
  else wants = `accepts at most ${max === 1 ? '1 argument' : `${max} arguments`}`;
  const name = `imago ${command.name}`;
  throw new ImagoError('BAD_USAGE', `'${name}' ${wants}\n\nUsage:  ${name} ${command.usage}\n\nSee '${name} --help'.`);
}
