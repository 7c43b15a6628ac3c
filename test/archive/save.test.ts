import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, it, describe as suite } from 'node:test';
import { loadArchive } from '../../src/archive/load.ts';
import { isImagoError } from '../../src/core/errors.ts';
import { type SaveFormat, type SaveOptions, saveImages } from '../../src/engine/save.ts';
import { tagByName } from '../../src/image/tag-by-name.ts';
import type { Store } from '../../src/store/store.ts';
import { describe, inFlight, Lab, layoutOf, noise, type SampleImage, sampleImage, sha256 } from './lab.ts';

let lab: Lab;
let store: Store;
let app: SampleImage;
let plain: SampleImage;

before(async () => {
  lab = new Lab();
  const base = lab.tar(lab.tree('l1', { 'etc/os-release': 'ID=sample\n', 'usr/noise': noise(1 << 20) }));
  const top = lab.tar(lab.tree('l2', { 'app/main': 'print()\n' }));
  app = sampleImage([base, top]);
  plain = sampleImage([base], { gzip: false, cmd: '/plain' });
  store = lab.store();
  await load(app, 'app:1');
  await load(plain, 'plain:1');
});
after(() => lab[Symbol.dispose]());

async function load(image: SampleImage, name: string, into: Store = store): Promise<void> {
  const files = layoutOf(image, { 'io.containerd.image.name': name });
  await loadArchive(into, lab.tree(`in-${name.replace(':', '-')}`, files));
}

async function save(
  names: string[],
  options: Partial<SaveOptions> = {},
): Promise<{ bytes: Buffer; rewritten: string[] }> {
  const parts: Buffer[] = [];
  const output = (chunk: Uint8Array) => void parts.push(Buffer.from(chunk));
  const { rewritten } = await saveImages(store, names, { output, ...options });
  return { bytes: Buffer.concat(parts), rewritten };
}

function listNames(tar: Buffer): string[] {
  return execFileSync('tar', ['-t'], { input: tar }).toString().trim().split('\n');
}

function member(tar: Buffer, name: string): Buffer {
  return execFileSync('tar', ['-xO', name], { input: tar, maxBuffer: 1 << 28 });
}

suite('an archive', () => {
  it('is an OCI layout and a Docker archive at once, the same bytes each time', async () => {
    const { bytes, rewritten } = await save(['app:1']);
    assert.deepEqual(rewritten, []);
    assert.ok(bytes.equals((await save(['app:1'])).bytes));
    const blobs = [app.manifest, app.config, ...app.layers.map((l) => l.blob)].map(
      (b) => `blobs/sha256/${sha256(b).slice(7)}`,
    );
    assert.deepEqual(listNames(bytes), [
      'blobs/',
      'blobs/sha256/',
      ...blobs.sort(),
      'index.json',
      'manifest.json',
      'oci-layout',
    ]);
    assert.deepEqual(JSON.parse(member(bytes, 'index.json').toString()).manifests, [
      {
        ...describe(app),
        annotations: {
          'io.containerd.image.name': 'docker.io/library/app:1',
          'org.opencontainers.image.ref.name': 'docker.io/library/app:1',
        },
      },
    ]);
    assert.deepEqual(JSON.parse(member(bytes, 'manifest.json').toString()), [
      {
        Config: `blobs/sha256/${sha256(app.config).slice(7)}`,
        RepoTags: ['app:1'],
        Layers: app.layers.map((l) => `blobs/sha256/${sha256(l.blob).slice(7)}`),
      },
    ]);
    assert.ok(!listNames((await save(['app:1'], { format: 'oci-archive' })).bytes).includes('manifest.json'));
  });

  it('loads again with the same digests, in every format', async () => {
    for (const format of ['docker-archive', 'oci-archive', 'oci-dir'] as SaveFormat[]) {
      const output = lab.path(`again-${format}`);
      await saveImages(store, ['app:1', 'plain:1'], { output, format });
      const other = lab.store();
      await loadArchive(other, output);
      assert.deepEqual(
        other.listRefs(),
        store.listRefs().filter((r) => /(app|plain):1$/.test(r.reference)),
      );
      for (const image of [app, plain])
        assert.ok(Buffer.from(other.readBlob(sha256(image.manifest))).equals(image.manifest));
    }
  });

  it('has a repository without a tag stand for all its tags, and each image once', async () => {
    const some = lab.store();
    await load(app, 'many:1', some);
    await load(plain, 'many:2', some);
    tagByName(some, 'many:1', 'many:3');
    tagByName(some, 'many:1', 'other:1');
    const parts: Buffer[] = [];
    await saveImages(some, ['many', 'other:1', sha256(app.config)], { output: (c) => void parts.push(Buffer.from(c)) });
    const items = JSON.parse(member(Buffer.concat(parts), 'manifest.json').toString());
    assert.deepEqual(
      items.map((i: { RepoTags: string[] }) => i.RepoTags),
      [['many:1', 'many:3', 'other:1'], ['many:2']],
    );
  });

  it('by an ID or a digest has no names', async () => {
    for (const name of [sha256(app.config), sha256(app.config).slice(7, 19), `app@${sha256(app.manifest)}`]) {
      const { bytes } = await save([name]);
      assert.equal(JSON.parse(member(bytes, 'manifest.json').toString())[0].RepoTags, null, name);
      assert.deepEqual(JSON.parse(member(bytes, 'index.json').toString()).manifests, [describe(app)]);
    }
  });

  it('names the tars where the compressed layers were not kept, and says so', async () => {
    const pulled = lab.store();
    await load(app, 'pulled:1', pulled);
    rmSync(pulled.blobPath(sha256(app.layers[0]!.blob)));
    const output = lab.path('pulled.tar');
    const { rewritten } = await saveImages(pulled, ['pulled:1'], { output });
    assert.deepEqual(rewritten, ['pulled:1']);
    const other = lab.store();
    const [image] = await loadArchive(other, output);
    assert.equal(image!.id, sha256(app.config), 'the same image');
    const manifest = JSON.parse(other.readBlob(image!.descriptor.digest).toString());
    assert.deepEqual(
      manifest.layers.map((l: { digest: string; mediaType: string }) => [l.digest, l.mediaType.split('.').at(-1)]),
      [
        [sha256(app.layers[0]!.tar), 'tar'],
        [sha256(app.layers[1]!.blob), 'tar+gzip'],
      ],
    );
  });
});

suite('a directory', () => {
  it("has the store's own files as hard links, and appears as a whole", async () => {
    const output = lab.path('dir');
    await saveImages(store, ['app:1'], { output, format: 'oci-dir' });
    const blob = `blobs/sha256/${sha256(app.layers[0]!.blob).slice(7)}`;
    assert.equal(statSync(join(output, blob)).ino, statSync(store.blobPath(sha256(app.layers[0]!.blob))).ino);
    assert.deepEqual(readdirSync(output).sort(), ['blobs', 'index.json', 'oci-layout']);
    assert.equal(statSync(output).mode & 0o777, 0o755);
  });

  it('goes into an empty directory, and into no other', async () => {
    mkdirSync(lab.path('empty'));
    await saveImages(store, ['app:1'], { output: lab.path('empty'), format: 'oci-dir' });
    assert.ok(existsSync(lab.path('empty/index.json')));
    writeFileSync(lab.path('a-file'), 'x');
    for (const taken of ['empty', 'a-file']) {
      await assert.rejects(saveImages(store, ['app:1'], { output: lab.path(taken), format: 'oci-dir' }), (e) =>
        isImagoError(e, 'OUTPUT_EXISTS'),
      );
    }
  });
});

suite('a save that fails', () => {
  const left = () => readdirSync(lab.dir).filter((n) => n.startsWith('.'));

  it('of an unknown image writes nothing', async () => {
    const output = lab.path('unknown.tar');
    await assert.rejects(saveImages(store, ['app:1', 'unknown:1'], { output }), (e) =>
      isImagoError(e, 'IMAGE_NOT_FOUND'),
    );
    assert.ok(!existsSync(output));
  });

  it('of a damaged store leaves the old file as it was', async () => {
    const damaged = lab.store();
    await load(plain, 'damaged:1', damaged);
    const layer = damaged.blobPath(sha256(plain.layers[0]!.tar));
    const output = lab.path('old.tar');
    writeFileSync(output, 'old');
    rmSync(layer);
    await assert.rejects(saveImages(damaged, ['damaged:1'], { output }), (e) => isImagoError(e, 'BLOB_MISSING'));
    writeFileSync(layer, 'short');
    await assert.rejects(saveImages(damaged, ['damaged:1'], { output }), (e) => isImagoError(e, 'SIZE_MISMATCH'));
    assert.equal(readFileSync(output, 'utf8'), 'old');
    assert.deepEqual([left(), inFlight(damaged)], [[], []]);
  });

  it('by a signal leaves nothing', async () => {
    for (const format of ['docker-archive', 'oci-dir'] as SaveFormat[]) {
      const output = lab.path(`stopped-${format}`);
      await assert.rejects(
        saveImages(store, ['app:1'], { output, format, signal: AbortSignal.abort(new Error('stop')) }),
      );
      assert.ok(!existsSync(output));
    }
    assert.deepEqual(left(), []);
  });

  it('to a directory that is none, or one in the place of a file', async () => {
    await assert.rejects(saveImages(store, ['app:1'], { output: lab.path('none/x.tar') }), (e) =>
      isImagoError(e, 'NO_SUCH_FILE'),
    );
    await assert.rejects(saveImages(store, ['app:1'], { output: lab.dir }), (e) => isImagoError(e, 'OUTPUT_EXISTS'));
  });
});
