import { parseDuration } from './duration.ts';
import { DockerfileError, withSuggestion } from './errors.ts';
import { type Flags, parseFlags } from './flags.ts';
import type { Healthcheck } from './instruction.ts';
import type { RawInstruction } from './raw.ts';

const MILLISECOND = 1e6;

export function parseHealthcheck(raw: RawInstruction): Healthcheck {
  const [word, ...args] = raw.args;
  if (word === undefined) throw new DockerfileError('HEALTHCHECK requires at least one argument', raw);
  const flags = parseFlags(raw, {
    interval: 'string',
    timeout: 'string',
    'start-period': 'string',
    'start-interval': 'string',
    retries: 'string',
  });
  const kind = word.toUpperCase();
  if (kind === 'NONE') {
    if (args.length > 0) throw new DockerfileError('HEALTHCHECK NONE takes no arguments', raw);
    return { test: ['NONE'] };
  }
  if (kind !== 'CMD') {
    const problem = `Unknown type ${JSON.stringify(kind)} in HEALTHCHECK (try CMD)`;
    throw new DockerfileError(withSuggestion(problem, kind, ['CMD', 'NONE']), raw);
  }
  if (args.length === 0) throw new DockerfileError('Missing command after HEALTHCHECK CMD', raw);
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
    throw new DockerfileError(`invalid duration ${JSON.stringify(text)} of --${name}: wanted one as 30s or 1m30s`, raw);
  }
  if (value !== 0 && value < MILLISECOND) throw new DockerfileError(`--${name} cannot be less than 1ms`, raw);
  return value === 0 ? undefined : value;
}

function retries(raw: RawInstruction, flags: Flags): number | undefined {
  const text = flags.string('retries');
  if (text === undefined || text === '') return undefined;
  if (!/^-?\d+$/.test(text)) throw new DockerfileError(`--retries: wanted a number, got ${JSON.stringify(text)}`, raw);
  const value = Number(text);
  if (value < 0) throw new DockerfileError(`--retries cannot be negative (${value})`, raw);
  return value === 0 ? undefined : value;
}
