import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseArguments } from '../../src/cli/args.ts';
import type { OptionSpec } from '../../src/cli/command.ts';
import { isImagoError } from '../../src/core/errors.ts';

const options: Record<string, OptionSpec> = {
  rm: { type: 'boolean', help: '' },
  interactive: { type: 'boolean', short: 'i', help: '' },
  tty: { type: 'boolean', short: 't', help: '' },
  env: { type: 'string', short: 'e', multiple: true, help: '' },
  name: { type: 'string', help: '' },
  workdir: { type: 'string', short: 'w', help: '' },
  'no-trunc': { type: 'boolean', help: '' },
  secret: { type: 'boolean', hidden: true, help: '' },
};
const run = {
  name: 'run',
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  options,
  args: { min: 1 },
  stopAtPositional: true,
};
const list = { name: 'images', usage: '[OPTIONS] [IMAGE]', options, args: { min: 0, max: 1 } };

describe('flags', () => {
  const cases: [words: string[], options: object, args: string[]][] = [
    [['debian'], { env: [] }, ['debian']],
    [['--rm', 'debian', '--rm'], { env: [], rm: true }, ['debian', '--rm']],
    [['-it', 'x'], { env: [], interactive: true, tty: true }, ['x']],
    [['-i', '-t=false', 'x'], { env: [], interactive: true, tty: false }, ['x']],
    [['--rm=false', '--rm=1', 'x'], { env: [], rm: true }, ['x']],
    [
      ['-e', 'A=1', '-eB=2', '-e=C=3', '--env', 'D', '--env=E=5', 'x'],
      { env: ['A=1', 'B=2', 'C=3', 'D', 'E=5'] },
      ['x'],
    ],
    [['-itw', '/tmp', 'x'], { env: [], interactive: true, tty: true, workdir: '/tmp' }, ['x']],
    [['-itw/tmp', 'x'], { env: [], interactive: true, tty: true, workdir: '/tmp' }, ['x']],
    [['--name=', 'x'], { env: [], name: '' }, ['x']],
    [['--name=a=b', 'x'], { env: [], name: 'a=b' }, ['x']],
    [['--name', '--rm', 'x'], { env: [], name: '--rm' }, ['x']],
    [['--name', 'a', '--name', 'b', 'x'], { env: [], name: 'b' }, ['x']],
    [['--no-trunc', '-', 'x'], { env: [], 'no-trunc': true }, ['-', 'x']],
    [['--', '--rm', 'x'], { env: [] }, ['--rm', 'x']],
    [['x', '--', 'y'], { env: [] }, ['x', '--', 'y']],
    [['x', '-e', 'A'], { env: [] }, ['x', '-e', 'A']],
  ];
  for (const [words, wanted, args] of cases) {
    test(words.join(' '), () => {
      assert.deepEqual(parseArguments(run, words), { options: wanted, args, help: false });
    });
  }

  test('flags may follow arguments where the command does not stop at them', () => {
    assert.deepEqual(parseArguments(list, ['x', '--rm']), { options: { env: [], rm: true }, args: ['x'], help: false });
  });

  test('a flag called like a property of every object is unknown', () => {
    assert.throws(() => parseArguments(run, ['--constructor', 'x']), /unknown flag: --constructor/);
  });

  test('--help and -h are told, whatever else is missing', () => {
    for (const words of [['--help'], ['-h'], ['-ih'], ['--rm', '--help']]) {
      assert.equal(parseArguments(run, words).help, true);
    }
    assert.equal(parseArguments(run, ['x', '--help']).help, false);
  });
});

describe('mistakes', () => {
  const cases: [words: string[], code: string, status: number | undefined, message: string][] = [
    [['--naem', 'x', 'y'], 'UNKNOWN_FLAG', 125, "unknown flag: --naem: did you mean --name?\nSee 'imago run --help'."],
    [['--frobnicate'], 'UNKNOWN_FLAG', 125, "unknown flag: --frobnicate\nSee 'imago run --help'."],
    [['--secrte', 'x'], 'UNKNOWN_FLAG', 125, "unknown flag: --secrte\nSee 'imago run --help'."],
    [['-iZ', 'x'], 'UNKNOWN_FLAG', 125, "unknown shorthand flag: 'Z' in -iZ\nSee 'imago run --help'."],
    [['--name'], 'FLAG_NEEDS_VALUE', 125, "flag needs an argument: --name\nSee 'imago run --help'."],
    [['-e'], 'FLAG_NEEDS_VALUE', 125, "flag needs an argument: 'e' in -e\nSee 'imago run --help'."],
    [
      ['--rm=yes', 'x'],
      'BAD_FLAG_VALUE',
      125,
      'invalid argument "yes" for --rm: wanted true or false\nSee \'imago run --help\'.',
    ],
    [
      ['--rm'],
      'BAD_USAGE',
      undefined,
      "'imago run' requires at least 1 argument\n\nUsage:  imago run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nSee 'imago run --help'.",
    ],
  ];
  for (const [words, code, exitCode, message] of cases) {
    test(words.join(' '), () => {
      assert.throws(
        () => parseArguments(run, words),
        (error) => isImagoError(error, code) && error.details.exitCode === exitCode && error.message === message,
      );
    });
  }

  const counts: [{ min: number; max?: number }, number, string][] = [
    [{ min: 0, max: 0 }, 1, 'accepts no arguments'],
    [{ min: 1, max: 1 }, 0, 'requires exactly 1 argument'],
    [{ min: 2, max: 2 }, 3, 'requires exactly 2 arguments'],
    [{ min: 2 }, 1, 'requires at least 2 arguments'],
    [{ min: 0, max: 1 }, 2, 'accepts at most 1 argument'],
  ];
  for (const [args, count, wants] of counts) {
    test(`${count} arguments where ${args.min} to ${args.max ?? 'any'} are due: ${wants}`, () => {
      assert.throws(
        () =>
          parseArguments(
            { ...list, args },
            Array.from({ length: count }, () => 'x'),
          ),
        (error) => isImagoError(error, 'BAD_USAGE') && error.message.startsWith(`'imago images' ${wants}\n`),
      );
    });
  }
});
