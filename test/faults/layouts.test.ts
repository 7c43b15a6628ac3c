import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Arena } from './arena.ts';
import { packSample } from './samples.ts';

/** `good` is a layout of one image; the store that loads has another one. */
let arena: Arena;
let manifest: string;
let config: string;
let layer: string;
before(() => {
  arena = new Arena();
  arena.ok(['import', packSample(arena), 'sample']);
  arena.ok(['save', '--format', 'oci-dir', '-o', 'good', 'sample']);
  arena.ok(['rmi', 'sample']);
  manifest = hexIn('index.json', (index) => index.manifests[0].digest);
  config = hexIn(`blobs/sha256/${manifest}`, (document) => document.config.digest);
  layer = hexIn(`blobs/sha256/${manifest}`, (document) => document.layers[0].digest);
  arena.write('other/file', 'other');
  spawnSync('tar', ['-C', arena.path('other'), '-cf', arena.path('other.tar'), '.']);
  arena.ok(['import', 'other.tar', 'other']);
});
after(() => arena.finish());

// biome-ignore lint/suspicious/noExplicitAny: what is in the file is known
function hexIn(file: string, pick: (document: any) => string): string {
  return pick(JSON.parse(readFileSync(arena.path('good', file), 'utf8'))).slice('sha256:'.length);
}

const blob = (hex: string): string => `blobs/sha256/${hex}`;

/** Changes a copy of the layout; then loads it as a directory, as a tar and as a stream. */
function refuseLayout(
  change: (place: (name: string) => string) => void,
  says: RegExp,
  forms = ['directory', 'tar', 'stream'],
): void {
  const bad = arena.path('bad');
  rmSync(bad, { recursive: true, force: true });
  // Not links: a saved directory shares its files with the store.
  cpSync(arena.path('good'), bad, { recursive: true });
  for (const hex of readdirSync(join(bad, 'blobs/sha256'))) chmodSync(join(bad, blob(hex)), 0o644);
  change((name) => join(bad, name));
  if (forms.includes('directory')) arena.refuses(['load', '-i', 'bad'], { says });
  spawnSync('tar', ['-C', bad, '-cf', arena.path('bad.tar'), ...readdirSync(bad)]);
  if (forms.includes('tar')) arena.refuses(['load', '-i', 'bad.tar'], { says });
  if (forms.includes('stream')) arena.refuses(['load'], { says, input: readFileSync(arena.path('bad.tar')) });
}

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at]! ^= 1;
  writeFileSync(path, bytes);
}

function edit(path: string, from: string | RegExp, to: string): void {
  const text = readFileSync(path, 'utf8');
  assert.notEqual(text.replace(from, to), text);
  writeFileSync(path, text.replace(from, to));
}

const AGAIN = 'get it again\n$';

describe('a layout with a wrong digest', () => {
  test('of a layer', () =>
    refuseLayout(
      (at) => flip(at(blob(layer)), 5000),
      new RegExp(`is not what its digest says: wanted sha256:${layer}, got sha256:[0-9a-f]{64}: .*${AGAIN}`),
    ));
  test('of a layer whose tar is broken by it', () =>
    refuseLayout(
      (at) => flip(at(blob(layer)), 520),
      new RegExp(`is not what its digest says.*: wanted sha256:${layer}, got .*${AGAIN}`),
      ['directory', 'tar'],
    ));
  test('of a config', () =>
    refuseLayout(
      (at) => flip(at(blob(config)), 30),
      new RegExp(`is not what its digest says: wanted sha256:${config}, got .*${AGAIN}`),
    ));
  test('of a manifest', () =>
    refuseLayout(
      (at) => flip(at(blob(manifest)), 30),
      new RegExp(`is not what its digest says: wanted sha256:${manifest}, got .*${AGAIN}`),
    ));
});

describe('an incomplete layout', () => {
  const lacks = (hex: string): RegExp =>
    new RegExp(`lacks 'blobs/sha256/${hex}': wanted sha256:${hex}: the archive is incomplete: make it again\n$`);
  test('without a layer', () => refuseLayout((at) => rmSync(at(blob(layer))), lacks(layer)));
  test('without the config', () => refuseLayout((at) => rmSync(at(blob(config))), lacks(config)));
  test('without the manifest', () => refuseLayout((at) => rmSync(at(blob(manifest))), lacks(manifest)));
  test('without an index', () =>
    refuseLayout(
      (at) => rmSync(at('index.json')),
      /is neither an OCI layout nor a Docker archive: .*: the tar of a root file system is brought in with 'imago import'\n$/,
    ));
  test('with half a layer', () => {
    const half = (at: (name: string) => string): void =>
      writeFileSync(at(blob(layer)), readFileSync(at(blob(layer))).subarray(0, 100_000));
    const want = `is not as long as its descriptor says: wanted \\d+ bytes, got 100000: the archive is damaged: ${AGAIN}`;
    refuseLayout(half, new RegExp(want), ['directory', 'tar']);
    // Of a stream, the end of the layer's tar is seen first.
    refuseLayout(half, /tar ends inside a member: .*get it again from where it came\n$/, ['stream']);
  });
  test('with a directory in the place of a layer', () =>
    refuseLayout((at) => {
      rmSync(at(blob(layer)));
      mkdirSync(at(blob(layer)));
    }, lacks(layer)));
});

describe('a hostile layout', () => {
  const invalid = (file: string): RegExp =>
    new RegExp(`'${file}' in .* is not valid: .*: make the archive again, or ask who made it\n$`);
  test('a digest that is a path', () =>
    refuseLayout(
      (at) => edit(at('index.json'), `sha256:${manifest}`, 'sha256:../../../etc/passwd'),
      invalid('index.json'),
      ['directory'],
    ));
  test('a digest of an unknown kind', () =>
    refuseLayout((at) => edit(at('index.json'), `sha256:${manifest}`, 'md5:0123'), invalid('index.json'), ['tar']));
  for (const text of ['', '{', 'null', '[]', '{}', '{"schemaVersion":2,"manifests":7}']) {
    test(`index.json is ${JSON.stringify(text)}`, () =>
      refuseLayout((at) => writeFileSync(at('index.json'), text), invalid('index.json'), ['directory']));
  }
  test('a version from the future', () =>
    refuseLayout((at) => edit(at('oci-layout'), '1.0.0', '9.0.0'), invalid('oci-layout'), ['stream']));
  test('a layer that is a link to a file of the host', () => {
    const link = (at: (name: string) => string): void => {
      rmSync(at(blob(layer)));
      symlinkSync('/etc/passwd', at(blob(layer)));
    };
    refuseLayout(link, /is a link that leads out of it: copy the file there in place of the link\n$/, ['directory']);
    refuseLayout(link, /the archive is incomplete: make it again\n$/, ['tar', 'stream']);
  });
  test('a Docker archive whose layer lies outside', () => {
    refuseLayout((at) => {
      rmSync(at('index.json'));
      rmSync(at('oci-layout'));
      writeFileSync(
        at('manifest.json'),
        JSON.stringify([{ Config: blob(config), RepoTags: ['evil:1'], Layers: ['../../etc/passwd'] }]),
      );
    }, /names a file outside of itself: got "\.\.\/\.\.\/etc\/passwd": it is damaged or hostile; nothing was taken from it\n$/);
  });
});

test('names of an archive are set once all of it is there, or not at all', () => {
  const before = arena.state();
  refuseLayout((at) => {
    const index = JSON.parse(readFileSync(at('index.json'), 'utf8'));
    const missing = { ...index.manifests[0], digest: `sha256:${'0'.repeat(64)}` };
    writeFileSync(at('index.json'), JSON.stringify({ ...index, manifests: [...index.manifests, missing] }));
  }, /the archive is incomplete/);
  assert.deepEqual(arena.state().references, before.references);
});
