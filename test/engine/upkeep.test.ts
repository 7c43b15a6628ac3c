import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { readDiskUsage } from '../../src/engine/disk-usage.ts';
import { readInfo } from '../../src/engine/info.ts';
import { pruneStore } from '../../src/engine/prune.ts';
import { verifyStore } from '../../src/engine/verify.ts';
import { appendLayer, draftOf, tarLayer, writeImage } from '../../src/image/draft.ts';
import { resolveImage } from '../../src/image/resolve.ts';
import { tagImage } from '../../src/image/tags.ts';
import { PATCH_INDEX } from '../../src/snapshot/patch.ts';
import { dropPin } from '../../src/snapshot/pin.ts';
import { openSnapshotter } from '../../src/snapshot/snapshotter.ts';
import { ingestLayer } from '../../src/store/ingest-layer.ts';
import { layerIndexPath } from '../../src/store/layers.ts';
import { Sample as ImageSample } from '../image/sample.ts';

const BASE = { 'etc/os': 'debian\n', 'usr/bin/tool': 'x'.repeat(5000) };
const APP_A = { 'app/a': 'a'.repeat(2000) };
const APP_B = { 'app/b': 'b'.repeat(3000) };

class Sample extends ImageSample {
  override async [Symbol.asyncDispose](): Promise<void> {
    // Letting go of a layer's mount pins the namespace that mounts would be in.
    if (existsSync(join(this.store.run, 'mnt/ns'))) dropPin(this.store.run);
    await super[Symbol.asyncDispose]();
  }
}

/** Two images on one base. */
async function twoApps(): Promise<Sample> {
  const sample = new Sample();
  await sample.image('app-a', [BASE, APP_A]);
  await sample.image('app-b', [BASE, APP_B]);
  return sample;
}

/** The record of a container that exited, as far as these functions read it. */
function addContainer(sample: Sample, imageName: string): string {
  const { id, descriptor, diffIds } = resolveImage(sample.store, imageName);
  const container = 'd'.repeat(64);
  const directory = join(sample.store.root, 'containers', container);
  mkdirSync(join(directory, 'upper'), { recursive: true });
  mkdirSync(join(directory, 'exit'));
  writeFileSync(join(directory, 'upper/file'), 'z'.repeat(10_000));
  writeFileSync(join(directory, 'exit', container), '0');
  const image = { reference: imageName, id, manifest: descriptor.digest, diffIds };
  const record = {
    version: 1,
    id: container,
    name: 'web',
    created: '2026-01-01T00:00:00Z',
    image,
    mounts: [],
    holder: 'conmon',
  };
  writeFileSync(join(directory, 'container.json'), JSON.stringify(record));
  return container;
}

describe('disk usage', () => {
  test('what images take alone, what they share, what is stored once', async () => {
    await using sample = await twoApps();
    const { store } = sample;
    const [base, a] = resolveImage(store, 'app-a').diffIds.map((diffId) => store.blobSize(diffId)!);
    const b = store.blobSize(resolveImage(store, 'app-b').diffIds[1]!)!;
    const { images, containers, garbage } = await readDiskUsage(store);
    const size = base! + a! + b;
    assert.deepEqual(images, { total: 2, active: 0, size, reclaimable: size, alone: size + base!, shared: base });
    assert.deepEqual(containers, { total: 0, active: 0, size: 0, reclaimable: 0 });
    assert.equal(garbage, 0);
  });

  test('a container keeps its image', async () => {
    await using sample = await twoApps();
    addContainer(sample, 'app-a');
    const b = sample.store.blobSize(resolveImage(sample.store, 'app-b').diffIds[1]!)!;
    const { images, containers } = await readDiskUsage(sample.store);
    assert.deepEqual([images.active, images.reclaimable], [1, b]);
    assert.deepEqual([containers.total, containers.active], [1, 0]);
    assert.ok(containers.size >= 10_000 && containers.reclaimable === containers.size);
  });

  test('volumes, and who uses them', async () => {
    await using sample = new Sample();
    for (const name of ['data', 'other'])
      mkdirSync(join(sample.store.root, 'volumes', name, '_data'), { recursive: true });
    writeFileSync(join(sample.store.root, 'volumes/data/_data/x'), 'x'.repeat(4096));
    const { volumes } = await readDiskUsage(sample.store);
    assert.deepEqual([volumes.total, volumes.active], [2, 0]);
    assert.ok(volumes.size >= 4096);
  });
});

describe('prune', () => {
  test('leaves what has a name', async () => {
    await using sample = await twoApps();
    const before = readdirSync(join(sample.store.root, 'blobs/sha256')).sort();
    const { untagged, layers } = await pruneStore(sample.store);
    assert.deepEqual([untagged, layers], [[], []]);
    assert.deepEqual(readdirSync(join(sample.store.root, 'blobs/sha256')).sort(), before);
  });

  test('takes what lost its name, and keeps the layers of others', async () => {
    await using sample = await twoApps();
    const old = resolveImage(sample.store, 'app-a');
    await sample.image('app-a', [BASE, { 'app/new': '1' }]);
    const { untagged, layers, bytes } = await pruneStore(sample.store);
    assert.deepEqual(untagged, [old.descriptor.digest]);
    assert.deepEqual(layers, [old.diffIds[1]]);
    assert.ok(bytes > 0);
    assert.equal((await verifyStore(sample.store)).damaged.length, 0);
  });

  test('with all: what no container uses', async () => {
    await using sample = await twoApps();
    addContainer(sample, 'app-a');
    const result = await pruneStore(sample.store, { all: true });
    assert.deepEqual([result.untagged, result.containers], [['app-b:latest'], []]);
    assert.equal(resolveImage(sample.store, 'app-a').diffIds.length, 2);
  });

  test('with containers: those that do not run, then their images', async () => {
    await using sample = await twoApps();
    const id = addContainer(sample, 'app-a');
    const result = await pruneStore(sample.store, { all: true, containers: true });
    assert.deepEqual(result.containers, [id]);
    assert.deepEqual(result.untagged.sort(), ['app-a:latest', 'app-b:latest']);
    assert.ok(result.bytes > 10_000);
    for (const directory of ['blobs/sha256', 'layers', 'containers']) {
      const left = readdirSync(join(sample.store.root, directory)).filter((name) => !name.startsWith('.'));
      assert.deepEqual(left, [], directory);
    }
  });
});

describe('verify', () => {
  function damage(path: string, at: number): void {
    const fd = openSync(path, 'r+');
    writeSync(fd, 'X', at);
    closeSync(fd);
  }

  test('an intact store', async () => {
    await using sample = await twoApps();
    const seen: number[] = [];
    const result = await verifyStore(sample.store, { onProgress: (done) => seen.push(done) });
    assert.deepEqual([result.damaged, result.regenerated], [[], []]);
    assert.equal(result.checked, readdirSync(join(sample.store.root, 'blobs/sha256')).length);
    assert.equal(seen.at(-1), result.bytes);
  });

  test('only what the named images have', async () => {
    await using sample = await twoApps();
    const a = resolveImage(sample.store, 'app-a');
    damage(sample.store.blobPath(a.diffIds[1]!), 600);
    const other = await verifyStore(sample.store, { images: ['app-b'] });
    assert.deepEqual([other.damaged, other.checked], [[], 4]);
    const { damaged } = await verifyStore(sample.store, { images: ['app-a'] });
    assert.deepEqual(
      damaged.map(({ kind, digest, references }) => ({ kind, digest, references })),
      [{ kind: 'layer tar', digest: a.diffIds[1], references: ['docker.io/library/app-a:latest'] }],
    );
    assert.ok(existsSync(damaged[0]!.path!));
    assert.equal(sample.store.hasBlob(a.diffIds[1]!), false);
  });

  test('a damaged index is made anew', async () => {
    await using sample = await twoApps();
    const [diffId] = resolveImage(sample.store, 'app-a').diffIds;
    const path = layerIndexPath(sample.store, diffId!);
    const good = readFileSync(path);
    damage(path, 1100);
    const { damaged, regenerated } = await verifyStore(sample.store);
    assert.deepEqual([damaged, regenerated], [[], [{ kind: 'layer index', digest: diffId }]]);
    assert.deepEqual(readFileSync(path), good);
    assert.deepEqual((await verifyStore(sample.store)).regenerated, []);
  });

  test('a damaged patch is made anew', async () => {
    await using sample = new Sample();
    // The second layer implies etc/, whose attributes are in the first.
    await sample.image('app', [{ 'etc/os': 'x' }]);
    using lease = sample.store.lease('test');
    mkdirSync(join(sample.directory, 'bare/etc'), { recursive: true });
    writeFileSync(join(sample.directory, 'bare/etc/new'), '1');
    const tar = join(sample.directory, 'bare.tar');
    execFileSync('tar', ['-C', join(sample.directory, 'bare'), '-cf', tar, 'etc/new']);
    const layer = await ingestLayer(sample.store, lease, { path: tar });
    const draft = appendLayer(draftOf(resolveImage(sample.store, 'app')), tarLayer(layer), { created_by: 'bare' });
    tagImage(sample.store, 'docker.io/library/app:latest', writeImage(sample.store, lease, draft).descriptor);
    const patched = resolveImage(sample.store, 'app');
    await openSnapshotter(sample.store).prepare(patched.diffIds);
    const chainId = patched.chainIds.at(-1)!;
    const path = join(sample.store.chainDirectory(chainId), PATCH_INDEX);
    const good = readFileSync(path);
    assert.deepEqual((await verifyStore(sample.store)).regenerated, []);
    damage(path, 1100);
    assert.deepEqual((await verifyStore(sample.store)).regenerated, [{ kind: 'patch', digest: chainId }]);
    assert.deepEqual(readFileSync(path), good);
  });
});

test('info tells where things are, how many, and what works', async () => {
  await using sample = await twoApps();
  addContainer(sample, 'app-a');
  const info = await readInfo(sample.store);
  assert.deepEqual([info.Root, info.Run], [sample.store.root, sample.store.run]);
  assert.deepEqual([info.Images, info.Containers, info.ContainersRunning], [2, 1, 0]);
  assert.ok(['erofs', 'erofs-loop', 'unpacked'].includes(info.Driver));
  assert.ok(info.DriverStatus.some(([name, result]) => name === info.Driver && result === 'ok'));
  assert.ok('Path' in info.Runtime ? info.Runtime.Path.startsWith('/') : info.Runtime.Problem.length > 0);
});
