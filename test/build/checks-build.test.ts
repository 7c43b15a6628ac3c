/** Checks in a build, and the command's forms of them. */
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { parseCall, runCall } from '../../src/cli/build-call.ts';
import { printChecks } from '../../src/cli/build-checks.ts';
import { printSource } from '../../src/cli/build-error.ts';
import type { CommandContext } from '../../src/cli/command.ts';
import { checkBuild } from '../../src/engine/build-checks.ts';
import { FakeRegistry } from '../registry/fake-registry.ts';
import { BuildLab } from './lab.ts';

const lab = new BuildLab();
after(() => lab[Symbol.dispose]());

const text = 'FROM scratch AS base\nLABEL key value\nCOPY a \\\n  $NO /x\nFROM base\nCMD x\n';

class Output {
  text = '';
  write(part: string): boolean {
    this.text += part;
    return true;
  }
}

async function call(words: string, dockerfile: string): Promise<{ status: number; out: string; err: string }> {
  const stdout = new Output();
  const stderr = new Output();
  const context = { stdout, stderr, signal: new AbortController().signal, openStore: () => lab.store };
  // Names here lead to no registry.
  const build = { context: lab.context, file: { name: 'Dockerfile', text: dockerfile }, pull: 'never' as const };
  const status = await runCall(parseCall(words)!, context as unknown as CommandContext, build).catch(() => 1);
  return { status, out: stdout.text, err: stderr.text };
}

describe('a build', () => {
  it('tells what its checks found, of what it builds', async () => {
    lab.write({ a: '1' });
    const { events } = await lab.build('FROM scratch AS no\nUSER $X\nFROM scratch\nCOPY a /\nLABEL k v\n');
    const found = events.flatMap((event) => (event.type === 'warning' ? [event] : []));
    assert.deepEqual(
      found.map((event) => [event.line, event.check?.rule, event.text]),
      [
        [
          5,
          'LegacyKeyValueFormat',
          'LegacyKeyValueFormat: "LABEL key=value" should be used instead of legacy "LABEL key value" format (line 5)',
        ],
      ],
    );
  });

  it('fails where its file wants that, and does nothing before', async () => {
    const run = lab.build('# check=error=true\nFROM scratch\nCOPY none /\nCMD x\n');
    await assert.rejects(run, {
      code: 'CHECKS_FAILED',
      message: /lint violation found for rules: JSONArgsRecommended/,
    });
    const skipped = lab.build('# check=error=true\nFROM scratch\nCOPY a /\nCMD x\n', {
      buildArgs: { BUILDKIT_DOCKERFILE_CHECK: 'skip=all' },
    });
    assert.equal((await skipped).events.filter(({ type }) => type === 'warning').length, 0);
  });

  it('says which rules do not exist', async () => {
    const { events } = await lab.build('# check=skip=UndefinedVra\nFROM scratch\nCOPY a /\n');
    const [warning] = events.filter((event) => event.type === 'warning');
    assert.equal(warning?.text, 'no build check is called UndefinedVra (did you mean UndefinedVar?)');
  });

  it('runs no other frontend', async () => {
    await assert.rejects(lab.build('# syntax=me/lang\nFROM scratch\n'), {
      name: 'DockerfileError',
      message: /another frontend/,
    });
  });

  it('suggests the stage that an unknown image may be', async () => {
    lab.write({ a: '1' });
    const run = lab.build('FROM scratch AS builder\nCOPY a /\nFROM scratch\nCOPY --from=biulder a /\n');
    await assert.rejects(run, { line: 4, message: /biulder .* \(did you mean the stage builder\?\)$/ });
  });

  it('points at what cannot be expanded', async () => {
    const run = lab.build(`FROM scratch\nENV A=1 \\\n  B="x\${C:?no C}"\n`);
    await assert.rejects(run, { line: 2, word: { line: 3, column: 7, length: 10 }, message: /C: no C/ });
  });

  it('knows the variables of its base', async () => {
    lab.write({ a: '1' });
    await lab.build('FROM scratch\nCOPY a /\nENV HERE=1\n', { tags: ['checked-base'] });
    const { events } = await lab.build('FROM checked-base\nUSER $HERE$HEER\n');
    assert.deepEqual(
      events.flatMap((event) => (event.type === 'warning' ? [event.text] : [])),
      ["UndefinedVar: Usage of undefined variable '$HEER' (did you mean $HERE?) (line 2)"],
    );
  });
});

describe('--check', () => {
  it("prints docker's form, and ends with 1", async () => {
    const { status, out } = await call('check', text);
    assert.equal(status, 1);
    assert.equal(
      out,
      `Check complete, 3 warnings have been found!

WARNING: LegacyKeyValueFormat - https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/
"LABEL key=value" should be used instead of legacy "LABEL key value" format
Dockerfile:2
--------------------
   1 |     FROM scratch AS base
   2 | >>> LABEL key value
     |           ^^^
   3 |     COPY a \\
   4 |       $NO /x
--------------------

WARNING: UndefinedVar - https://docs.docker.com/go/dockerfile/rule/undefined-var/
Usage of undefined variable '$NO'
Dockerfile:3
--------------------
   2 |     LABEL key value
   3 | >>> COPY a \\
   4 | >>>   $NO /x
     |       ^^^
   5 |     FROM base
--------------------

WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/
JSON arguments recommended for CMD to prevent unintended behavior related to OS signals
Dockerfile:6
--------------------
   4 |       $NO /x
   5 |     FROM base
   6 | >>> CMD x
     |         ^
   7 |     
--------------------
`,
    );
    assert.equal((await call('check,ignorestatus=true', text)).status, 0);
  });

  it('says so where nothing is found', async () => {
    const { status, out } = await call('lint', 'FROM scratch\nCOPY a /\n');
    assert.deepEqual([status, out], [0, 'Check complete, no warnings found.\n']);
  });

  it('says which bases it does not know', async () => {
    const { status, out, err } = await call('check', 'FROM not-here\nUSER $X\n');
    assert.deepEqual([status, out], [0, 'Check complete, no warnings found.\n']);
    assert.match(err, /^Variables are not checked on top of not-here: neither in the store nor/);
  });

  it('asks the registry for the configs of bases that are not here, and for no layer', async () => {
    await using registry = await FakeRegistry.start();
    const layer = registry.putBlob('team/base', Buffer.alloc(100_000, 'x'));
    const config = {
      ...{ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [layer] } },
      config: { Env: ['KNOWN=1'], OnBuild: ['USER $TRIGGERED'] },
    };
    const bytes = Buffer.from(JSON.stringify(config));
    const described = (mediaType: string, digest: string, size: number): object => ({ mediaType, digest, size });
    registry.putManifest('team/base', '1', {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: described('application/vnd.oci.image.config.v1+json', registry.putBlob('team/base', bytes), bytes.length),
      layers: [described('application/vnd.oci.image.layer.v1.tar', layer, 100_000)],
    });
    const base = `${registry.host}/team/base:1`;
    const before = lab.store.listRefs();
    const found = async (file: string, pull?: 'always'): Promise<string[]> => {
      const { warnings, error, unknown } = await checkBuild(lab.store, {
        file: { name: 'Dockerfile', text: file },
        pull,
      });
      assert.deepEqual([error, unknown], [undefined, []]);
      return warnings.map(({ rule, message }) => `${rule}: ${message}`);
    };
    // In a stage that the target has no need of, too.
    const file = `FROM ${base} AS other\nUSER $KNOWN$UNKNOWN\nFROM --platform=linux/arm64 ${base}\nUSER $KNOWN\n`;
    const expected = [
      "UndefinedVar: Usage of undefined variable '$TRIGGERED'",
      "UndefinedVar: Usage of undefined variable '$UNKNOWN'",
      'FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value "linux/arm64"',
      `InvalidBaseImagePlatform: Base image ${base} was pulled with platform "linux/amd64", expected "linux/arm64" for current build`,
    ];
    const told = await found(file);
    for (const text of expected)
      assert.ok(
        told.some((line) => line.startsWith(text)),
        `${text}\n${told.join('\n')}`,
      );
    assert.equal(registry.count('GET', new RegExp(layer)), 0);
    assert.equal(registry.count('GET', /manifests/), 2, 'once a platform');
    assert.deepEqual(lab.store.listRefs(), before);
    await found(file, 'always');
    assert.equal(registry.count('GET', /manifests/), 4);
    // A registry that does not answer is done without.
    registry.fault({ path: /manifests/ }, { status: 500 }, 100);
    const { unknown, error } = await checkBuild(lab.store, { file: { name: 'Dockerfile', text: file } });
    assert.deepEqual([unknown, error], [[base], undefined]);
  });

  it('finds the errors of a plan, behind the warnings', async () => {
    const { status, out, err } = await call('check', 'FROM scratch AS A\nCOPY --from=b x y\nFROM scratch AS b\n');
    assert.equal(status, 1);
    assert.match(out, /1 warning has been found![\s\S]*StageNameCasing/);
    assert.match(err, /Dockerfile:2\n[\s\S]*>>> COPY --from=b/);
  });

  it('prints JSON, with places', async () => {
    const { status, out } = await call('check,format=json', text);
    const result = JSON.parse(out);
    assert.equal(status, 1);
    assert.deepEqual(result.warnings[1].location, {
      ranges: [
        { start: { line: 3 }, end: { line: 3 } },
        { start: { line: 4, character: 2 }, end: { line: 4, character: 5 } },
      ],
    });
    assert.equal(Buffer.from(result.sources[0].data, 'base64').toString(), text);
    const broken = JSON.parse((await call('check,format=json', 'FROM scratch\nRUNN x\n')).out);
    assert.deepEqual(broken.warnings, null);
    assert.match(broken.buildError.message, /line 2: unknown instruction: RUNN/);
  });

  it('builds nothing', async () => {
    const { warnings, error } = await checkBuild(lab.store, {
      file: { name: 'x', text: 'FROM scratch\nCOPY none /\nRUN x' },
    });
    assert.deepEqual([warnings, error], [[], undefined]);
  });
});

describe('--call', () => {
  const outlined =
    '# V the version\nARG V=1\n# all the rest\nFROM busybox:$V AS all\nRUN --mount=type=secret,id=s,required=true x\n';

  it('outline', async () => {
    const { out } = await call('outline', outlined);
    assert.equal(
      out,
      'TARGET:      all\nDESCRIPTION: the rest\n\nBUILD ARG   VALUE   DESCRIPTION\nV           1       the version\n\nSECRET   REQUIRED\ns        true\n\n',
    );
    const json = JSON.parse((await call('outline,format=json', outlined)).out);
    assert.deepEqual(json.secrets, [
      { name: 's', required: true, location: { ranges: [{ start: { line: 5 }, end: { line: 5 } }] } },
    ]);
  });

  it('targets', async () => {
    assert.equal((await call('targets', outlined)).out, 'TARGET        DESCRIPTION\nall (default) the rest\n');
    const json = JSON.parse((await call('targets,format=json', outlined)).out);
    assert.deepEqual(
      [json.targets[0].name, json.targets[0].default, json.targets[0].base],
      ['all', true, 'busybox:$V'],
    );
  });

  it('reads its value', () => {
    assert.equal(parseCall('build'), undefined);
    for (const wrong of ['outlin', 'check,format=xml', 'check,outline', '', 'format=json']) {
      assert.throws(() => parseCall(wrong), { code: 'BAD_FLAG_VALUE' }, wrong);
    }
    assert.throws(() => parseCall('targts'), /did you mean targets\?/);
  });
});

describe('printing', () => {
  const warning = { rule: 'UndefinedVar' as const, description: 'why', message: 'what', line: 1, endLine: 1 };

  it('sums up behind a build, in full for --debug', () => {
    const short = new Output();
    printChecks(short, [warning, warning], undefined, false);
    assert.equal(
      short.text,
      '\n 2 warnings found (use imago --debug to expand):\n - UndefinedVar: what (line 1)\n - UndefinedVar: what (line 1)\n',
    );
    const long = new Output();
    printChecks(long, [warning], { name: 'D', text: 'FROM a' }, true);
    assert.match(long.text, /^\n 1 warning found:\n - UndefinedVar: what \(line 1\)\nwhy\nD:1\n/);
    const none = new Output();
    printChecks(none, [], undefined, false);
    assert.equal(none.text, '');
  });

  it('puts the caret under tabs and wide characters', () => {
    const out = new Output();
    const source = { name: 'D', text: 'RUN\t"\u65e5\u672c" $X\x1b' };
    printSource(out, source, { line: 1, endLine: 1 }, { line: 1, column: 10, length: 2 });
    assert.equal(out.text.split('\n')[3], '     |        \t       ^^');
    assert.equal(out.text.includes('\x1b'), false);
  });
});
