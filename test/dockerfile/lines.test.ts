import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { splitInstructions } from '../../src/formats/dockerfile/lines.ts';
import type { RawInstruction } from '../../src/formats/dockerfile/raw.ts';

/** The instructions as one line each: name, flags, words. */
function dump(text: string): string[] {
  return splitInstructions(text).instructions.map(show);
}

function show(raw: RawInstruction): string {
  const words = [
    ...raw.flags.map((flag) => `<${flag}>`),
    ...(raw.trigger === undefined ? [] : [`{${show(raw.trigger)}}`]),
    ...raw.pairs.map(({ key, value, legacy }) => `${key}${legacy ? ' ' : '='}${value}`),
    ...raw.args,
  ];
  return [raw.name + (raw.json ? '[]' : ''), ...words.map((word) => JSON.stringify(word))].join(' ');
}

const cases: [name: string, text: string, want: string[]][] = [
  ['one instruction', 'FROM debian', ['FROM "debian"']],
  ['lower case', 'from debian as x', ['FROM "debian" "as" "x"']],
  ['windows line ends', 'FROM a\r\nRUN b\r\n', ['FROM "a"', 'RUN "b"']],
  ['byte order mark', '\ufeffFROM a', ['FROM "a"']],
  ['blank lines and comments', '\n# hi\n  # there\nFROM a\n\n#x\n', ['FROM "a"']],
  ['continuation', 'RUN a \\\n  b \\\n  c', ['RUN "a   b   c"']],
  ['continuation with trailing blanks', 'RUN a \\ \t\nb', ['RUN "a b"']],
  ['comment in a continuation', 'RUN a \\\n# no\n  # neither\nb', ['RUN "a b"']],
  ['empty line in a continuation', 'RUN a \\\n\n\nb', ['RUN "a b"']],
  ['escaped escape does not continue', 'RUN a \\\\\nRUN b', ['RUN "a \\\\\\\\"', 'RUN "b"']],
  ['continuation at the end', 'FROM a\nRUN b \\', ['FROM "a"', 'RUN "b"']],
  ['backtick directive', '# escape=`\nRUN a `\n b\\\nRUN c', ['RUN "a  b\\\\"', 'RUN "c"']],
  ['directives stop at the first comment', '# hello\n# escape=`\nRUN a\\\nb', ['RUN "ab"']],
  ['syntax before escape', '# syntax=docker/dockerfile:1\n# escape=`\nRUN a`\nb', ['RUN "ab"']],
  ['json', 'CMD ["a", "b c"]', ['CMD[] "a" "b c"']],
  ['json with escapes', 'CMD [ "\\u00e9\\n", "\\"" ]', ['CMD[] "é\\n" "\\""']],
  ['empty json', 'ENTRYPOINT []', ['ENTRYPOINT[]']],
  ['broken json is the shell form', "CMD ['a', 'b']", ["CMD \"['a', 'b']\""]],
  ['json copy', 'COPY ["a b", "/c/"]', ['COPY[] "a b" "/c/"']],
  ['copy flags', 'COPY --from=x --chown="a b" y z', ['COPY "<--from=x>" "<--chown=a b>" "y" "z"']],
  ['-- ends flags', 'RUN -- --x', ['RUN "--x"']],
  ['env pairs', 'ENV a=b c="d e" f=g\\ h', ['ENV "a=b" "c=\\"d e\\"" "f=g\\\\ h"']],
  ['legacy env', 'ENV a b c', ['ENV "a b c"']],
  ['label with quotes', 'LABEL "a b"=\'c d\'', ['LABEL "\\"a b\\"=\'c d\'"']],
  ['healthcheck', 'HEALTHCHECK --interval=5s CMD curl -f x', ['HEALTHCHECK "<--interval=5s>" "CMD" "curl -f x"']],
  ['healthcheck json', 'HEALTHCHECK CMD ["a","b"]', ['HEALTHCHECK[] "CMD" "a" "b"']],
  ['onbuild', 'ONBUILD COPY --chown=1 a b', ['ONBUILD "{COPY \\"<--chown=1>\\" \\"a\\" \\"b\\"}"']],
  ['rest of line', 'WORKDIR /a b', ['WORKDIR "/a b"']],
  ['arg words', 'ARG a b=c d="e f"', ['ARG "a" "b=c" "d=\\"e f\\""']],
];

describe('splitInstructions', () => {
  for (const [name, text, want] of cases) it(name, () => assert.deepEqual(dump(text), want));

  it('counts lines through continuations, comments and heredocs', () => {
    const { instructions } = splitInstructions('# c\nFROM a\n\nRUN b \\\n # c\n c\nCOPY <<E /x\n1\n2\nE\nUSER u');
    assert.deepEqual(
      instructions.map(({ name, line, endLine }) => [name, line, endLine]),
      [
        ['FROM', 2, 2],
        ['RUN', 4, 6],
        ['COPY', 7, 10],
        ['USER', 11, 11],
      ],
    );
  });

  it('reads heredocs: several, quoted, chomped, with blanks in front', () => {
    const text = 'RUN <<A cat <<-"B" 3<<C\na $x\nA\n\tb\n\tB\nC\nRUN d';
    const { instructions } = splitInstructions(text);
    assert.deepEqual(instructions[0]!.heredocs, [
      { name: 'A', expand: true, chomp: false, content: 'a $x\n' },
      { name: 'B', expand: false, chomp: true, content: '\tb\n' },
      { name: 'C', expand: true, chomp: false, content: '' },
    ]);
    assert.equal(instructions[1]!.source, 'RUN d');
  });

  it('takes no heredoc where the shell has none', () => {
    assert.deepEqual(dump('RUN echo $((1<<2))'), ['RUN "echo $((1<<2))"']);
    assert.deepEqual(dump('CMD ["a", "<<b"]'), ['CMD[] "a" "<<b"']);
    assert.deepEqual(dump('ENV a="<<b"'), ['ENV "a=\\"<<b\\""']);
  });

  it('keeps the directives', () => {
    const { directives } = splitInstructions('#syntax = docker/dockerfile:1 \n# check=skip=all\nFROM a');
    assert.deepEqual(directives, { syntax: 'docker/dockerfile:1', check: 'skip=all' });
  });

  it('keeps the comments above an instruction', () => {
    const { instructions } = splitInstructions('# far\n#\n# near\n# by\nFROM a\nRUN b');
    assert.deepEqual(instructions[0]!.comments, ['near', 'by']);
    assert.deepEqual(instructions[1]!.comments, []);
  });

  it('knows of empty lines in a continued instruction', () => {
    const { instructions } = splitInstructions('FROM a\nRUN b \\\n\n\n c');
    assert.deepEqual(
      instructions.map(({ emptyLine }) => emptyLine),
      [undefined, 5],
    );
  });
});

const broken: [name: string, text: string, message: RegExp][] = [
  ['nothing', '', /line 1: file with no instructions/],
  ['comments only', '# a\n# b\n', /line 2: file with no instructions/],
  ['a typo', 'FROM a\n\nRUNN b', /line 3: unknown instruction: RUNN \(did you mean RUN\?\)/],
  ['a typo in lower case', 'from a\nworkdri /x', /line 2: unknown instruction: workdri \(did you mean workdir\?\)/],
  ['nothing near', 'FROM a\nFROBNICATE x', /line 2: unknown instruction: FROBNICATE$/],
  ['bad escape', '# escape=x\nFROM a', /line 1: invalid escape token 'x'/],
  ['two escapes', '# escape=`\n# escape=\\\nFROM a', /line 2: only one escape parser directive/],
  ['open heredoc', 'FROM a\nRUN <<E\nfoo\n', /line 2: unterminated heredoc: the line "E"/],
  ['nested json', 'CMD ["a", ["b"]]', /line 1: when using JSON array syntax, arrays must be comprised of strings only/],
  ['number in json', 'COPY ["a", 1]', /strings only/],
  ['env without a value', 'FROM a\nENV b', /line 2: ENV must have two arguments/],
  ['env without =', 'ENV a=b c', /can't find = in "c"/],
  ['a typo in a trigger', 'FROM a\nONBUILD CPOY x y', /line 2: unknown instruction: CPOY \(did you mean COPY\?\)/],
];

describe('splitInstructions: bad input', () => {
  for (const [name, text, message] of broken) it(name, () => assert.throws(() => splitInstructions(text), message));

  it('takes a file of 10,000 lines in its stride', () => {
    const text = `FROM a\n${'RUN echo "x" \\\n  && true\n'.repeat(5000)}`;
    assert.equal(splitInstructions(text).instructions.length, 5001);
  });
});
