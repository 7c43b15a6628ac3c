import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Arena } from './arena.ts';
import { needsContainers, packBusybox, packSample } from './samples.ts';

const containers = needsContainers();

let arena: Arena;
before(() => {
  arena = new Arena();
  arena.ok(['import', packSample(arena), 'sample']);
  if (containers === undefined) arena.ok(['import', packBusybox(arena), 'busybox']);
  arena.write('context/file', 'in the context\n');
  arena.write('secret', 'outside of the context\n');
});
after(() => arena.finish());

/** The end of what a failing build prints: the message, and before it the lines with the culprit marked. */
function excerpt(line: number, source: string, message: string): RegExp {
  const escaped = source.replace(/[$()*+.?[\\\]^{|}]/g, '\\$&');
  return new RegExp(
    `^Dockerfile:${line}\n-+\n(?:.*\n)*? +${line} \\| >>> ${escaped}\n(?:.*\n)*?-+\nimago: ${message}\n$`,
    'm',
  );
}

function refuseBuild(lines: readonly string[], says: RegExp, words: readonly string[] = []): void {
  arena.write('context/Dockerfile', `${lines.join('\n')}\n`);
  arena.refuses(['build', '-t', 'built', ...words, 'context'], { says });
}

describe('a Dockerfile with a mistake', () => {
  const cases: [lines: string[], line: number, message: string][] = [
    [
      ['FROM sample', '', 'COPPY file /'],
      3,
      'dockerfile parse error on line 3: unknown instruction: COPPY \\(did you mean COPY\\?\\)',
    ],
    [
      ['FROM sample', 'runn true'],
      2,
      'dockerfile parse error on line 2: unknown instruction: runn \\(did you mean run\\?\\)',
    ],
    [['FORM sample'], 1, 'dockerfile parse error on line 1: unknown instruction: FORM \\(did you mean FROM\\?\\)'],
    [
      ['FROM sample', 'COPY --chwon=1 file /'],
      2,
      'dockerfile parse error on line 2: unknown flag: --chwon \\(did you mean chown\\?\\)',
    ],
    [['FROM sample', 'COPY file'], 2, 'dockerfile parse error on line 2: COPY requires at least two arguments.*'],
    [['FROM sample', 'ENV'], 2, 'dockerfile parse error on line 2: ENV requires at least one argument'],
    [['RUN true'], 1, 'dockerfile parse error on line 1: no build stage in current context: .*'],
    [['FROM sample', 'RUN <<EOF', 'echo'], 2, 'dockerfile parse error on line 2: unterminated heredoc: .*'],
    [['FROM $X'], 1, 'dockerfile parse error on line 1: base name .* should not be blank'],
    [['FROM sample', 'EXPOSE 99999'], 2, 'invalid containerPort: 99999: .*'],
    [
      ['FROM sample', 'LABEL a="x'],
      2,
      'failed to process ".*": unexpected end of statement while looking for matching double-quote',
    ],
  ];
  for (const [lines, line, message] of cases) {
    test(lines.join(' / '), () => refuseBuild(lines, excerpt(line, lines[line - 1]!, message)));
  }
  test('nothing in it', () =>
    refuseBuild(['# a comment'], /dockerfile parse error on line 1: file with no instructions: wanted FROM\n$/));
  test('noise', () => {
    const noise = [0, 1, 2, 27, 99, 13, 8, 10, 200, 201];
    arena.write('context/Dockerfile', Buffer.from([0xff, 0xfe, ...noise]));
    arena.refuses(['build', 'context'], { says: /the Dockerfile is UTF-16: save it as UTF-8\n$/ });
    arena.write('context/Dockerfile', Buffer.from(noise));
    arena.refuses(['build', 'context'], { says: /Dockerfile/ });
  });
  test('none at all', () =>
    arena.refuses(['build', 'sample'], {
      says: /cannot read the Dockerfile: there is none \(.*\): name it with -f, or build in its directory\n$/,
    }));
});

describe('a base image that is not there', () => {
  // Nobody listens there, and no network is needed to find out.
  const name = '127.0.0.1:1/nosuch';
  const message = '127.0.0.1:1: connection refused .*: check that the registry runs there';
  test('of a stage', () => refuseBuild([`FROM ${name}`, 'COPY file /'], excerpt(1, `FROM ${name}`, message)));
  test('of a COPY', () => {
    const copy = `COPY --from=${name} / /`;
    refuseBuild(['FROM sample', copy], excerpt(2, copy, message));
  });
  test('a target that is no stage', () =>
    refuseBuild(['FROM sample AS one'], /target stage "nosuch" could not be found/, ['--target', 'nosuch']));
});

describe('a COPY', () => {
  const missing = (source: string): string =>
    `"/${source.replaceAll('.', '\\.')}": not found in the build context: check the path, which is relative to the context, and \\.dockerignore`;
  test('of what is missing', () =>
    refuseBuild(['FROM sample', 'COPY nosuch /'], excerpt(2, 'COPY nosuch /', missing('nosuch'))));
  test('of what .dockerignore leaves out', () => {
    arena.write('context/.dockerignore', 'file\n');
    refuseBuild(['FROM sample', 'COPY file /'], excerpt(2, 'COPY file /', missing('file')));
    arena.write('context/.dockerignore', '');
  });
  test('from outside of the context', () =>
    refuseBuild(['FROM sample', 'COPY ../secret /'], excerpt(2, 'COPY ../secret /', missing('secret'))));
  test('to a user that the image does not know', () =>
    refuseBuild(
      ['FROM sample', 'COPY --chown=nosuch file /'],
      excerpt(2, 'COPY --chown=nosuch file /', "unable to find user nosuch in the image's /etc/passwd: .*"),
    ));
});

describe('a RUN', { skip: containers ?? false }, () => {
  test('that fails: its exit code and its output', async () => {
    const line = 'RUN echo to stdout; echo to stderr >&2; exit 7';
    const message =
      'process "/bin/sh -c echo to stdout; echo to stderr >&2; exit 7" did not complete successfully: exit code: 7';
    refuseBuild(['FROM busybox', line], excerpt(2, line, message));
    refuseBuild(
      ['FROM busybox', line],
      /^------\n > \[2\/2\] RUN echo .*:\n(?:to stdout\nto stderr|to stderr\nto stdout)\n------\n/m,
    );
    await arena.assertQuiet();
  });
  test('of a program that is not there', () => {
    refuseBuild(['FROM busybox', 'RUN nosuch'], /nosuch: not found\n(?:.*\n)*.*exit code: 127\n$/);
    refuseBuild(
      ['FROM busybox', 'RUN ["/nosuch"]'],
      /cannot run the command: exec: "\/nosuch": .*no such file or directory\n$/,
    );
    refuseBuild(
      ['FROM sample', 'RUN true'],
      /cannot run the command: exec: "\/bin\/sh": .*no such file or directory\n$/,
    );
  });
  test('of what is no program', () =>
    refuseBuild(
      ['FROM busybox', 'RUN ["/etc/passwd"]'],
      /cannot run the command: exec: "\/etc\/passwd": permission denied\n$/,
    ));
  test('that is killed', () =>
    refuseBuild(
      ['FROM busybox', "RUN sh -c 'kill -9 $$'; exit $?"],
      /did not complete successfully: exit code: 137\n$/,
    ));
  test('as a user that the image does not know', () =>
    refuseBuild(
      ['FROM busybox', 'USER nosuch', 'RUN true'],
      /unable to find user nosuch: .*: name a user of the image's \/etc\/passwd, or give a number\n$/,
    ));
  test('what came before it is kept for the next build', () => {
    arena.write('context/Dockerfile', 'FROM busybox\nRUN echo once > /once\nRUN false\n');
    arena.fails(['build', 'context'], { says: /exit code: 1\n$/ });
    arena.write('context/Dockerfile', 'FROM busybox\nRUN echo once > /once\nRUN true\n');
    assert.match(arena.imago(['build', 'context']).stderr, /RUN echo once > \/once\n#\d+ CACHED/);
    arena.ok(['system', 'prune', '-f']);
  });
});
