/**
 * BuildKit's own parser cases. IMAGO_TEST_BUILDKIT names a checkout of github.com/moby/buildkit; its cases in our own
 * words are in lines.test.ts, expand.test.ts and edges.test.ts.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { expandWord, expandWords } from '../../src/formats/dockerfile/expand.ts';
import { splitInstructions } from '../../src/formats/dockerfile/lines.ts';
import type { RawInstruction } from '../../src/formats/dockerfile/raw.ts';

const root = process.env.IMAGO_TEST_BUILDKIT ?? '';
const parser = join(root, 'frontend/dockerfile/parser');
const shell = join(root, 'frontend/dockerfile/shell');
const skip = root !== '' && existsSync(parser) ? false : 'IMAGO_TEST_BUILDKIT names no checkout of BuildKit';

/** The form of the files called `result`. */
function dump(raw: RawInstruction): string {
  const words = [...raw.pairs.flatMap(({ key, value, legacy }) => [key, value, legacy ? '' : '=']), ...raw.args].map(
    (word) => ` ${quote(word)}`,
  );
  const flags = raw.flags.length === 0 ? '' : ` [${raw.flags.map(quote).join(' ')}]`;
  const trigger = raw.trigger === undefined ? '' : ` (${dump(raw.trigger)})`;
  return raw.keyword.toLowerCase() + flags + trigger + words.join('');
}

/** As Go's strconv.Quote, for what the cases have in them. */
function quote(text: string): string {
  return JSON.stringify(text).replace(/\\u00(..)/g, '\\x$1');
}

describe("BuildKit's parser cases", { skip }, () => {
  for (const name of skip ? [] : readdirSync(join(parser, 'testfiles'))) {
    it(name, () => {
      const text = readFileSync(join(parser, 'testfiles', name, 'Dockerfile'), 'utf8');
      const want = readFileSync(join(parser, 'testfiles', name, 'result'), 'utf8');
      const got = splitInstructions(text).instructions.map((raw) => `(${dump(raw)})`);
      assert.equal(`${got.join('\n')}\n`, want);
    });
  }

  for (const name of skip ? [] : readdirSync(join(parser, 'testfiles-negative'))) {
    it(`${name} is an error`, () => {
      const text = readFileSync(join(parser, 'testfiles-negative', name, 'Dockerfile'), 'utf8');
      assert.throws(() => splitInstructions(text), { name: 'DockerfileError' });
    });
  }

  it('lines', { skip }, () => {
    const { instructions } = splitInstructions(readFileSync(join(parser, 'testfile-line/Dockerfile'), 'utf8'));
    assert.deepEqual(
      instructions.map(({ line, endLine }) => [line, endLine]),
      [
        [5, 5],
        [11, 12],
        [17, 31],
      ],
    );
  });
});

/** `A|word|want`: for all platforms, `U` for those that are not Windows; the last field `error` is an error. */
function* cases(file: string): Generator<[word: string, want: string]> {
  for (const line of readFileSync(join(shell, file), 'utf8').split('\n')) {
    if (line.startsWith('#') || line.trim() === '') continue;
    // `#` behind a space begins a comment, `\#` is the character.
    const fields = line.replace(/ #.*$/, '').split('|');
    const platform = fields.length > 2 ? fields.shift()!.trim() : 'A';
    if (platform === 'W') continue;
    yield [fields[0]!.trim(), fields.slice(1).join('|').trim()];
  }
}

const variables: Record<string, string> = { PWD: '/home', SHELL: 'bash', KOREAN: '한국어', NULL: '' };
const lookup = (name: string): string | undefined => variables[name];

describe("BuildKit's expansion cases", { skip }, () => {
  it('words', () => {
    let count = 0;
    for (const [word, want] of cases('envVarTest')) {
      count++;
      const text = `${JSON.stringify(word)} wants ${want}`;
      if (want === 'error') assert.throws(() => expandWord(word, lookup), text);
      else assert.equal(expandWord(word, lookup), want, text);
    }
    assert.ok(count > 200, `${count} cases`);
  });

  it('lists of words', () => {
    const set = new Map<string, string>();
    for (const line of readFileSync(join(shell, 'wordsTest'), 'utf8').split('\n')) {
      const variable = /^ENV +([^=]*)=(.*)$/.exec(line);
      if (variable !== null) set.set(variable[1]!, variable[2]!);
      const bar = line.indexOf('|');
      if (variable !== null || line.startsWith('#') || bar < 0) continue;
      const word = line.slice(0, bar).trim();
      const want = line.slice(bar + 1).replace(/^ +/, '');
      if (want === 'error') assert.throws(() => expandWords(word, (name) => set.get(name)), word);
      else assert.equal(expandWords(word, (name) => set.get(name)).join(','), want, word);
    }
  });
});
