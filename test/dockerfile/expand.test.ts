import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ExpandOptions, expandWord, expandWords } from '../../src/formats/dockerfile/expand.ts';

const env: Record<string, string> = { HOME: '/root', EMPTY: '', TWO: 'a b', FILE: 'archive.tar.gz', STARS: 'x**y' };
const lookup = (name: string): string | undefined => env[name];

const words: [word: string, want: string][] = [
  ['plain', 'plain'],
  ['$HOME', '/root'],
  [`\${HOME}/x`, '/root/x'],
  ['a$HOME.b', 'a/root.b'],
  ['$MISSING!', '!'],
  ['$', '$'],
  ['a$.b', 'a$.b'],
  ['$1x', 'x'],
  ['\\$HOME', '$HOME'],
  ['\\\\$HOME', '\\/root'],
  ['a\\tb', 'atb'],
  ['"a\\tb"', 'a\\tb'],
  ['"a\\"b"', 'a"b'],
  ['"$HOME"', '/root'],
  ["'$HOME'", '$HOME'],
  ['"it\'s $HOME"', "it's /root"],
  ['\'a\'"b"c', 'abc'],
  ['end\\', 'end'],
  [`\${MISSING:-x}`, 'x'],
  [`\${MISSING-x}`, 'x'],
  [`\${EMPTY:-x}`, 'x'],
  [`\${EMPTY-x}`, ''],
  [`\${HOME:-x}`, '/root'],
  [`\${HOME:+x}`, 'x'],
  [`\${EMPTY:+x}`, ''],
  [`\${EMPTY+x}`, 'x'],
  [`\${MISSING+x}`, ''],
  [`\${MISSING:-\${HOME}/y}`, '/root/y'],
  [`\${MISSING:-\${NONE:-z}}`, 'z'],
  [`\${HOME:?no home}`, '/root'],
  [`\${EMPTY?fine}`, ''],
  [`\${FILE%.*}`, 'archive.tar'],
  [`\${FILE%%.*}`, 'archive'],
  [`\${FILE#*.}`, 'tar.gz'],
  [`\${FILE##*.}`, 'gz'],
  [`\${FILE#nothing}`, 'archive.tar.gz'],
  [`\${FILE/tar/zip}`, 'archive.zip.gz'],
  [`\${FILE/a/A}`, 'Archive.tar.gz'],
  [`\${FILE//a/A}`, 'Archive.tAr.gz'],
  [`\${FILE//./}`, 'archivetargz'],
  [`\${HOME/\\//_}`, '_root'],
  [`\${STARS#x\\*}`, '*y'],
  [`\${FILE%%?z}`, 'archive.tar.'],
];

describe('expandWord', () => {
  for (const [word, want] of words) it(word, () => assert.equal(expandWord(word, lookup), want));

  const options: [word: string, options: ExpandOptions, want: string][] = [
    ['`$HOME', { escape: '`' }, '$HOME'],
    ['a\\b', { escape: '`' }, 'a\\b'],
    ['"a" \'b\'', { rawQuotes: true }, '"a" \'b\''],
    ['a\\ b', { rawEscapes: true }, 'a\\ b'],
    ['"$HOME\'', { ignoreQuotes: true }, '"/root\''],
    ['$MISSING $HOME', { keepUnset: true }, '$MISSING /root'],
    [`\${MISSING:-x}`, { keepUnset: true }, `\${MISSING:-x}`],
  ];
  for (const [word, option, want] of options) {
    it(`${word} ${JSON.stringify(option)}`, () => assert.equal(expandWord(word, lookup, option), want));
  }

  const broken: [word: string, message: RegExp][] = [
    ['"open', /looking for matching double-quote/],
    ["'open", /looking for matching single-quote/],
    [`\${HOME`, /unsupported modifier|missing '}'/],
    [`\${}`, /bad substitution/],
    [`\${:x}`, /bad substitution/],
    [`\${HOME:x}`, /unsupported modifier \(:x\)/],
    [`\${HOME^^}`, /unsupported modifier \(\^\)/],
    [`\${MISSING:?set it}`, /MISSING: set it/],
    [`\${MISSING?}`, /MISSING: is not allowed to be unset/],
    [`\${EMPTY:?}`, /EMPTY: is not allowed to be empty/],
    [`\${FILE/a}`, /missing '\/' in/],
    [`\${FILE#\\x}`, /invalid pattern/],
  ];
  for (const [word, message] of broken) {
    it(word, () => assert.throws(() => expandWord(word, lookup), { code: 'BAD_SUBSTITUTION', message }));
  }
});

describe('expandWords', () => {
  const lists: [word: string, want: string[]][] = [
    ['a b  c', ['a', 'b', 'c']],
    ['"a b" c', ['a b', 'c']],
    ['a\\ b', ['a b']],
    ['$TWO', ['a', 'b']],
    ['"$TWO"', ['a b']],
    ['x$TWO.y', ['xa', 'b.y']],
    ['$EMPTY', []],
    ['<< EOF x', ['<< EOF', 'x']],
  ];
  for (const [word, want] of lists) it(word, () => assert.deepEqual(expandWords(word, lookup), want));
});
