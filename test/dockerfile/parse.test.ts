import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { StageInstruction } from '../../src/formats/dockerfile/instruction.ts';
import { parseDockerfile, parseTrigger } from '../../src/formats/dockerfile/parse.ts';

function parseOne(text: string): StageInstruction {
  return parseDockerfile(`FROM a\n${text}`).stages[0]!.instructions[0]!;
}

/** The fields that a case names. */
function pick(instruction: StageInstruction, want: object): object {
  return Object.fromEntries(Object.keys(want).map((key) => [key, instruction[key as keyof StageInstruction]]));
}

const cases: [text: string, want: object][] = [
  ['RUN make && make install', { name: 'RUN', args: ['make && make install'], shell: true }],
  ['RUN ["make", "-j2"]', { name: 'RUN', args: ['make', '-j2'], shell: false }],
  ['RUN --network=none --mount=type=tmpfs,target=/x a', { network: 'none', mounts: ['type=tmpfs,target=/x'] }],
  ['COPY a b /c/', { sources: ['a', 'b'], dest: '/c/', link: false, parents: false, exclude: [] }],
  [
    'COPY --from=0 --link --chmod=755 --exclude=*.o --exclude=x a b',
    { from: '0', link: true, chmod: '755', exclude: ['*.o', 'x'] },
  ],
  ['COPY --link=false a b', { link: false }],
  ['COPY ["a b", "c"]', { sources: ['a b'], dest: 'c' }],
  [
    'COPY <<x.txt <<"y" a /d/\n$1\nx.txt\n$2\ny',
    {
      sources: ['a'],
      dest: '/d/',
      inline: [
        { name: 'x.txt', content: '$1\n', expand: true },
        { name: 'y', content: '$2\n', expand: false },
      ],
    },
  ],
  ['COPY <<-E /x\n\ta\n\t\tb\nE', { inline: [{ name: 'E', content: 'a\nb\n', expand: true }] }],
  [
    'ADD --checksum=sha256:x --keep-git-dir=true http://x /y',
    { checksum: 'sha256:x', keepGitDir: true, unpack: undefined },
  ],
  ['ARG a b=1 c=', { args: [{ key: 'a' }, { key: 'b', value: '1' }, { key: 'c', value: '' }] }],
  [
    'ENV a=1 b="2 3"',
    {
      pairs: [
        { key: 'a', value: '1' },
        { key: 'b', value: '"2 3"' },
      ],
    },
  ],
  ['LABEL a b c', { pairs: [{ key: 'a', value: 'b c' }] }],
  ['CMD', { name: 'CMD', args: [], shell: true }],
  ['ENTRYPOINT ["/x", "-y"]', { args: ['/x', '-y'], shell: false }],
  ['EXPOSE 80 443/tcp 53/udp', { values: ['443/tcp', '53/udp', '80'] }],
  ['VOLUME /a /b', { values: ['/a', '/b'] }],
  ['VOLUME ["/a b"]', { values: ['/a b'] }],
  ['SHELL ["/bin/bash", "-c"]', { values: ['/bin/bash', '-c'] }],
  ['STOPSIGNAL SIGUSR1', { value: 'SIGUSR1' }],
  ['MAINTAINER Some One <a@b>', { value: 'Some One <a@b>' }],
  ['HEALTHCHECK NONE', { health: { test: ['NONE'] } }],
  ['ONBUILD RUN x', { expression: 'RUN x' }],
  ['onbuild copy <<E /x\na\nE', { expression: 'copy <<E /x\na\nE' }],
];

describe('parseInstruction', () => {
  for (const [text, want] of cases) it(text.split('\n')[0]!, () => assert.deepEqual(pick(parseOne(text), want), want));

  it('reads the times of a health check', () => {
    const instruction = parseOne('HEALTHCHECK --interval=1m30s --timeout=500ms --start-period=0s --retries=3 CMD a b');
    assert.deepEqual(instruction.name === 'HEALTHCHECK' && instruction.health, {
      test: ['CMD-SHELL', 'a b'],
      interval: 90e9,
      timeout: 5e8,
      startPeriod: undefined,
      startInterval: undefined,
      retries: 3,
    });
  });

  it('reads a trigger at the line of its FROM', () => {
    const instruction = parseTrigger('COPY <<E /x\na\nE', { line: 7, endLine: 7 });
    assert.deepEqual([instruction.name, instruction.line], ['COPY', 7]);
  });
});

describe('parseDockerfile', () => {
  it('finds stages and global ARGs', () => {
    const file = parseDockerfile('ARG v=1\nARG w\nFROM a:$v AS Build\nRUN x\nFROM --platform=linux/amd64 build\nRUN y');
    assert.deepEqual(
      file.globalArgs.map(({ args }) => args),
      [[{ key: 'v', value: '1' }], [{ key: 'w' }]],
    );
    assert.deepEqual(
      file.stages.map(({ from, instructions }) => [from.image, from.stage, from.platform, instructions.length]),
      [
        ['a:$v', 'build', undefined, 1],
        ['build', undefined, 'linux/amd64', 1],
      ],
    );
  });
});

const broken: [text: string, message: RegExp][] = [
  ['RUN x', /line 1: no build stage in current context: wanted FROM before RUN/],
  ['ARG x', /line 1: no build stage/],
  ['FROM', /line 1: FROM requires either one or three arguments/],
  ['FROM a b', /either one or three/],
  ['FROM a AS 1x', /invalid name for build stage: "1x"/],
  ['FROM a\nCOPY x', /line 2: COPY requires at least two arguments, but only one was provided/],
  ['FROM a\nCOPY', /COPY requires at least two arguments/],
  ['FROM a\nCOPY --form=x a b', /line 2: unknown flag: --form \(did you mean from\?\)/],
  ['FROM a\nCOPY --from=x --from=y a b', /duplicate flag specified: --from/],
  ['FROM a\nCOPY --from a b', /missing a value on flag: --from/],
  ['FROM a\nCOPY --link=maybe a b', /expecting boolean value for flag --link, not: maybe/],
  ['FROM a\nCOPY a <<E\nE', /cannot accept a heredoc as a destination/],
  ['FROM a\nENV =x', /ENV names can not be blank/],
  ['FROM a\nENV', /ENV requires at least one argument/],
  ['FROM a\nARG =x', /ARG names can not be blank/],
  ['FROM a\nWORKDIR', /WORKDIR requires exactly one argument/],
  ['FROM a\nUSER', /USER requires exactly one argument/],
  ['FROM a\nEXPOSE', /EXPOSE requires at least one argument/],
  ['FROM a\nSHELL /bin/sh -c', /SHELL requires the arguments to be in JSON form/],
  ['FROM a\nVOLUME [""]', /VOLUME specified can not be an empty string/],
  ['FROM a\nHEALTHCHECK CMD', /Missing command after HEALTHCHECK CMD/],
  ['FROM a\nHEALTHCHECK NOEN', /Unknown type "NOEN" in HEALTHCHECK \(try CMD\) \(did you mean NONE\?\)/],
  ['FROM a\nHEALTHCHECK --interval=5 CMD x', /invalid duration "5" of --interval/],
  ['FROM a\nHEALTHCHECK --retries=-1 CMD x', /--retries cannot be negative/],
  ['FROM a\nONBUILD ONBUILD RUN x', /Chaining ONBUILD/],
  ['FROM a\nONBUILD FROM x', /FROM isn't allowed as an ONBUILD trigger/],
  ['FROM a\nONBUILD', /ONBUILD requires at least one argument/],
];

describe('parseDockerfile: bad input', () => {
  for (const [text, message] of broken) {
    it(JSON.stringify(text), () => assert.throws(() => parseDockerfile(text), { name: 'DockerfileError', message }));
  }
});
