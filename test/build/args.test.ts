import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { BuildOptions } from '../../src/engine/build-options.ts';
import { hostPlatform } from '../../src/oci/platform.ts';
import { BuildLab, type BuildRun } from './lab.ts';

const { architecture: arch } = hostPlatform(process.arch);
const env = ({ image }: BuildRun): string[] => image.config.config!.Env!.slice(1);
const history = ({ image }: BuildRun): string[] => image.config.history!.map((entry) => entry.created_by!);

/** BuildKit's rules: frontend/dockerfile/dockerfile2llb/convert.go (buildMetaArgs, defaultArgs, dispatchArg). */
describe('ARG and ENV', () => {
  const cases: [name: string, dockerfile: string, options: BuildOptions, want: string[]][] = [
    ['a global ARG is not in a stage by itself', 'ARG a=1\nFROM scratch\nENV x=[$a]', {}, ['x=[]']],
    ['ARG without a value takes the global one', 'ARG a=1\nFROM scratch\nARG a\nENV x=$a', {}, ['x=1']],
    ['ARG with a value does not', 'ARG a=1\nFROM scratch\nARG a=2\nENV x=$a', {}, ['x=2']],
    ['--build-arg wins over both', 'ARG a=1\nFROM scratch\nARG a=2\nENV x=$a', { buildArgs: { a: '3' } }, ['x=3']],
    ['--build-arg without an ARG is nothing', 'FROM scratch\nENV x=[$a]', { buildArgs: { a: '3' } }, ['x=[]']],
    ['an empty --build-arg is a value', 'FROM scratch\nARG a=2\nENV x=[$a]', { buildArgs: { a: '' } }, ['x=[]']],
    ['global ARGs see those above them', 'ARG a=1\nARG b=$a$a\nARG a=2\nFROM scratch\nARG b\nENV x=$b', {}, ['x=11']],
    [
      'a global ARG given changes what is made of it',
      'ARG a=1\nARG b=$a!\nFROM scratch\nARG b\nENV x=$b',
      { buildArgs: { a: '9' } },
      ['x=9!'],
    ],
    ['ENV after ARG wins', 'FROM scratch\nARG a=1\nENV a=2\nENV x=$a', {}, ['a=2', 'x=2']],
    [
      'ARG after ENV is what later lines see, and the image keeps ENV',
      'FROM scratch\nENV a=2\nARG a=1\nENV x=$a',
      {},
      ['a=2', 'x=1'],
    ],
    [
      'ARG is gone in the next stage, but for a stage on this one',
      'FROM scratch AS s\nARG a=1\nFROM scratch AS t\nENV x=[$a]\nFROM s\nENV x=[$a]',
      {},
      ['x=[1]'],
    ],
    ['ENV of a base is seen', 'FROM scratch AS s\nENV a=1\nFROM s\nARG a\nENV x=$a', {}, ['a=1', 'x=1']],
    [
      'one ARG line of several, each seeing the one before',
      'FROM scratch\nARG a=1 b=$a c\nENV x=$a$b[$c]',
      {},
      ['x=11[]'],
    ],
    ['platform ARGs need an ARG in a stage', 'FROM scratch\nENV x=[$TARGETARCH]', {}, ['x=[]']],
    [
      'platform ARGs',
      'FROM scratch\nARG TARGETPLATFORM BUILDPLATFORM TARGETOS TARGETVARIANT\nENV x=$TARGETPLATFORM,$BUILDPLATFORM,$TARGETOS,$TARGETVARIANT',
      { platform: 'linux/arm/v7' },
      [`x=linux/arm/v7,linux/${arch},linux,v7`],
    ],
    ['a stage may have its own idea of them', 'FROM scratch\nARG TARGETARCH=mine\nENV x=$TARGETARCH', {}, ['x=mine']],
    [
      '--build-arg overrides them, also before FROM',
      'ARG x=$TARGETARCH\nFROM scratch\nARG x TARGETARCH\nENV y=$x,$TARGETARCH',
      { buildArgs: { TARGETARCH: 'given' } },
      ['y=given,given'],
    ],
    [
      'TARGETSTAGE: the stage asked for',
      'FROM scratch AS a\nARG TARGETSTAGE\nENV x=$TARGETSTAGE\nFROM scratch',
      { target: 'a' },
      ['x=a'],
    ],
    ['TARGETSTAGE: the last one', 'FROM scratch AS last\nARG TARGETSTAGE\nENV x=$TARGETSTAGE', {}, ['x=last']],
    [
      'TARGETSTAGE: the last one without a name',
      'FROM scratch\nARG TARGETSTAGE\nENV x=$TARGETSTAGE',
      {},
      ['x=default'],
    ],
    [
      'in FROM',
      `ARG v=one\nFROM scratch AS one\nENV x=1\nFROM scratch AS two\nENV x=2\nFROM \${v:-two}`,
      { buildArgs: { v: 'two' } },
      ['x=2'],
    ],
    ['a platform in FROM', 'ARG p=linux/s390x\nFROM --platform=$p scratch\nENV x=1', {}, ['x=1']],
  ];
  for (const [name, dockerfile, options, want] of cases) {
    it(name, async () => {
      using lab = new BuildLab();
      assert.deepEqual(env(await lab.build(dockerfile, options)), want);
    });
  }

  it('the history tells what an ARG was', async () => {
    using lab = new BuildLab();
    const run = await lab.build('ARG g=1\nFROM scratch\nARG g\nARG none\nARG a=2 b', { buildArgs: { b: '3' } });
    assert.deepEqual(history(run), ['ARG g=1', 'ARG none', 'ARG a=2 b=3']);
  });

  const unused = ({ events }: BuildRun): string[] =>
    events.flatMap((event) => (event.type === 'warning' ? [event.text] : []));
  it('what nobody declares is told of, but for what needs no ARG', async () => {
    using lab = new BuildLab();
    const run = await lab.build('FROM scratch\nENV a=1', {
      buildArgs: {
        http_proxy: 'http://x',
        NO_PROXY: 'y',
        BUILDKIT_INLINE_CACHE: '1',
        TARGETARCH: 'x',
        SOURCE_DATE_EPOCH: '0',
        other: '1',
        more: '',
      },
    });
    assert.deepEqual(unused(run), ['One or more build-args [other more] were not consumed']);
  });
  it('BUILDKIT_SYNTAX for the frontend that this is changes nothing', async () => {
    using lab = new BuildLab();
    const run = await lab.build('FROM scratch\nENV a=1', { buildArgs: { BUILDKIT_SYNTAX: 'docker/dockerfile:1' } });
    assert.deepEqual(unused(run), []);
    assert.deepEqual(env(run), ['a=1']);
  });
  it('proxies are in no layer and no history', async () => {
    using lab = new BuildLab();
    const run = await lab.build('FROM scratch\nARG a\nENV b=1', { buildArgs: { HTTPS_PROXY: 'http://user:secret@x' } });
    assert.doesNotMatch(JSON.stringify(run.image.config), /secret/);
  });
});
