import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BuildError } from '../../src/build/errors.ts';
import { printExcerpt } from '../../src/cli/build-error.ts';
import { parseDockerfile } from '../../src/formats/dockerfile/parse.ts';

class Output {
  text = '';
  readonly isTTY: boolean;

  constructor(isTTY = false) {
    this.isTTY = isTTY;
  }

  write(text: string): void {
    this.text += text;
  }
}

describe('printExcerpt', () => {
  const text = 'FROM a\n\nRUN x \\\n  y\nCMD z\nCMD w\n';

  it('repeats the end of the output and shows the lines', () => {
    const out = new Output();
    const error = new BuildError('RUN_FAILED', 'no', { line: 3, endLine: 4 }, '[2/2] RUN x y', 'last words\n');
    printExcerpt(out, error, () => ({ name: 'Dockerfile', text }));
    assert.equal(
      out.text,
      [
        '------',
        ' > [2/2] RUN x y:',
        'last words',
        '------',
        'Dockerfile:3',
        '--------------------',
        '   2 |     ',
        '   3 | >>> RUN x \\',
        '   4 | >>>   y',
        '   5 |     CMD z',
        '--------------------',
        '',
      ].join('\n'),
    );
  });

  it('points into a Dockerfile that cannot be parsed', () => {
    const out = new Output();
    const wrong = 'FROM a\nRUNN b';
    assert.throws(
      () => parseDockerfile(wrong),
      (error) => {
        printExcerpt(out, error, () => ({ name: 'x.df', text: wrong }));
        return true;
      },
    );
    assert.equal(
      out.text,
      'x.df:2\n--------------------\n   1 |     FROM a\n   2 | >>> RUNN b\n     |     ^^^^\n--------------------\n',
    );
  });

  it('says nothing of other errors', () => {
    const out = new Output();
    printExcerpt(out, new Error('x'), () => ({ name: 'x', text: '' }));
    assert.equal(out.text, '');
  });
});
