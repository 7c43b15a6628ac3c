import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BuildError } from '../../src/build/errors.ts';
import { printExcerpt } from '../../src/cli/build-error.ts';
import { BuildPrinter } from '../../src/cli/build-output.ts';
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

const bytes = (text: string): Uint8Array => Buffer.from(text);

describe('BuildPrinter', () => {
  it("prints steps as BuildKit's plain progress does", () => {
    const out = new Output();
    const printer = new BuildPrinter(out, false);
    printer.print({ type: 'start', step: 1, name: '[1/2] FROM base' });
    printer.print({ type: 'done', step: 1, cached: false, seconds: 0.04 });
    printer.print({ type: 'start', step: 2, name: '[2/2] RUN a  &&\n b' });
    printer.print({ type: 'output', step: 2, stream: 'stdout', data: bytes('one\ntw') });
    printer.print({ type: 'output', step: 2, stream: 'stderr', data: bytes('err\n') });
    printer.print({
      type: 'output',
      step: 2,
      stream: 'stdout',
      data: bytes('o\n10%\r50%\r100%\r\n\x1b[31mred\x1b[0m \x1b[2Jx\nrest'),
    });
    printer.print({ type: 'done', step: 2, cached: true, seconds: 1 });
    printer.print({ type: 'note', step: 3, text: 'naming to x' });
    printer.print({ type: 'warning', text: 'careful', line: 4 });
    assert.equal(
      out.text.replace(/^(#\d+) \d+\.\d{3} /gm, '$1 T '),
      [
        '#1 [1/2] FROM base',
        '#1 DONE 0.0s',
        '',
        '#2 [2/2] RUN a && b',
        '#2 T one',
        '#2 T err',
        '#2 T two',
        '#2 T 100%',
        '#2 T \x1b[31mred\x1b[0m \\x1b[2Jx',
        '#2 T rest',
        '#2 CACHED',
        '',
        '#3 naming to x',
        'WARN: careful (line 4)',
        '',
      ].join('\n'),
    );
  });

  it('has colours on a terminal only, and not when plain', () => {
    for (const [tty, plain, colours] of [
      [true, false, true],
      [true, true, false],
      [false, false, false],
    ] as const) {
      const out = new Output(tty);
      new BuildPrinter(out, plain).print({ type: 'done', step: 1, cached: true, seconds: 0 });
      const expected = colours && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
      assert.equal(out.text.includes('\x1b['), expected, `${tty} ${plain}`);
    }
  });
});

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
