import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type CheckOptions, checkDockerfile } from '../../src/build/checks/checks.ts';
import { ImagoError } from '../../src/core/errors.ts';
import { DockerfileError } from '../../src/formats/dockerfile/errors.ts';
import { expandWord } from '../../src/formats/dockerfile/expand.ts';
import { IgnoreMatcher, parseIgnoreFile } from '../../src/formats/dockerfile/ignore.ts';
import { parseDockerfile } from '../../src/formats/dockerfile/parse.ts';

/** Mulberry32: the same sequence for the same seed. */
function randomSequence(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const PIECES = [
  ...'FROM RUN COPY ADD ENV ARG LABEL CMD ENTRYPOINT ONBUILD HEALTHCHECK WORKDIR USER EXPOSE VOLUME SHELL'.split(' '),
  ...['\n', '\\\n', ' ', '\t', '#', '# escape=`\n', '=', '"', "'", '\\', '$', '${', '}', ':-', ':+', '##', '%%', '//'],
  ...[
    '[',
    ']',
    '["a"]',
    ',',
    '<<E',
    '<<-"E"',
    'E\n',
    '--from=x',
    '--',
    'AS',
    'scratch',
    'a',
    '/x/',
    '*',
    '**',
    '?',
    '!',
  ],
  ...[
    '\u0000',
    '\u00e9',
    '\ud83d',
    '\u2028',
    '\r\n',
    'CMD',
    'NONE',
    '--interval=1s',
    '# check=skip=all\n',
    '--platform=$a',
    '$TARGETPLATFORM',
    ' AS x',
    '<<E /x\n',
  ],
];

const CHECKS: CheckOptions = {
  buildArgs: new Map([['a', 'b']]),
  platformArgs: new Map([['TARGETPLATFORM', 'linux/amd64']]),
  platform: { os: 'linux', architecture: 'amd64' },
  all: true,
  ignorePatterns: ['a', '**/x'],
  baseOf: (name) =>
    name.length % 2 === 0 ? undefined : { env: ['PATH=/bin'], shell: false, onbuild: ['ENV a $b', 'COPY <<E /x\nE'] },
  isReplaced: (name) => name === 'x',
};

/** The lines and columns of what was found are in the file. */
function checkAll(text: string): void {
  const lines = text.replace(/^\ufeff/, '').split('\n');
  const { warnings, error } = checkDockerfile(text, CHECKS);
  for (const { line, endLine, word } of [...warnings, ...(error instanceof DockerfileError ? [error] : [])]) {
    assert.ok(line >= 1 && line <= endLine && endLine <= lines.length, `${JSON.stringify(text)}: ${line}-${endLine}`);
    if (word === undefined) continue;
    const { column, length } = word;
    const row = lines[word.line - 1]!;
    assert.ok(word.line >= line && word.line <= endLine && column >= 1, `${JSON.stringify(text)}: ${word.line}`);
    assert.ok(length >= 1 && column - 1 + length <= row.length + 1, `${JSON.stringify(text)}: ${column}+${length}`);
  }
}

describe('random input', () => {
  for (const seed of [1, 2, 3, 4]) {
    it(`seed ${seed}: an error of ours or none, and soon`, { timeout: 20_000 }, () => {
      const random = randomSequence(seed);
      for (let round = 0; round < 3000; round++) {
        let text = random(2) === 0 ? 'FROM scratch\n' : '';
        for (let i = random(30); i >= 0; i--) text += PIECES[random(PIECES.length)];
        for (const parse of [
          () => parseDockerfile(text),
          () => checkAll(text),
          () => expandWord(text, (name) => (name.length % 2 === 0 ? undefined : name)),
          () => new IgnoreMatcher(parseIgnoreFile(text)).match('a/b/x.E'),
        ]) {
          try {
            parse();
          } catch (error) {
            assert.ok(error instanceof ImagoError, `${JSON.stringify(text)}: ${(error as Error).stack}`);
          }
        }
      }
    });
  }

  it('long words and many wildcards end soon', { timeout: 5000 }, () => {
    const stars = '*a'.repeat(200);
    new IgnoreMatcher([stars]).match('a'.repeat(2000));
    expandWord(`\${x%%${stars}}`, () => 'a'.repeat(300));
    parseDockerfile(`FROM a\nRUN ${'x'.repeat(1_000_000)}`);
  });
});
