import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkFrontend } from '../../src/build/checks/frontend.ts';
import { decodeDockerfile } from '../../src/build/dockerfile-text.ts';
import { findCheck, findSyntax, isDockerfileSyntax } from '../../src/formats/dockerfile/directives.ts';
import { DockerfileError } from '../../src/formats/dockerfile/errors.ts';
import { expandWord } from '../../src/formats/dockerfile/expand.ts';
import { splitInstructions } from '../../src/formats/dockerfile/lines.ts';
import { parseDockerfile } from '../../src/formats/dockerfile/parse.ts';

function errorOf(run: () => unknown): DockerfileError {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof DockerfileError, String(error));
    return error;
  }
  throw new assert.AssertionError({ message: 'no error' });
}

describe('directives', () => {
  const escapes: [name: string, head: string, want: string][] = [
    ['below syntax and check', '# syntax=docker/dockerfile:1\n#check=skip=all\n# escape=`', '`'],
    ['in capitals, with spaces', '  #   ESCAPE =  `  ', '`'],
    ['behind a byte order mark', '\ufeff# escape=`', '`'],
    ['Windows line ends', '# escape=`\r', '`'],
    ['below a comment', '# hi\n# escape=`', '\\'],
    ['below an empty line', '\n# escape=`', '\\'],
    ['below an unknown one', '# colour=red\n# escape=`', '\\'],
    ['below #!', '#!/usr/bin/x\n# escape=`', '\\'],
    ['without a value', '# escape=', '\\'],
  ];
  for (const [name, head, want] of escapes) {
    it(`escape ${name}`, () => assert.equal(splitInstructions(`${head}\nFROM a`).escape, want));
  }

  const syntaxes: [text: string, want: string | undefined, line?: number][] = [
    ['# syntax=a/b', 'a/b', 1],
    ['#!/x\n#syntax = a/b c', 'a/b c', 2],
    ['# check=skip=all\n# syntax=a', 'a', 2],
    ['// syntax=a', 'a', 1],
    ['#!/x\n//syntax=a\n', 'a', 2],
    ['{"syntax": "a", "x": [1]}', 'a', 1],
    ['{"syntax": 1}', undefined],
    ['{"syntax": "a"', undefined],
    [' # syntax=a', undefined],
    ['# no\n# syntax=a', undefined],
    ['FROM a\n# syntax=a', undefined],
    ['', undefined],
  ];
  for (const [text, want, line] of syntaxes) {
    it(`syntax of ${JSON.stringify(text)}`, () =>
      assert.deepEqual(findSyntax(text), want === undefined ? undefined : { value: want, line }));
  }

  it('check below #!', () => assert.deepEqual(findCheck('#!/x\n# check=skip=all'), { value: 'skip=all', line: 2 }));

  it('knows its own frontend, at any registry', () => {
    const own = [
      'docker/dockerfile',
      'docker/dockerfile:1.7-labs',
      'docker.io/docker/dockerfile:1',
      'mirror.example:5000/hub/docker/dockerfile:1',
    ];
    for (const name of [...own, 'docker/dockerfile-upstream:master', `docker/dockerfile@sha256:${'0'.repeat(64)} x`]) {
      assert.equal(isDockerfileSyntax(name), true, name);
    }
    for (const name of ['dockerfile', 'me/dockerfile', 'docker/dockerfilex', 'xdocker/dockerfile', '']) {
      assert.equal(isDockerfileSyntax(name), false, name);
    }
  });

  it('runs no other, but BUILDKIT_SYNTAX can say that it is ours', () => {
    const text = '#!/x\n# syntax=me/lang:2 x\n{}';
    const error = errorOf(() => checkFrontend(text, new Map()));
    assert.match(
      error.message,
      /line 2: syntax me\/lang:2 names another frontend .* BUILDKIT_SYNTAX=docker\/dockerfile:1$/,
    );
    assert.deepEqual(error.word, { line: 2, column: 10, length: 9 });
    checkFrontend(text, new Map([['BUILDKIT_SYNTAX', 'docker/dockerfile:1']]));
    assert.throws(() => checkFrontend('FROM a', new Map([['BUILDKIT_SYNTAX', 'me/x']])), /BUILDKIT_SYNTAX=me\/x names/);
  });
});

describe('heredocs', () => {
  const docs = (text: string): unknown[] =>
    splitInstructions(text).instructions[0]!.heredocs.map(({ name, expand, content }) => [name, expand, content]);
  const cases: [text: string, want: unknown[]][] = [
    ['RUN <<A\nA', [['A', true, '']]],
    ['RUN <<A\n# no comment\n\\\n\nA\n', [['A', true, '# no comment\n\\\n\n']]],
    ['RUN <<A\r\nx\r\nA\r\n', [['A', true, 'x\r\n']]],
    ["RUN <<'A B'\nx\nA B", [['A B', false, 'x\n']]],
    ['RUN <<A"B"\nx\nAB', [['AB', false, 'x\n']]],
    [
      'RUN cat <<A \\\n  && cat <<B\nx\nA\ny\nB',
      [
        ['A', true, 'x\n'],
        ['B', true, 'y\n'],
      ],
    ],
    ['ONBUILD COPY <<A /x\ny\nA', [['A', true, 'y\n']]],
    ['RUN <<A\n A\nA \nA', [['A', true, ' A\nA \n']]],
    ['RUN <<$A\nx\n$A', [['$A', true, 'x\n']]],
    ['RUN echo "<<A"', []],
    ['RUN ["<<A"]', []],
    ['RUN << <A', []],
    ['RUN cat <<<A', []],
    ['CMD <<A', []],
  ];
  for (const [text, want] of cases) it(JSON.stringify(text), () => assert.deepEqual(docs(text), want));

  it('ends with the file', () => {
    const error = errorOf(() => splitInstructions('FROM a\nCOPY <<A <<B /x\nA\n'));
    assert.match(error.message, /line 2: unterminated heredoc: the line "B"/);
  });

  it('with a quote that is not closed in its word is a source', () => {
    const [copy] = parseDockerfile('FROM a\nCOPY <<"a b" /x\na b').stages[0]!.instructions;
    assert.deepEqual(copy?.name === 'COPY' && copy.sources, ['<<"a', 'b"']);
  });
});

describe('bytes', () => {
  const bytes = (...parts: (string | number)[]): Buffer =>
    Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from([part]))));

  it('that are no UTF-8 do no harm in a comment', () => {
    const text = decodeDockerfile(bytes('# J', 0xf6, 'rg\nFROM \u00e9\nRUN a \\\n# ', 0xff, '\n b'));
    assert.deepEqual(
      splitInstructions(text).instructions.map(({ source }) => source),
      ['FROM \u00e9', 'RUN a  b'],
    );
  });

  const wrong: [name: string, bytes: Buffer, word: object, message: RegExp][] = [
    ['in an instruction', bytes('FROM a\nENV \u00e9=', 0xc3, 'x'), { line: 2, column: 7, length: 1 }, /not UTF-8/],
    ['in a continued line', bytes('FROM a \\\n# x\n  ', 0x80), { line: 3, column: 3, length: 1 }, /line 1: not UTF-8/],
    [
      'in a heredoc',
      bytes('FROM a\nRUN <<E\n# ', 0xf0, 0x9f, '\nE'),
      { line: 3, column: 3, length: 1 },
      /line 3: not UTF-8/,
    ],
    ['NUL', bytes('FROM a\nRUN x\0y'), { line: 2, column: 6, length: 1 }, /NUL byte/],
  ];
  for (const [name, data, word, message] of wrong) {
    it(name, () => {
      const error = errorOf(() => splitInstructions(decodeDockerfile(data)));
      assert.match(error.message, message);
      assert.deepEqual(error.word, word);
    });
  }

  it('of UTF-16 are told', () => {
    assert.throws(() => decodeDockerfile(Buffer.from('\ufeffFROM a', 'utf16le')), { code: 'BAD_ENCODING' });
  });

  it('of a byte order mark are kept for the parser', () => {
    assert.equal(decodeDockerfile(bytes(0xef, 0xbb, 0xbf, 'FROM a')), '\ufeffFROM a');
  });
});

describe('errors point at a word', () => {
  const cases: [text: string, line: number, column: number, length: number, message: RegExp][] = [
    ['FROM a\n  RUNN b', 2, 3, 4, /unknown instruction: RUNN \(did you mean RUN\?\)/],
    ['FROM a\nONBUILD  CPOY a b', 2, 10, 4, /did you mean COPY/],
    ['FROM a\nONBUILD ONBUILD RUN a', 2, 9, 7, /Chaining/],
    ['FROM a\nCOPY \\\n  --form=x a b', 3, 3, 6, /unknown flag: --form \(did you mean from\?\)/],
    ['FROM a\nCMD --x=1 a', 2, 5, 3, /unknown flag: --x: CMD has none/],
    [
      'FROM a\nCOPY --link=ture a b',
      2,
      13,
      4,
      /expecting boolean value for flag --link, not: ture \(did you mean true\?\)/,
    ],
    ['FROM a\nCOPY --link=5 a b', 2, 13, 1, /not: 5 \(wanted true or false\)/],
    ['FROM a SA b', 1, 8, 2, /wanted FROM image \[AS name\] \(did you mean AS\?\)/],
    ['FROM as as 1', 1, 12, 1, /invalid name for build stage: "1"/],
    ['FROM a\nENV a=b \\\n c', 3, 2, 1, /can't find = in "c"/],
    ['FROM a\nENV =b', 2, 5, 2, /names can not be blank/],
    ['FROM a\nHEALTHCHECK --interval=5x CMD y', 2, 24, 2, /invalid duration "5x"/],
    ['FROM a\nHEALTHCHECK CDM y', 2, 13, 3, /did you mean CMD/],
    ['FROM a\nCMD [1]', 2, 5, 3, /strings only/],
    ['FROM a\nSHELL sh', 2, 7, 2, /JSON form/],
    ['# escape=x\nFROM a', 1, 10, 1, /invalid escape token/],
    ['RUN a', 1, 1, 3, /no build stage in current context/],
  ];
  for (const [text, line, column, length, message] of cases) {
    it(JSON.stringify(text), () => {
      const error = errorOf(() => parseDockerfile(text));
      assert.match(error.message, message);
      assert.deepEqual(error.word, { line, column, length });
    });
  }

  it('the first in the file comes first', () => {
    assert.match(errorOf(() => parseDockerfile('FROM a\nCOPY x\nRUNN y\nRUN <<E')).message, /line 2/);
  });
});

describe('size', () => {
  const sizes: [name: string, make: (n: number) => string][] = [
    ['instructions', (n) => `FROM a\n${'RUN x\n'.repeat(n)}`],
    ['continued lines', (n) => `FROM a\nRUN x${' \\\n y'.repeat(n)}`],
    ['comments', (n) => `${'# x\n'.repeat(n)}FROM a`],
    ['stages', (n) => 'FROM a\n'.repeat(n)],
    ['lines of a heredoc', (n) => `FROM a\nRUN <<E\n${'x\n'.repeat(n)}E`],
    ['heredocs', (n) => `FROM a\nRUN ${'<<E '.repeat(n / 10)}\n${'E\n'.repeat(n / 10)}`],
    ['pairs', (n) => `FROM a\nENV ${'a=b '.repeat(n)}`],
    ['carriage returns', (n) => `FROM a\nRUN x${'\r'.repeat(n)}y`],
    ['spaces', (n) => `# syntax=a${' '.repeat(n)}b\nFROM a\nRUN x${' '.repeat(n)}<<${' '.repeat(n)}y<`],
    ['escapes', (n) => `FROM a\nRUN ${'\\ '.repeat(n)}x`],
    ['flags', (n) => `FROM a\nCOPY ${'--exclude=x '.repeat(n)} a b`],
  ];
  for (const [name, make] of sizes) {
    it(`100,000 ${name} take a moment`, { timeout: 5000 }, () => {
      try {
        parseDockerfile(make(100_000));
      } catch (error) {
        assert.ok(error instanceof DockerfileError);
      }
    });
  }

  const words: [name: string, word: string, value: string][] = [
    ['nested references', `${'${a:-'.repeat(50_000)}`, ''],
    ['ONBUILD', 'ONBUILD '.repeat(50_000), ''],
    ['wildcards', `\${x##${'*a'.repeat(500)}b}`, 'a'.repeat(5000)],
    ['wildcards at the end', `\${x%%b${'*a'.repeat(500)}}`, 'a'.repeat(5000)],
    ['replacements', `\${x//*a?b/y}`, 'a'.repeat(20_000)],
  ];
  for (const [name, word, value] of words) {
    it(`${name} end soon`, { timeout: 5000 }, () => {
      for (const run of [
        () => expandWord(word, (key) => (key === 'x' ? value : undefined)),
        () => parseDockerfile(`FROM a\n${word}`),
      ]) {
        try {
          run();
        } catch (error) {
          assert.notEqual((error as Error).name, 'RangeError');
        }
      }
    });
  }
});

describe('patterns', () => {
  const cases: [word: string, value: string, want: string][] = [
    [`\${x#*}`, 'abc', 'abc'],
    [`\${x##*}`, 'abc', ''],
    [`\${x##*}`, 'a\nb', '\nb'],
    [`\${x%%b*}`, 'abcb', 'a'],
    [`\${x%b*}`, 'abcb', 'abc'],
    [`\${x#?}`, '\u{1f600}a', 'a'],
    [`\${x/*b/-}`, 'abcbd', '-d'],
    [`\${x//*/-}`, 'abc', '-'],
    [`\${x//b*/-}`, 'ab\ncb', 'a-\nc-'],
    [`\${x//?/-}`, 'ab', '--'],
    [`\${x//aa/-}`, 'aaaaa', '--a'],
  ];
  for (const [word, value, want] of cases) {
    it(`${word} of ${JSON.stringify(value)}`, () =>
      assert.equal(
        expandWord(word, () => value),
        want,
      ));
  }
});
