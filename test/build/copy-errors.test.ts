import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { FILES } from './copy-cases.ts';
import { BuildLab, type Files } from './lab.ts';

/** What docker 26 refuses, too, if not said otherwise. The last line is the one at fault. */
const cases: [name: string, lines: string, code: string, message: RegExp, files?: Files][] = [
  [
    'a missing file',
    'COPY a.tx /x/',
    'COPY_SOURCE_NOT_FOUND',
    /^"\/a\.tx": not found in the build context: did you mean "\/a\.txt"\?$/,
  ],
  ['a missing file below', 'COPY ./dir/on /x/', 'COPY_SOURCE_NOT_FOUND', /^"\/dir\/on": not found .*"\/dir\/one"/],
  [
    'a missing directory on the way',
    'COPY dri/one /x/',
    'COPY_SOURCE_NOT_FOUND',
    /^"\/dri\/one": not found .*"\/dir\/one"/,
  ],
  ['nothing near', 'COPY zzzzzz /x/', 'COPY_SOURCE_NOT_FOUND', /^"\/zzzzzz": not found .*check the path/],
  ['a path below a file', 'COPY a.txt/x /y', 'COPY_SOURCE_NOT_FOUND', /^"\/a\.txt\/x": not found/],
  ['a missing directory before a wildcard', 'COPY nope/* /x/', 'COPY_SOURCE_NOT_FOUND', /^"\/nope": not found/],
  [
    'a symlink that leaves',
    'COPY out /x',
    'COPY_SOURCE_NOT_FOUND',
    /^"\/out" is a symlink to "\.\.\/\.\.\/\.\.\/etc\/passwd", not found in the build context/,
    { out: '->../../../etc/passwd' },
  ],
  ['a symlink in a circle', 'COPY l /x', 'COPY_SOURCE_NOT_FOUND', /^"\/l" is a symlink to "l"/, { l: '->l' }],
  ['a symlink to nothing', 'COPY l /x', 'COPY_SOURCE_NOT_FOUND', /^"\/l" is a symlink to "nope"/, { l: '->nope' }],
  [
    'a path through such a link',
    'COPY l/x /x',
    'COPY_SOURCE_NOT_FOUND',
    /^"\/l" is a symlink to "nope"/,
    { l: '->nope' },
  ],
  [
    'a symlink to nothing that a wildcard matches',
    'COPY l* /x/',
    'COPY_SOURCE_NOT_FOUND',
    /^"\/l" is a symlink to "nope"/,
    { l: '->nope' },
  ],
  ['--parents of what is missing', 'COPY --parents dir/nope /x/', 'COPY_SOURCE_NOT_FOUND', /^"\/dir\/nope": not found/],
  [
    '--parents of what is missing behind a pivot',
    'COPY --parents dir/./sub/tow /x/',
    'COPY_SOURCE_NOT_FOUND',
    /^"\/dir\/sub\/tow": .*"\/dir\/sub\/two"/,
  ],
  ['a bad pattern', 'COPY a[ /x/', 'BAD_PATTERN', /syntax error in pattern/],
  ['a bad --exclude', 'COPY --exclude=a[ dir /x/', 'BAD_PATTERN', /"a\["/],
  [
    'a directory over a file',
    'COPY a.txt /x\nCOPY dir /x',
    'NOT_A_DIRECTORY',
    /cannot copy to \/x: it is not a directory/,
  ],
  [
    'a directory over a symlink below',
    'COPY one /x\nCOPY two /x',
    'NOT_A_DIRECTORY',
    /cannot copy to \/x\/sub/,
    { 'one/sub': '->/y', 'two/sub/f': 'f' },
  ],
  [
    'a file over a directory below',
    'COPY one /x\nCOPY two /x',
    'IS_A_DIRECTORY',
    /cannot replace the directory \/x\/sub/,
    { 'one/sub/f': '1', 'two/sub': 'f' },
  ],
  [
    'a symlink over a directory below',
    'COPY one /x\nCOPY two /x',
    'IS_A_DIRECTORY',
    /cannot replace the directory \/x\/sub/,
    { 'one/sub/f': '1', 'two/sub': '->y' },
  ],
  ['an inline file over a directory', 'COPY dir /x\nCOPY <<sub /x/\n1\nsub', 'IS_A_DIRECTORY', /\/x\/sub/],
  ['a file and a directory to one name', 'COPY a.txt dir /x', 'NOT_A_DIRECTORY', /cannot copy to \/x/],
  ['a destination below a file', 'COPY a.txt /x\nCOPY b.txt /x/y', 'NOT_A_DIRECTORY', /cannot copy to \/x/],
  ['a file as a directory', 'COPY a.txt /x\nCOPY b.txt /x/', 'NOT_A_DIRECTORY', /cannot copy to \/x/],
  ['symlinks of the image in a circle', 'COPY one /\nCOPY a.txt /l/x', 'TOO_MANY_LINKS', /circle/, { 'one/l': '->l' }],
  // docker 26 lets the last one win, buildah refuses.
  [
    'two files to one name',
    'COPY a.txt b.txt /x',
    'NOT_A_DIRECTORY',
    /^when using COPY with more than one source file, the destination must be a directory and end with a \//,
  ],
  ['two files of a wildcard to one name', 'ADD *.txt /x', 'NOT_A_DIRECTORY', /^when using ADD with more than one/],
  [
    'a file and an inline file to one name',
    'COPY a.txt <<e /x\n1\ne',
    'NOT_A_DIRECTORY',
    /^when using COPY with more than one/,
  ],
  ['an unknown user', 'COPY --chown=nope a.txt /x', 'UNKNOWN_USER', /unable to find user nope/],
  ['an unknown user of --link', 'COPY --link --chown=nope a.txt /x', 'UNKNOWN_USER', /unable to find user nope/],
  ['an unknown group', 'COPY --chown=0:nope a.txt /x', 'UNKNOWN_GROUP', /unable to find group nope/],
  ['a number too large', 'COPY --chown=4294967295 a.txt /x', 'UNKNOWN_USER', /in range/],
  ['a mode with an 8', 'COPY --chmod=8 a.txt /x', 'BAD_CHMOD', /^invalid chmod parameter: '8'/],
  ['a mode too large', 'COPY --chmod=10000 a.txt /x', 'BAD_CHMOD', /^invalid chmod parameter: '10000'/],
  [
    'a mode half octal',
    'COPY --chmod=64a a.txt /x',
    'BAD_CHMOD',
    /^invalid chmod parameter: '64a'.*octal string.* 0 and 07777/,
  ],
  ['a mode of no known letter', 'COPY --chmod=u=q a.txt /x', 'BAD_CHMOD', /^invalid chmod parameter: 'u=q'/],
  ['a git repository for COPY', 'COPY git@h:x /x', 'BAD_SOURCE', /source can't be a git ref for COPY/],
];

describe('COPY and ADD refuse', () => {
  for (const [name, lines, code, message, files] of cases) {
    it(name, async () => {
      using lab = new BuildLab();
      lab.write({ ...FILES, ...files });
      const line = 2 + lines.split('\n').findLastIndex((text) => /^(?:COPY|ADD) /.test(text));
      await assert.rejects(lab.build(`FROM scratch\n${lines}`), (error: Error & { code: string; line: number }) => {
        assert.deepEqual([error.code, error.line], [code, line], error.message);
        assert.match(error.message, message);
        return true;
      });
      assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
    });
  }
});
