import { parseDuration } from './duration.ts';
import { DockerfileError, withSuggestion } from './errors.ts';
import { type Flags, parseFlags } from './flags.ts';
import type { Healthcheck } from './instruction.ts';
import { findWord } from './position.ts';
import type { RawInstruction } from './raw.ts';

const MILLISECOND = 1e6;

export function parseHealthcheck(raw: RawInstruction): Healthcheck {
  const [word, ...args] = raw.args;
  if (word === undefined) throw wrong(raw, 'HEALTHCHECK requires at least one argument', raw.keyword);
  const flags = parseFlags(raw, {
    interval: 'string',
    timeout: 'string',
    'start-period': 'string',
    'start-interval': 'string',
    retries: 'string',
  });
  const kind = word.toUpperCase();
  if (kind === 'NONE') {
    if (args.length > 0) throw wrong(raw, 'HEALTHCHECK NONE takes no arguments', args[0]!);
    return { test: ['NONE'] };
  }
  if (kind !== 'CMD') {
    const problem = `Unknown type ${JSON.stringify(kind)} in HEALTHCHECK (try CMD)`;
    throw wrong(raw, withSuggestion(problem, kind, ['CMD', 'NONE']), word);
  }
  if (args.length === 0) throw wrong(raw, 'Missing command after HEALTHCHECK CMD', word);
  return {
    test: [raw.json ? 'CMD' : 'CMD-SHELL', ...args],
    interval: interval(raw, flags, 'interval'),
    timeout: interval(raw, flags, 'timeout'),
    startPeriod: interval(raw, flags, 'start-period'),
    startInterval: interval(raw, flags, 'start-interval'),
    retries: retries(raw, flags),
  };
}

function interval(raw: RawInstruction, flags: Flags, name: string): number | undefined {
  const text = flags.string(name);
  if (text === undefined || text === '') return undefined;
  const value = parseDuration(text);
  if (value === undefined) {
    throw wrong(raw, `invalid duration ${JSON.stringify(text)} of --${name}: wanted one as 30s or 1m30s`, text);
  }
  if (value !== 0 && value < MILLISECOND) throw wrong(raw, `--${name} cannot be less than 1ms`, text);
  return value === 0 ? undefined : value;
}

function retries(raw: RawInstruction, flags: Flags): number | undefined {
  const text = flags.string('retries');
  if (text === undefined || text === '') return undefined;
  if (!/^-?\d+$/.test(text)) throw wrong(raw, `--retries: wanted a number, got ${JSON.stringify(text)}`, text);
  const value = Number(text);
  if (value < 0) throw wrong(raw, `--retries cannot be negative (${value})`, text);
  return value === 0 ? undefined : value;
}

function wrong(raw: RawInstruction, problem: string, word: string): DockerfileError {
  return new DockerfileError(problem, raw, undefined, findWord(raw, word));
}
