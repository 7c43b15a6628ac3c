import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type CheckedBase,
  type CheckOptions,
  type CheckResult,
  checkDockerfile,
} from '../../src/build/checks/checks.ts';
import { parseCheckConfig, unknownRules } from '../../src/build/checks/config.ts';
import { listTargets } from '../../src/build/checks/targets.ts';

const platform = { os: 'linux', architecture: 'amd64' };
const DEBIAN: CheckedBase = { env: ['PATH=/bin', 'LANG=C'], shell: false, onbuild: ['ENV a b'], platform };

function check(text: string, options: Partial<CheckOptions> = {}): CheckResult {
  return checkDockerfile(text, {
    buildArgs: new Map(),
    platformArgs: new Map([
      ['TARGETPLATFORM', 'linux/amd64'],
      ['BUILDPLATFORM', 'linux/amd64'],
      ['TARGETARCH', 'amd64'],
    ]),
    platform,
    all: true,
    ignorePatterns: [],
    baseOf: (name) => (name === 'debian' ? DEBIAN : name === 'unknown' ? undefined : { ...DEBIAN, onbuild: [] }),
    isReplaced: () => false,
    ...options,
  });
}

/** `RULE line:column+length message`; lines without a word have no column. */
function show({ warnings }: CheckResult): string[] {
  return warnings.map(({ rule, line, message, word }) => {
    const place = word === undefined ? `${line}` : `${word.line}:${word.column}+${word.length}`;
    return `${rule} ${place} ${message}`;
  });
}

const undefinedVar = (place: string, name: string, near = ''): string =>
  `UndefinedVar ${place} Usage of undefined variable '$${name}'${near}`;

const cases: [name: string, text: string, want: string[]][] = [
  ['a stage in capitals', 'FROM scratch AS Big', ["StageNameCasing 1:17+3 Stage name 'Big' should be lowercase"]],
  [
    'AS in another case',
    'FROM scratch as a\nfrom a AS b\nFrom b As c\nUSER x',
    [
      "FromAsCasing 1:14+2 'as' and 'FROM' keywords' casing do not match",
      "FromAsCasing 2:8+2 'AS' and 'from' keywords' casing do not match",
      "ConsistentInstructionCasing 2:1+4 Command 'from' should match the case of the command majority (uppercase)",
      "ConsistentInstructionCasing 3:1+4 Command 'From' should match the case of the command majority (uppercase)",
    ],
  ],
  [
    'small letters where most are',
    'from scratch\nuser a\nUSER b',
    ["ConsistentInstructionCasing 3:1+4 Command 'USER' should match the case of the command majority (lowercase)"],
  ],
  ['an empty continued line', 'FROM scratch\nENV a=b \\\n\n\n  c=d', ['NoEmptyContinuation 5 Empty continuation line']],
  [
    'a name twice',
    'FROM scratch AS a\nFROM scratch AS a',
    ['DuplicateStageName 2:17+1 Duplicate stage name "a", stage names should be unique'],
  ],
  [
    'a reserved name',
    'FROM scratch AS context',
    ['ReservedStageName 1:17+7 Stage name should not use the same name as reserved stage "context"'],
  ],
  [
    'the shell form',
    'FROM scratch\nCMD a b\nFROM scratch\nENTRYPOINT a',
    [
      'JSONArgsRecommended 2:5+3 JSON arguments recommended for CMD to prevent unintended behavior related to OS signals',
      'JSONArgsRecommended 4:12+1 JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS signals',
    ],
  ],
  ['the shell form with a shell of choice', 'FROM scratch AS a\nSHELL ["x"]\nCMD a\nFROM a\nENTRYPOINT b', []],
  [
    'MAINTAINER',
    'FROM scratch\nMAINTAINER me',
    ['MaintainerDeprecated 2:1+10 Maintainer instruction is deprecated in favor of using label'],
  ],
  [
    'variables in FROM',
    `ARG tag=1\nFROM x:\${tag}\${tga} AS a\nFROM --platform=\${BULDPLATFORM:-linux/amd64} x`,
    [
      "UndefinedArgInFrom 2:14+6 FROM argument 'tga' is not declared (did you mean tag?)",
      "UndefinedArgInFrom 3:17+14 FROM argument 'BULDPLATFORM' is not declared (did you mean BUILDPLATFORM?)",
    ],
  ],
  [
    'a relative WORKDIR',
    'FROM scratch AS a\nWORKDIR app\nWORKDIR more\nFROM a\nWORKDIR x\nFROM scratch\nWORKDIR /a\nWORKDIR b',
    ['WorkdirRelativePath 2:9+3 Relative workdir "app" can have unexpected results if the base image changes'],
  ],
  [
    'variables',
    `FROM x\nARG A\nENV B=$A C=$B\nCOPY $LNAG $D /x\nUSER \${A:-$U}\nARG V=$W\nVOLUME $PATH\nRUN echo $NO\nCMD ["$NO"]`,
    [
      undefinedVar('3:12+2', 'B'),
      undefinedVar('4:6+5', 'LNAG', ' (did you mean $LANG?)'),
      undefinedVar('4:12+2', 'D', ' (did you mean $B?)'),
      undefinedVar('5:11+2', 'U', ' (did you mean $B?)'),
      undefinedVar('6:7+2', 'W', ' (did you mean $B?)'),
    ],
  ],
  [
    'variables in heredocs and mounts',
    'FROM x\nCOPY <<E <<"F" /\n$N1\nE\n$N2\nF\nRUN --mount=type=cache,target=$N3 x',
    [undefinedVar('2', 'N1'), undefinedVar('7:31+3', 'N3')],
  ],
  [
    'what counts once',
    'FROM scratch AS a\nCMD ["a"]\nUSER x\ncmd ["b"]\nHEALTHCHECK NONE\nFROM a\nCMD []\nHEALTHCHECK NONE\nHEALTHCHECK NONE',
    [
      "ConsistentInstructionCasing 4:1+3 Command 'cmd' should match the case of the command majority (uppercase)",
      'MultipleInstructionsDisallowed 2:1+3 Multiple cmd instructions should not be used in the same stage because only the last one will be used',
      'MultipleInstructionsDisallowed 8:1+11 Multiple HEALTHCHECK instructions should not be used in the same stage because only the last one will be used',
    ],
  ],
  [
    'the old form of pairs',
    'FROM scratch\nENV a b\nLABEL c d',
    [
      'LegacyKeyValueFormat 2:5+1 "ENV key=value" should be used instead of legacy "ENV key value" format',
      'LegacyKeyValueFormat 3:7+1 "LABEL key=value" should be used instead of legacy "LABEL key value" format',
    ],
  ],
  [
    'platforms of FROM',
    'FROM --platform=$TARGETPLATFORM scratch\nFROM --platform=linux/arm64 scratch\nFROM --platform=linux/arm64 scratch AS arm64',
    [
      'RedundantTargetPlatform 1:6+26 Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior',
      'FromPlatformFlagConstDisallowed 2:6+22 FROM --platform flag should not use constant value "linux/arm64"',
    ],
  ],
  [
    'secrets',
    'FROM scratch\nARG API_TOKEN PUBLIC_KEY KEYNOTE\nENV PASSWORD=x secret_file=y',
    [
      'SecretsUsedInArgOrEnv 2:5+9 Do not use ARG or ENV instructions for sensitive data (ARG "API_TOKEN")',
      'SecretsUsedInArgOrEnv 3:5+8 Do not use ARG or ENV instructions for sensitive data (ENV "PASSWORD")',
    ],
  ],
  [
    'ports',
    'FROM scratch\nEXPOSE 80 53/UDP 8080:80',
    [
      "ExposeProtoCasing 2:11+6 Defined protocol '53/UDP' in EXPOSE instruction should be lowercase",
      "ExposeInvalidFormat 2:18+7 EXPOSE instruction should not define an IP address or host-port mapping, found '8080:80'",
    ],
  ],
  [
    'the ONBUILD of bases, told at FROM',
    'FROM debian\nFROM scratch AS a\nONBUILD WORKDIR x\nFROM a',
    [
      'LegacyKeyValueFormat 1 "ENV key=value" should be used instead of legacy "ENV key value" format',
      'WorkdirRelativePath 4 Relative workdir "x" can have unexpected results if the base image changes',
    ],
  ],
  ['nothing', 'FROM debian:1 AS a\nENV A=1\nRUN x\nFROM scratch\nCOPY --from=a $PATH /x\nCMD ["x"]', []],
  ['a continued line, to its own place', 'FROM x\nCOPY a \\\n  # no\n  $NO /x', [undefinedVar('4:3+3', 'NO')]],
];

describe('checkDockerfile', () => {
  for (const [name, text, want] of cases) it(name, () => assert.deepEqual(show(check(text)), want));

  it('looks for the base that the ARGs by themselves name', () => {
    const text = 'ARG V\nFROM debian:$V';
    assert.deepEqual(show(check(text, { buildArgs: new Map([['V', '12']]) })), [
      'InvalidDefaultArgInFrom 2:6+9 Default value for ARG debian:$V results in empty or invalid base image name',
    ]);
    assert.match(check(text).error!.message, /line 2: invalid base image name "debian:"/);
  });

  it('knows what the context does not have', () => {
    const text = 'FROM scratch AS a\nCOPY a/b/c ./d/ x/\nADD http://d /y\nADD /d /z\nCOPY --from=a d /\nCOPY . .';
    const verbs = (ignorePatterns: string[]): string[] => show(check(text, { ignorePatterns }));
    assert.deepEqual(verbs(['a', 'd']), [
      'CopyIgnoredFile 2:6+5 Attempting to Copy file "a/b/c" that is excluded by .dockerignore',
      'CopyIgnoredFile 2:12+4 Attempting to Copy file "d" that is excluded by .dockerignore',
      'CopyIgnoredFile 4:5+2 Attempting to Add file "d" that is excluded by .dockerignore',
    ]);
    assert.deepEqual(verbs(['a', '!a/b/c']), []);
    assert.equal(
      verbs(['*']).at(-1),
      'CopyIgnoredFile 6:6+1 Attempting to Copy file "." that is excluded by .dockerignore',
    );
  });

  it('tells of a base for another platform', () => {
    const other = { ...DEBIAN, platform: { os: 'linux', architecture: 'arm64' }, onbuild: [] };
    assert.deepEqual(show(check('FROM x', { baseOf: () => other })), [
      'InvalidBaseImagePlatform 1:6+1 Base image x was pulled with platform "linux/arm64", expected "linux/amd64" for current build',
    ]);
  });

  it('says nothing of variables on top of a base that it does not know', () => {
    const result = check('FROM unknown\nUSER $SOMEBODY');
    assert.deepEqual([show(result), result.unknown], [[], ['unknown']]);
  });

  it('checks what is built, unless all is asked for', () => {
    const text = 'FROM scratch AS a\nUSER $A\nFROM scratch AS b\nUSER $B\nFROM scratch\nCOPY --from=a x y\nUSER $C';
    const names = (options: Partial<CheckOptions>): string[] =>
      check(text, options).warnings.map(({ message }) => message.at(-2)!);
    assert.deepEqual(names({ all: false }), ['A', 'C']);
    assert.deepEqual(names({ all: true }), ['A', 'B', 'C']);
    assert.deepEqual(names({ all: true, target: 'b' }), ['B']);
    assert.deepEqual(names({ all: true, isReplaced: (name) => name === 'a' }), ['B', 'C']);
  });

  it('keeps what it found before an error', () => {
    const result = check('FROM scratch AS Big\nMAINTAINER a\nUSRE x');
    assert.deepEqual(
      result.warnings.map(({ rule }) => rule),
      ['StageNameCasing', 'MaintainerDeprecated'],
    );
    assert.match(result.error!.message, /line 3: unknown instruction: USRE \(did you mean USER\?\)/);
  });

  const errors: [text: string, message: RegExp][] = [
    ['FROM $NO', /line 1: base name \(\$NO\) should not be blank/],
    [
      'FROM --platform=$BULDPLATFORM x',
      /empty platform value from expression \$BULDPLATFORM \(did you mean BUILDPLATFORM\?\)/,
    ],
    [`FROM x\nUSER \${A?no user}`, /line 2: failed to process "\$\{A\?no user\}": A: no user/],
    ['FROM x\nVOLUME $NO', /line 2: VOLUME specified can not be an empty string/],
    ['FROM x\nEXPOSE abc', /line 2: invalid containerPort: abc/],
  ];
  for (const [text, message] of errors)
    it(JSON.stringify(text), () => assert.match(check(text).error!.message, message));
});

describe('check configuration', () => {
  const text = 'FROM scratch as a\nUSER $X\nCMD x';
  const rules = (directive: string, buildArgs?: Map<string, string>): string[] =>
    check(`${directive}\n${text}`, { ...(buildArgs && { buildArgs }) }).warnings.map(({ rule }) => rule);

  it('skips rules', () => {
    assert.deepEqual(rules('#'), ['FromAsCasing', 'UndefinedVar', 'JSONArgsRecommended']);
    assert.deepEqual(rules('# check=skip=all'), []);
    assert.deepEqual(
      rules('#!/bin/x\n# syntax=docker/dockerfile:1\n#check = skip=UndefinedVar,FromAsCasing;error=true'),
      ['JSONArgsRecommended'],
    );
    // Right above FROM it is FROM's own.
    assert.deepEqual(rules('# a comment\n# check=skip=all'), ['UndefinedVar', 'JSONArgsRecommended']);
  });

  it('takes the build argument instead', () => {
    const buildArgs = new Map([['BUILDKIT_DOCKERFILE_CHECK', 'skip=JSONArgsRecommended']]);
    assert.deepEqual(rules('# check=skip=all', buildArgs), ['FromAsCasing', 'UndefinedVar']);
  });

  it('skips rules of one instruction', () => {
    const own =
      'FROM scratch\n# check=skip=UndefinedVar because of this\nUSER $X\nUSER $Y\n# check=skip=all\n#\nUSER $Z';
    assert.deepEqual(
      check(own).warnings.map(({ line }) => line),
      [4, 7],
    );
  });

  it('has an experimental rule', () => {
    const own = '# what it is\nARG A=1\n# a the image\nFROM scratch AS a\n# B says\nARG B\n# or\nARG C D';
    assert.deepEqual(show(check(own)), []);
    assert.deepEqual(show(check(`# check=skip=all;experimental=InvalidDefinitionDescription\n${own}`)), [
      'InvalidDefinitionDescription 3:1+3 Comment for ARG should follow the format: `# A <description>`',
      'InvalidDefinitionDescription 9:1+3 Comment for ARG should follow the format: `# <arg_key> <description>`',
    ]);
  });

  for (const wrong of ['skpi=all', 'skip', 'error=maybe']) {
    it(`refuses ${wrong}`, () => assert.throws(() => parseCheckConfig(wrong), { code: 'BAD_CHECK_OPTION' }));
  }

  it('knows which rules there are', () => {
    const config = parseCheckConfig('skip=UndefinedVra,FromAsCasing;experimental=nothing');
    assert.deepEqual(unknownRules(config), ['UndefinedVra (did you mean UndefinedVar?)', 'nothing']);
  });
});

describe('outline and targets', () => {
  const text = [
    `# V the version\nARG V=1\nARG W=\${V}x\nARG X`,
    '# base the base\nFROM scratch AS base\nARG V\n# K key\nARG K=2',
    'RUN --mount=type=secret,id=s1,required=true --mount=type=ssh x',
    '# app the app\nFROM base AS app\nCOPY --from=0 a b\nARG TARGETARCH Q',
    'FROM --platform=$BUILDPLATFORM busybox:$W\nCOPY --from=app c d',
  ].join('\n');

  it('lists what a build can be given', () => {
    const outline = (target: string): unknown => {
      const { name, description, args, secrets, ssh } = check(text, {
        target,
        buildArgs: new Map([['Q', 'q']]),
      }).outline;
      return [
        name,
        description,
        args.map((arg) => `${arg.name}=${arg.value} ${arg.description} ${arg.line}`),
        secrets.map((secret) => `${secret.name} ${secret.required}`),
        ssh.map((agent) => `${agent.name} ${agent.required}`),
      ];
    };
    const secrets = [['s1 true'], ['default false']];
    assert.deepEqual(outline(''), ['', '', ['V=1 the version 2', 'W=1x  3', 'K=2 key 9', 'Q=q  14'], ...secrets]);
    assert.deepEqual(outline('app'), ['app', 'the app', ['V=1 the version 2', 'K=2 key 9', 'Q=q  14'], ...secrets]);
    assert.deepEqual(outline('base'), ['base', 'the base', ['V=1 the version 2', 'K=2 key 9'], ...secrets]);
  });

  it('lists stages', () => {
    assert.deepEqual(
      listTargets(text).map((t) => [t.name, t.description, t.base, t.platform, t.default, t.line]),
      [
        ['base', 'the base', 'scratch', undefined, false, 6],
        ['app', 'the app', 'base', undefined, false, 12],
        ['', '', 'busybox:$W', '$BUILDPLATFORM', true, 15],
      ],
    );
  });
});
