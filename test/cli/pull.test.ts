import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { PullPrinter } from '../../src/cli/pull-output.ts';
import { describe as describeImage, Lab, noise, type SampleImage, sampleImage, sha256 } from '../archive/lab.ts';
import { Arena } from '../faults/arena.ts';
import type { Outcome } from '../faults/running.ts';
import { needsContainers, packBusybox } from '../faults/samples.ts';
import { FakeRegistry } from '../registry/fake-registry.ts';

let lab: Lab;
let arena: Arena;
let registry: FakeRegistry;
let image: SampleImage;
let name: string;

before(async () => {
  lab = new Lab();
  arena = new Arena();
  arena.ok(['images']);
  registry = await FakeRegistry.start();
  const large = lab.tar(lab.tree('large', { 'usr/data': noise(6 * 2 ** 20) }));
  const small = lab.tar(lab.tree('small', { 'etc/motd': 'hello\n' }));
  image = sampleImage([large, small, large]);
  registry.putImage('team/app', 'latest', image);
  registry.putImage('team/app', 'v2', image);
  name = `${registry.host}/team/app`;
});
after(async () => {
  await registry[Symbol.asyncDispose]();
  lab[Symbol.dispose]();
  await arena.finish();
});

/** Beside this process, in which the registry is. */
async function imago(...words: string[]): Promise<Outcome> {
  return await arena.start(words).end();
}

async function ok(...words: string[]): Promise<string> {
  const { status, stdout, stderr } = await imago(...words);
  assert.equal(status, 0, stderr);
  assert.equal(stderr, '');
  return stdout;
}

const short = (bytes: Uint8Array): string => sha256(bytes).slice(7, 19);

describe('imago pull', () => {
  test('reads like Docker in a pipe', async () => {
    const lines = (await ok('pull', name)).trimEnd().split('\n');
    assert.deepEqual(lines.slice(0, 2), ['Using default tag: latest', 'latest: Pulling from team/app']);
    const [large, small] = image.layers.map(({ blob }) => short(blob)) as [string, string];
    assert.deepEqual(
      lines.slice(2, -3).sort(),
      [
        `${large}: Download complete`,
        `${large}: Pull complete`,
        `${large}: Pulling fs layer`,
        `${small}: Download complete`,
        `${small}: Pull complete`,
        `${small}: Pulling fs layer`,
      ].sort(),
    );
    assert.deepEqual(lines.slice(-3), [
      `Digest: ${sha256(image.manifest)}`,
      `Status: Downloaded newer image for ${name}:latest`,
      `${name}:latest`,
    ]);
  });

  test('once more: nothing is new', async () => {
    assert.equal(
      await ok('pull', `${name}:latest`),
      `latest: Pulling from team/app\nDigest: ${sha256(image.manifest)}\nStatus: Image is up to date for ${name}:latest\n${name}:latest\n`,
    );
  });

  test('layers that are here', async () => {
    assert.match(
      await ok('pull', `${name}:v2`),
      new RegExp(`^v2: .*\n${short(image.layers[0]!.blob)}: Already exists\n`),
    );
  });

  test('-q prints the name, -a takes every tag', async () => {
    assert.equal(await ok('pull', '-q', `${name}@${sha256(image.manifest)}`), `${name}@${sha256(image.manifest)}\n`);
    const text = await ok('pull', '-a', name);
    assert.match(text, /^latest: Pulling from team\/app\nDigest: .*\nv2: Pulling from team\/app\nDigest: /);
    assert.ok(text.endsWith(`Status: Image is up to date for ${name}\n${name}\n`), text);
  });

  test('errors say what, where and why', async () => {
    const { status, stdout, stderr } = await imago('pull', `${registry.host}/nosuch`);
    assert.deepEqual([status, stdout], [1, 'Using default tag: latest\n']);
    assert.match(
      stderr,
      /^imago: manifest for 127\.0\.0\.1:\d+\/nosuch:latest not found: .*404.*\/v2\/nosuch\/manifests\/latest\)\n$/,
    );
    assert.match((await imago('pull', 'Not Valid')).stderr, /^imago: invalid reference format/);
  });

  for (const [signal, expected] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGKILL', 137],
  ] as const) {
    test(`after ${signal} nothing has a name, and the next one goes on`, async () => {
      using own = new Arena();
      own.ok(['images']);
      const digest = sha256(image.layers[0]!.blob);
      registry.fault({ method: 'GET', path: new RegExp(digest) }, { stallAfter: 4_000_000 });
      const before = registry.requests('GET', new RegExp(digest)).length;
      const command = own.start(['pull', name]);
      await command.until(() => command.stdout.includes(`${short(image.layers[1]!.blob)}: Pull complete`));
      await sleep(200);
      command.signal(signal);
      assert.equal((await command.end()).status, expected);
      assert.deepEqual(own.state().references, []);
      const next = await own.start(['pull', '-q', name]).end();
      assert.equal(next.status, 0, next.stderr);
      const requests = registry.requests('GET', new RegExp(digest)).slice(before);
      const begin = Number(/^bytes=(\d+)-$/.exec(requests[1]?.headers.range ?? '')?.[1]);
      // But for what was on its way between two threads.
      assert.ok(begin > 2_900_000 && begin <= 4_000_000, `it went on at ${begin}`);
      await own.assertSound();
    });
  }
});

test('on a terminal every layer has a line with a bar', () => {
  const written: string[] = [];
  const out = { isTTY: true, columns: 80, rows: 24, write: (text: string) => written.push(text) };
  const printer = new PullPrinter(out);
  const [one, two] = image.layers.map(({ blob }) => sha256(blob)) as [`sha256:${string}`, `sha256:${string}`];
  printer.print({ type: 'image', repository: 'library/debian', tag: 'latest' });
  printer.print({ type: 'layer', digest: one, status: 'downloading', done: 5e6, total: 20e6 });
  printer.print({ type: 'retry', digest: two, url: 'http://x/', attempt: 1, delayMs: 1900, reason: 'x' });
  printer.print({ type: 'layer', digest: two, status: 'waiting' });
  printer.print({ type: 'retry', digest: two, url: 'http://x/', attempt: 1, delayMs: 1900, reason: 'x' });
  printer.print({ type: 'done', reference: 'docker.io/library/debian:latest', digest: one, changed: true });
  const text = written.join('');
  const last = text.slice(text.lastIndexOf('\x1b[1A') + 4).replaceAll('\r\x1b[2K', '');
  assert.equal(
    last,
    [
      'latest: Pulling from library/debian',
      `${one.slice(7, 19)}: Downloading [======>                 ] 5MB/20MB`,
      `${two.slice(7, 19)}: Retrying in 2 seconds`,
      `Digest: ${one}`,
      '',
    ].join('\n'),
  );
});

describe('an image that is not here', { skip: needsContainers() ?? false }, () => {
  let box: string;
  before(() => {
    const tar = readFileSync(packBusybox(arena));
    registry.putImage('box', 'latest', sampleImage([tar]));
    box = `${registry.host}/box`;
  });

  test('is fetched by run', async () => {
    const { status, stdout, stderr } = await imago('run', '--rm', box, 'echo', 'hi');
    assert.deepEqual([status, stdout], [0, 'hi\n'], stderr);
    assert.match(stderr, new RegExp(`^Unable to find image '${box}:latest' locally\nlatest: Pulling from box\n`));
    assert.match(stderr, /Status: Downloaded newer image for .*\/box:latest\n$/);
    assert.equal(await ok('run', '--rm', box, 'echo', 'again'), 'again\n');
  });

  test('never, always, quietly', async () => {
    const requests = registry.count();
    assert.match((await imago('run', '--rm', '--pull', 'never', `${box}:2`, 'true')).stderr, /^imago: No such image: /);
    assert.equal(registry.count(), requests);
    const always = await imago('run', '--rm', '--pull=always', box, 'echo', 'hi');
    assert.deepEqual([always.status, always.stdout], [0, 'hi\n']);
    assert.match(always.stderr, /^latest: Pulling from box\nDigest: .*\nStatus: Image is up to date for /);
    assert.equal(await ok('run', '--rm', '-q', '--pull=always', box, 'echo', 'hi'), 'hi\n');
    const bad = await imago('run', '--pull=sometimes', box);
    assert.deepEqual(
      [bad.status, bad.stderr],
      [125, `imago: invalid value of --pull: wanted always, missing or never, got "sometimes"\n`],
    );
    const missing = await imago('run', '--rm', `${box}:none`, 'true');
    assert.deepEqual([missing.status, missing.stdout], [125, '']);
    assert.match(missing.stderr, /^Unable to find image '.*:none' locally\nimago: manifest for .*:none not found/);
  });

  test('is fetched by create', async () => {
    registry.putImage('made', 'latest', sampleImage([lab.tar(lab.path('small'))]));
    const { status, stdout, stderr } = await imago('create', '--name', 'made', `${registry.host}/made`);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^[0-9a-f]{64}\n$/);
    await ok('rm', 'made');
  });

  test('is here for another platform only', async () => {
    const [own, other] = [undefined, 's390x'].map((architecture) => {
      const image = sampleImage([lab.tar(lab.path('small'))], { architecture });
      registry.putImage('both', architecture ?? 'own', image);
      const { architecture: told } = JSON.parse(image.config.toString()) as { architecture: string };
      return { ...describeImage(image), platform: { os: 'linux', architecture: told } };
    });
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    registry.putManifest('both', 'latest', { schemaVersion: 2, mediaType, manifests: [own, other] });
    const both = `${registry.host}/both`;
    const platformOf = async (...words: string[]): Promise<string> => {
      const { status, stderr } = await imago('create', '--name', 'of', '-q', ...words, both);
      assert.equal(status, 0, stderr);
      const id = await ok('inspect', '--format', '{{.Image}}', 'of');
      await ok('rm', 'of');
      return await ok('inspect', '--format', '{{.Architecture}}', id.trim());
    };
    const here = await platformOf();
    assert.notEqual(here, 's390x\n');
    const refused = await imago('create', '--pull=never', '--platform', 'linux/s390x', both);
    assert.equal(refused.status, 125);
    assert.match(refused.stderr, /is not there for this platform: wanted linux\/s390x, got linux\//);
    assert.equal(await platformOf('--platform', 'linux/s390x'), 's390x\n');
    assert.equal(await platformOf(), here);
  });

  test('is fetched by build: what it starts from, with its triggers, and what it copies from', async () => {
    const base = sampleImage([lab.tar(lab.path('small'))]);
    const config = JSON.parse(base.config.toString()) as { config: object };
    config.config = { ...config.config, OnBuild: ['LABEL triggered=yes'] };
    const bytes = Buffer.from(JSON.stringify(config));
    const manifest = JSON.parse(base.manifest.toString()) as { config: object };
    manifest.config = { ...manifest.config, digest: sha256(bytes), size: bytes.length };
    registry.putBlob('base', base.layers[0]!.blob);
    registry.putBlob('base', bytes);
    registry.putManifest('base', 'latest', manifest);
    arena.write(
      'build/Dockerfile',
      `FROM ${registry.host}/base\nCOPY --from=${registry.host}/team/other /usr/data /data\n`,
    );
    registry.putImage('team/other', 'latest', image);
    const { status, stderr } = await imago('build', '-t', 'built', 'build');
    assert.equal(status, 0, stderr);
    assert.match(stderr, /\[internal\] pull 127\.0\.0\.1:\d+\/base\n/);
    assert.match(await ok('inspect', 'built'), /"triggered": "yes"/);
    const before = registry.count('HEAD');
    await ok('build', '-q', '--pull', '-t', 'built', 'build');
    assert.equal(registry.count('HEAD') - before, 2);
  });

  test('and is nowhere: build says so with the line', async () => {
    arena.write('bad/Dockerfile', `FROM scratch\nFROM ${registry.host}/nowhere\n`);
    const { status, stderr } = await imago('build', 'bad');
    assert.equal(status, 1);
    assert.match(stderr, /Dockerfile:2\n/);
    assert.match(stderr, /imago: .*manifest for .*nowhere:latest not found/);
  });
});
