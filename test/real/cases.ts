/** What BuildKit's integration tests check of the language, one case or more each: `test` is the name there. */
import type { BuildOptions } from '../../src/engine/build.ts';
import type { RunConfig } from '../../src/oci/config.ts';
import type { Files } from '../build/lab.ts';

export interface BuildkitCase {
  test: string;
  /** What it is about, where `test` has several. */
  about?: string;
  files?: Files;
  dockerfile: string;
  options?: BuildOptions;
  /** Built before, by name. */
  bases?: Record<string, string>;
  /** File → its text, or undefined where there must be none. */
  want?: Record<string, string | undefined>;
  /** `OWNER MODE` by path. */
  modes?: Record<string, string>;
  config?: Partial<RunConfig>;
  /** Part of the error's message. */
  error?: RegExp;
}

/** Needs no RUN: any user can build it. */
export const plainCases: BuildkitCase[] = [
  {
    test: 'testEmptyDestDir',
    files: { file: 'x' },
    dockerfile: 'FROM scratch\nWORKDIR /w\nENV nothing=""\nCOPY file $nothing',
    want: { 'w/file': 'x' },
  },
  {
    test: 'testPreserveDestDirSlash',
    files: { file: 'x' },
    dockerfile: 'FROM scratch\nCOPY file /made/',
    want: { 'made/file': 'x' },
  },
  {
    test: 'testCopyLinkDotDestDir',
    files: { file: 'x' },
    dockerfile: 'FROM scratch\nWORKDIR /a/b\nCOPY --link file .',
    want: { 'a/b/file': 'x' },
  },
  {
    test: 'testCopyLinkEmptyDestDir',
    files: { file: 'x' },
    dockerfile: 'FROM scratch\nWORKDIR /a/b\nENV nothing=""\nCOPY --link file $nothing',
    want: { 'a/b/file': 'x' },
  },
  {
    test: 'testEmptyWildcard',
    files: { here: 'x' },
    dockerfile: 'FROM scratch\nCOPY here gone* /',
    want: { here: 'x' },
  },
  {
    test: 'testCopyThroughSymlinkContext',
    files: { 'real/file': 'x', alias: '->real' },
    dockerfile: 'FROM scratch\nCOPY alias/file .',
    want: { file: 'x' },
  },
  {
    test: 'testCopyFollowAllSymlinks',
    files: { plain: 'x', 'd/up': '->../plain' },
    dockerfile: 'FROM scratch\nCOPY d /\nCOPY d/up out',
    want: { out: 'x' },
  },
  {
    test: 'testCopySymlinks',
    files: {
      top: '->plain',
      plain: 'p',
      'd/a-file': 'f',
      'd/a-one': '->one',
      'd/one': '1',
      'd/a-two': '->two',
      'd/two': '->end',
      'd/end': '2',
    },
    dockerfile: 'FROM scratch\nCOPY top /\nCOPY d/a-* all/',
    want: { top: 'p', 'all/a-file': 'f', 'all/a-one': '1', 'all/a-two': '2' },
  },
  {
    test: 'testCopyInvalidChmod',
    about: 'no octal',
    files: { file: 'x' },
    dockerfile: 'FROM scratch\nCOPY --chmod=64a file /',
    error: /64a/,
  },
  {
    test: 'testCopyInvalidChmod',
    about: 'too many bits',
    files: { file: 'x' },
    dockerfile: 'FROM scratch\nCOPY --chmod=10000 file /',
    error: /10000/,
  },
  {
    test: 'testAddInvalidChmod',
    files: { file: 'x' },
    dockerfile: 'FROM scratch\nADD --chmod=64a file /',
    error: /64a/,
  },
  {
    test: 'testCopyOverrideFiles',
    files: { 'd/1/2/file': 'deep', 'src/f.go': 'go' },
    dockerfile: 'FROM scratch\nCOPY d d\nCOPY d d\nCOPY src/f.go to/f.go\nCOPY src/f.go to/f.go\nCOPY src to',
    want: { 'd/1/2/file': 'deep', 'to/f.go': 'go' },
  },
  {
    test: 'testCopyVarSubstitution',
    files: { name: 'x' },
    dockerfile: 'FROM scratch\nENV WHAT name\nCOPY $WHAT to',
    want: { to: 'x' },
  },
  {
    test: 'testCopyWildcards',
    files: { 'f.go': 'f', 'b.go': 'b', 's/1/2/file': 'deep' },
    dockerfile: [
      'FROM scratch',
      'COPY *.go /go/',
      'COPY f*.go one.go',
      'COPY s/* /to1/',
      'COPY s/*/2/file /to2/',
      'COPY s/*/2/file /to3/name',
      'COPY . all/',
      'COPY s/1/ to4',
      'COPY s/1/. to5',
      'COPY s/1 to6',
    ].join('\n'),
    want: {
      'go/f.go': 'f',
      'go/b.go': 'b',
      'one.go': 'f',
      'to1/2/file': 'deep',
      'to2/file': 'deep',
      'to3/name': 'deep',
      'all/s/1/2/file': 'deep',
      'to4/2/file': 'deep',
      'to5/2/file': 'deep',
      'to6/2/file': 'deep',
    },
  },
  {
    test: 'testCopyRelative',
    files: { file: 'x' },
    dockerfile: [
      'FROM scratch',
      'WORKDIR /1',
      'WORKDIR 2',
      'COPY file ./',
      'ADD file ./in/add',
      'COPY file ./in/copy',
      'WORKDIR ..',
      'COPY file ./',
      'COPY file /3/',
      'WORKDIR /4',
      'COPY . .',
      'WORKDIR /5/6',
      'COPY file ../',
    ].join('\n'),
    want: {
      '1/2/file': 'x',
      '1/2/in/add': 'x',
      '1/2/in/copy': 'x',
      '1/file': 'x',
      '3/file': 'x',
      '4/file': 'x',
      '5/file': 'x',
    },
    config: { WorkingDir: '/5/6' },
  },
  {
    test: 'testCopyUnicodePath',
    files: { 'größe.txt': '1', 'gr%C3%B6.txt': '2', 'a+b.txt': '3' },
    dockerfile: 'FROM scratch\nCOPY größe.txt /\nCOPY gr%C3%B6.txt /\nCOPY a+b.txt /',
    want: { [Buffer.from('größe.txt').toString('latin1')]: '1', 'gr%C3%B6.txt': '2', 'a+b.txt': '3' },
  },
  {
    test: 'testChmodNonOctal',
    files: { file: 'x', 'd/d1/in': 'y' },
    dockerfile: [
      'FROM scratch',
      'COPY --chmod=u=rwX,go=rX file f1',
      'COPY --chmod=go-r file f2',
      'COPY --chmod=a+x file f3',
      'COPY --chmod=u=rw,g=,o=r file f4',
      'COPY --chmod=go-rwx d /',
    ].join('\n'),
    modes: { f1: '0:0 0644', f2: '0:0 0600', f3: '0:0 0755', f4: '0:0 0604', d1: '0:0 0700', 'd1/in': '0:0 0600' },
  },
  {
    test: 'testSymlinkDestination',
    about: 'a destination whose link leads nowhere yet',
    files: { file: 'x', 'links/to': '->../tmp/there' },
    dockerfile: 'FROM scratch\nCOPY links/ /\nCOPY file /to/',
    want: { 'tmp/there/file': 'x' },
  },
  {
    test: 'testExposeExpansion',
    dockerfile: 'FROM scratch\nARG PORTS="3000 4000/udp"\nEXPOSE $PORTS\nEXPOSE 5000',
    config: { ExposedPorts: { '3000/tcp': {}, '4000/udp': {}, '5000/tcp': {} } },
  },
  {
    test: 'testLabels',
    dockerfile: 'FROM scratch\nLABEL one=1',
    options: { labels: { two: '2' } },
    config: { Labels: { one: '1', two: '2' } },
  },
  {
    test: 'testTargetMistype',
    dockerfile: 'FROM scratch AS release\nCOPY . /',
    options: { target: 'relaese' },
    error: /relaese.*release/s,
  },
  { test: 'testGlobalArgErrors', dockerfile: 'ARG X=${X:?"it is needed"}\nFROM scratch', error: /X: it is needed/ },
  {
    test: 'testGlobalArgErrors',
    about: 'given',
    dockerfile: 'ARG X=${X:?"it is needed"}\nFROM scratch',
    options: { buildArgs: { X: 'y' } },
  },
  { test: 'testArgDefaultExpansion', dockerfile: 'FROM scratch\nARG A\nARG B=${A:?"no A"}', error: /A: no A/ },
  {
    test: 'testArgDefaultExpansion',
    about: 'the one it takes is given',
    dockerfile: 'FROM scratch\nARG A\nARG B=${A:?"no A"}\nLABEL b=$B',
    options: { buildArgs: { A: '1' } },
    config: { Labels: { b: '1' } },
  },
  {
    test: 'testArgDefaultExpansion',
    about: 'it is given itself',
    dockerfile: 'FROM scratch\nARG A\nARG B=${A:?"no A"}\nLABEL b=$B',
    options: { buildArgs: { B: '2' } },
    config: { Labels: { b: '2' } },
  },
  {
    test: 'testMultiArgs',
    dockerfile: [
      'ARG a="one two" b=atch',
      'ARG c="$b-3"',
      'FROM scr$b',
      'ARG c d="5 6" a',
      'LABEL all="$a:$c:$d"',
    ].join('\n'),
    config: { Labels: { all: 'one two:atch-3:5 6' } },
  },
  {
    test: 'testQuotedMetaArgs',
    dockerfile: ['ARG a="atch"', 'ARG b="$a-2"', 'FROM scr$a', 'ARG b', 'ARG c="3-$b"', 'LABEL c=$c'].join('\n'),
    config: { Labels: { c: '3-atch-2' } },
  },
  {
    test: 'testTargetStageNameArg',
    about: 'a named target',
    dockerfile: 'FROM scratch AS other\nARG TARGETSTAGE\nLABEL s="$TARGETSTAGE"\nFROM scratch',
    options: { target: 'other' },
    config: { Labels: { s: 'other' } },
  },
  {
    test: 'testTargetStageNameArg',
    about: 'the last stage, without a name',
    dockerfile: 'FROM scratch\nARG TARGETSTAGE\nLABEL s="$TARGETSTAGE"',
    config: { Labels: { s: 'default' } },
  },
  {
    test: 'testTargetStageNameArg',
    about: 'the last stage, with a name',
    dockerfile: 'FROM scratch AS base\nARG TARGETSTAGE\nLABEL s="$TARGETSTAGE"\nFROM base AS final',
    config: { Labels: { s: 'final' } },
  },
  {
    test: 'testDefaultEnvWithArgs',
    about: 'pattern in FROM',
    dockerfile: 'ARG i=xscr\nFROM ${i#x}atch\nARG a\nENV a "a=${a:-none}"\nENV b "${a%%n*}"',
    config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'a=a=none', 'b=a='] },
  },
  {
    test: 'testDefaultEnvWithArgs',
    about: 'given',
    dockerfile: 'FROM scratch\nARG a\nENV a "a=${a:-none}"\nENV b "${a%%v*}"',
    options: { buildArgs: { a: 'over' } },
    config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'a=a=over', 'b=a=o'] },
  },
  {
    test: 'testEnvEmptyFormatting',
    dockerfile: 'FROM scratch\nENV a 1%s2',
    config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'a=1%s2'] },
  },
  {
    test: 'testCmdShell',
    bases: { parent: 'FROM scratch\nCMD ["theirs"]' },
    dockerfile: 'FROM parent\nSHELL ["ls"]\nENTRYPOINT my own',
    config: { Cmd: undefined, Entrypoint: ['ls', 'my own'], Shell: ['ls'] },
  },
  {
    test: 'testDefaultShellAndPath',
    dockerfile: 'FROM scratch\nENTRYPOINT a b',
    config: {
      Entrypoint: ['/bin/sh', '-c', 'a b'],
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
    },
  },
  {
    test: 'testInvalidJSONCommands',
    about: 'a list that is none',
    dockerfile: 'FROM scratch\nENTRYPOINT []some words',
    config: { Entrypoint: ['/bin/sh', '-c', '[]some words'] },
  },
  {
    test: 'testDockerfileInvalidInstruction',
    dockerfile: 'FROM scratch\nENTRYPIONT ["x"]',
    error: /unknown instruction: ENTRYPIONT.*ENTRYPOINT/s,
  },
  {
    test: 'testCopyHeredocSpecialSymbols',
    dockerfile: [
      'FROM scratch',
      'COPY <<E quotes\n"a" \'b\'\nE',
      'COPY <<E one\n\\\nE',
      'COPY <<E two\n\\\\\nE',
      'COPY <<E three\n\\$\nE',
      'COPY <<"E" raw1\n\\\nE',
      'COPY <<"E" raw2\n\\\\\nE',
      'COPY <<"E" raw3\n\\$\nE',
    ].join('\n'),
    want: {
      quotes: '"a" \'b\'\n',
      one: '\n',
      two: '\\\n',
      three: '$\n',
      raw1: '\\\n',
      raw2: '\\\\\n',
      raw3: '\\$\n',
    },
  },
  {
    test: 'testCopyHeredoc',
    about: 'several files, modes',
    dockerfile: [
      'FROM scratch',
      'WORKDIR /w',
      'COPY <<A one\n1\nA',
      'COPY <<A <<B two/\na\nA\nb\nB',
      'COPY --chmod=777 --chown=7:8 <<A moded\nm\nA',
    ].join('\n'),
    want: { 'w/one': '1\n', 'w/two/A': 'a\n', 'w/two/B': 'b\n', 'w/moded': 'm\n' },
    modes: { 'w/one': '0:0 0644', 'w/moded': '7:8 0777' },
  },
  {
    test: 'testHeredocIndent',
    about: 'COPY',
    dockerfile: 'FROM scratch\nCOPY <<E kept\n\tx\nE\nCOPY <<-E taken\n\tx\n\tE',
    want: { kept: '\tx\n', taken: 'x\n' },
  },
  {
    test: 'testHeredocVarSubstitution',
    about: 'COPY',
    dockerfile: [
      'FROM scratch',
      'ARG who=you',
      ...['E', "'E'", '"E"'].flatMap((word, i) => [
        `COPY <<${word} a${i}\n\${who}!\nE`,
        `COPY <<${word} b${i}\n'\${who}'!\nE`,
        `COPY <<${word} c${i}\n"\${who}"!\nE`,
      ]),
    ].join('\n'),
    want: {
      a0: 'you!\n',
      b0: "'you'!\n",
      c0: '"you"!\n',
      a1: '${who}!\n',
      b1: "'${who}'!\n",
      c1: '"${who}"!\n',
      a2: '${who}!\n',
      b2: "'${who}'!\n",
      c2: '"${who}"!\n',
    },
  },
  {
    test: 'testMountInvalid',
    about: 'flag',
    dockerfile: 'FROM scratch\nRUN --mont=target=/t,type=tmpfs x',
    error: /mont.*mount/s,
  },
  {
    test: 'testMountInvalid',
    about: 'key',
    dockerfile: 'FROM scratch\nRUN --mount=typ=tmpfs x',
    error: /'?typ'?.*type/s,
  },
  {
    test: 'testMountInvalid',
    about: 'type',
    dockerfile: 'FROM scratch\nRUN --mount=type=tmp x',
    error: /tmp.*tmpfs/s,
  },
  {
    test: 'testMountFromError',
    dockerfile: 'FROM scratch AS s\nFROM scratch\nENV s=s\nRUN --mount=from=$s,type=cache,target=/t x',
    error: /'from' doesn't support variable expansion|from.*stage/s,
  },
  { test: 'testWorkdirCreatesDir', dockerfile: 'FROM scratch\nWORKDIR /made\nWORKDIR /', modes: { made: '0:0 0755' } },
  {
    test: 'testWorkdirCopyIgnoreRelative',
    files: { file: 'x' },
    dockerfile: 'FROM scratch AS s\nWORKDIR /made\nCOPY file /\nFROM scratch\nCOPY --from=s file .',
    want: { file: 'x' },
  },
  {
    test: 'testWorkdirUser',
    dockerfile:
      'FROM scratch\nCOPY <<E /etc/passwd\nu:x:7:8::/:\nE\nCOPY <<E /etc/group\nu:x:8:\nE\nUSER u\nWORKDIR /made',
    modes: { made: '7:8 0755' },
  },
  {
    test: 'testMultiStageImplicitFrom',
    about: 'an image',
    files: { file: 'x' },
    bases: { 'some/image': 'FROM scratch\nCOPY file /deep/file' },
    dockerfile: 'FROM scratch\nCOPY --from=some/image /deep/file out',
    want: { out: 'x' },
  },
  {
    test: 'testMultiStageImplicitFrom',
    about: "a stage of an image's name",
    files: { file: 'x' },
    dockerfile: 'FROM scratch AS golang\nCOPY file /go\nFROM scratch\nCOPY --from=golang go out',
    want: { out: 'x' },
  },
  {
    test: 'testMultiStageCaseInsensitive',
    files: { file: 'x' },
    dockerfile:
      'FROM scratch AS FIrst\nCOPY file a\nFROM scratch AS secOND\nCOPY --from=fiRST a b\nFROM scratch\nCOPY --from=second b c',
    options: { target: 'SEcond' },
    want: { b: 'x', c: undefined },
  },
  ...['/', '/x'].map((source) => ({
    test: 'testOutOfOrderStage',
    about: source,
    dockerfile: `FROM scratch AS target\nCOPY --from=later ${source} /out\nFROM scratch AS later\nFROM target`,
    error: /later/,
  })),
  { test: 'testEmptyStages', dockerfile: 'ARG only=this', error: /no (?:build )?stage|FROM/i },
  {
    test: 'testDockerfileCopyFromArgs',
    about: '--from takes no variable',
    files: { file: 'x' },
    dockerfile: 'FROM scratch AS s\nCOPY file a\nFROM scratch\nARG f=s\nCOPY --from=$f a b',
    error: /from|variable|\$f/,
  },
  {
    test: 'testDockerignore',
    files: { foo: 'f', bar: 'b', baz: 'z', bay: 'y', '.dockerignore': '\nba*\nDockerfile\n!bay\n.dockerignore\n' },
    dockerfile: 'FROM scratch\nCOPY . .',
    want: { foo: 'f', bar: undefined, baz: undefined, bay: 'y', '.dockerignore': undefined },
  },
  {
    test: 'testDockerignoreInvalid',
    files: { '.dockerignore': '!\n' },
    dockerfile: 'FROM scratch\nCOPY . .',
    error: /pattern|exclusion/i,
  },
  {
    test: 'testDockerfileAddArchiveWildcard',
    files: { 'x.txt': 'x', 'y.txt': 'y' },
    dockerfile: 'FROM scratch\nADD *.txt /to/',
    want: { 'to/x.txt': 'x', 'to/y.txt': 'y' },
  },
  {
    test: 'testAddChecksum',
    about: 'of a file of the context',
    files: { file: 'x' },
    dockerfile: `FROM scratch\nADD --checksum=sha256:${'0'.repeat(64)} file /`,
    error: /checksum/i,
  },
  {
    test: 'testAddChecksum',
    about: 'an algorithm that nobody knows',
    dockerfile: `FROM scratch\nADD --checksum=unknown:${'0'.repeat(64)} http://127.0.0.1:1/x /`,
    error: /checksum|algorithm|digest/i,
  },
  {
    test: 'testAddChecksum',
    about: 'without an algorithm',
    dockerfile: `FROM scratch\nADD --checksum=${'0'.repeat(64)} http://127.0.0.1:1/x /`,
    error: /checksum|algorithm|digest/i,
  },
  {
    test: 'testExcludedFilesOnCopy',
    files: { 'd/a.txt': 'a', 'd/b.log': 'b', 'd/s/c.txt': 'c', 'd/s/e.md': 'e' },
    dockerfile: [
      'FROM scratch',
      'COPY --exclude=*.log d /1/',
      'COPY --exclude=**/*.txt --exclude=**/*.log d /2/',
      'COPY --exclude=s d /3/',
      'ADD --exclude=*.txt d /5/',
    ].join('\n'),
    want: {
      '1/a.txt': 'a',
      '1/b.log': undefined,
      '1/s/c.txt': 'c',
      '2/a.txt': undefined,
      '2/b.log': undefined,
      '2/s/c.txt': undefined,
      '2/s/e.md': 'e',
      '3/a.txt': 'a',
      '3/s/c.txt': undefined,
      '5/a.txt': undefined,
      '5/s/c.txt': 'c',
    },
  },
  {
    test: 'testCopyParents',
    files: { 'a/b/1': '1', 'a/c/2': '2', 'a/c/3.txt': '3' },
    dockerfile:
      'FROM scratch\nCOPY --parents a/b/1 a/c/2 /all/\nCOPY --parents a/*/*.txt /wild/\nWORKDIR /w\nCOPY --parents a/c/2 .',
    want: { 'all/a/b/1': '1', 'all/a/c/2': '2', 'all/a/c/3.txt': undefined, 'wild/a/c/3.txt': '3', 'w/a/c/2': '2' },
  },
  {
    test: 'testCopyRelativeParents',
    files: { 'a/b/c/1': '1', 'a/b/d/2': '2' },
    dockerfile:
      'FROM scratch\nCOPY --parents a/./b/c/1 /one/\nCOPY --parents ./a/b/./*/* /two/\nCOPY --parents a/b/./d /three/',
    want: { 'one/b/c/1': '1', 'one/a/b/c/1': undefined, 'two/c/1': '1', 'two/d/2': '2', 'three/d/2': '2' },
  },
  {
    test: 'testCopyParentsMissingDirectory',
    files: { 'a/1': '1' },
    dockerfile: 'FROM scratch\nCOPY --parents gone/./x /to/',
    error: /gone/,
  },
  {
    test: 'testPlatformArgsImplicit',
    dockerfile:
      'FROM --platform=$BUILDPLATFORM scratch\nARG TARGETPLATFORM\nARG BUILDPLATFORM\nLABEL p=$TARGETPLATFORM,$BUILDPLATFORM',
    options: { platform: 'linux/riscv64' },
    config: { Labels: { p: `linux/riscv64,linux/${process.arch === 'x64' ? 'amd64' : process.arch}` } },
  },
  {
    test: 'testPlatformArgsExplicit',
    dockerfile:
      'FROM --platform=linux/arm/v6 scratch\nARG TARGETPLATFORM\nARG TARGETOS\nARG TARGETARCH\nARG TARGETVARIANT\nLABEL p=$TARGETPLATFORM,$TARGETOS,$TARGETARCH,$TARGETVARIANT',
    options: { platform: 'linux/arm/v6' },
    config: { Labels: { p: 'linux/arm/v6,linux,arm,v6' } },
  },
  {
    test: 'testPullScratch',
    dockerfile: 'FROM scratch\nLABEL a=b\nCOPY <<E f\nx\nE',
    want: { f: 'x\n' },
    config: { Labels: { a: 'b' } },
  },
  {
    test: 'testDockerfileScratchConfig',
    dockerfile: 'FROM scratch\nENV a=b',
    config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'a=b'], WorkingDir: '/' },
  },
  {
    test: 'testReproducibleIDs',
    about: 'see also test/build/build.test.ts',
    dockerfile: 'FROM scratch\nENV a=b',
    options: { epoch: new Date(0) },
    config: { WorkingDir: '/' },
  },
];
