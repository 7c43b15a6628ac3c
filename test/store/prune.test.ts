import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Digest } from '../../src/core/digest.ts';
import { Ingest } from '../../src/store/ingest.ts';
import { ingestLayer } from '../../src/store/ingest-layer.ts';
import { hasLayer } from '../../src/store/layers.ts';
import { prune, removeUnreached } from '../../src/store/prune.ts';
import { Store } from '../../src/store/store.ts';

let dir: string;
let store: Store;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'imago-prune-'));
  store = Store.open({ root: join(dir, 'root'), run: join(dir, 'run') });
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

async function addLayer(content: string): Promise<Digest> {
  using lease = store.lease('test');
  const source = mkdtempSync(join(dir, 'layer-'));
  writeFileSync(join(source, 'file'), content);
  execFileSync('tar', ['-C', source, '-cf', join(dir, 'layer.tar'), '.']);
  return (await ingestLayer(store, lease, { path: join(dir, 'layer.tar') })).diffId;
}

const put = (value: unknown): Digest => {
  using lease = store.lease('test');
  return store.putBlob(lease, Buffer.from(JSON.stringify(value)));
};
const asLayer = (digest: Digest) => ({ ...named(digest), mediaType: 'application/vnd.oci.image.layer.v1.tar' });
const named = (digest: Digest) => ({ mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 1 });

interface TestImage {
  manifest: Digest;
  config: Digest;
  layers: Digest[];
}

function addImage(layers: Digest[], reference?: string): TestImage {
  const config = put({ created: reference, rootfs: { type: 'layers', diff_ids: layers } });
  const manifest = put({ schemaVersion: 2, config: named(config), layers: layers.map(asLayer) });
  if (reference !== undefined) store.setRef(reference, named(manifest));
  return { manifest, config, layers };
}

function isWhole(image: TestImage): boolean {
  return (
    store.hasBlob(image.manifest) && store.hasBlob(image.config) && image.layers.every((id) => hasLayer(store, id))
  );
}

const count = (name: string) => readdirSync(join(store.root, name)).length;

describe('prune', () => {
  it('keeps what references reach, through an index too, and takes the rest', async () => {
    const [base, a, b, lost] = [await addLayer('base'), await addLayer('a'), await addLayer('b'), await addLayer('x')];
    const one = addImage([base, a], 'r/one:1');
    const two = addImage([base, b]);
    const absent = `sha256:${'9'.repeat(64)}` as Digest;
    store.setRef('r/two:1', named(put({ manifests: [named(two.manifest), named(absent)] })));
    const gone = addImage([base, lost]);
    const told = await prune(store, { dryRun: true });
    assert.ok(isWhole(gone));
    const result = await prune(store);
    assert.deepEqual(result, told);
    assert.ok(isWhole(one) && isWhole(two));
    assert.deepEqual(result.blobs.toSorted(), [gone.manifest, gone.config, lost].toSorted());
    assert.deepEqual(result.layers, [lost]);
    assert.ok(result.bytes >= 10240);
    assert.equal(store.hasBlob(lost), false);
    assert.equal(count('ingest'), 0);
    assert.equal((await prune(store)).blobs.length, 0);
  });

  it('keeps what leases hold while they live', async () => {
    const layer = await addLayer('leased');
    const image = addImage([layer]);
    const lease = store.lease('pull');
    lease.add(image.manifest);
    await prune(store);
    assert.ok(isWhole(image));
    lease.close();
    assert.equal((await prune(store)).blobs.length, 3);
  });

  it('keeps what containers use', async () => {
    const image = addImage([await addLayer('used')], 'r/used:1');
    mkdirSync(join(store.root, 'containers/c1'));
    writeFileSync(
      join(store.root, 'containers/c1/container.json'),
      JSON.stringify({ image: { manifest: image.manifest } }),
    );
    const other = addImage([await addLayer('unused')], 'r/unused:1');
    const result = await prune(store, { untag: (_record, used) => !used });
    assert.deepEqual(result.references, ['r/unused:1']);
    assert.ok(isWhole(image) && !isWhole(other));
    store.deleteRef('r/used:1');
    await prune(store);
    assert.ok(isWhole(image));
  });

  it('drops cache records with their layers, or keeps both', async () => {
    const [kept, dropped] = [await addLayer('kept'), await addLayer('dropped')];
    addImage([kept], 'r/kept:1');
    writeFileSync(join(store.root, 'cache/k.json'), JSON.stringify({ key: `sha256:${'7'.repeat(64)}`, layer: kept }));
    writeFileSync(join(store.root, 'cache/d.json'), JSON.stringify({ layer: dropped }));
    assert.equal((await prune(store, { keepCache: true })).cacheRecords, 0);
    assert.ok(hasLayer(store, dropped));
    assert.equal((await prune(store)).cacheRecords, 1);
    assert.deepEqual(readdirSync(join(store.root, 'cache')), ['k.json']);
  });

  it('drops patches of stacks that are gone, and tells who mounts them', async () => {
    const [base, top] = [await addLayer('base'), await addLayer('top')];
    addImage([base, top], 'r/a:1');
    // The ChainID of a lowest layer is its DiffID.
    for (const name of [base.slice(7), 'e'.repeat(64)]) mkdirSync(join(store.root, 'chains', name));
    const heard: string[] = [];
    const hooks = { dropLayer: (id: Digest) => heard.push(id), dropChain: (id: Digest) => heard.push(id) };
    const extra = await addLayer('extra');
    await prune(store, hooks);
    assert.deepEqual(heard, [extra, `sha256:${'e'.repeat(64)}`]);
    assert.deepEqual(readdirSync(join(store.root, 'chains')), [base.slice(7)]);
  });

  it('collects what the dead left, and nothing of the living', async () => {
    const layer = await addLayer('of the dead');
    using alive = Ingest.create(store, 'layer');
    alive.writeFile('tar', 'half');
    const dead = join(store.root, 'ingest/layer-dead');
    mkdirSync(dead);
    writeFileSync(join(dead, 'tar'), 'half');
    writeFileSync(join(store.root, 'ingest/tmp-dead'), 'half');
    writeFileSync(join(store.root, 'leases/dead'), `{"pid":1}\n${JSON.stringify(layer)}\n`);
    const result = await prune(store);
    assert.equal(result.leftovers, 3);
    assert.deepEqual(result.layers, [layer]);
    assert.ok(existsSync(alive.path('tar')));
    assert.deepEqual([count('leases'), count('ingest')], [0, 1]);
  });

  it('keeps what a damaged reference still shows', async () => {
    const image = addImage([await addLayer('a')], 'r/a:1');
    writeFileSync(join(store.root, 'refs/r%2Fa:1'), `{"reference":"r/a:1","desc\0iptor":{"digest":"${image.manifest}"`);
    await prune(store);
    assert.ok(isWhole(image));
  });

  it('ends where indexes name each other or themselves deeply', async () => {
    let digest = put({ manifests: [] });
    for (let i = 0; i < 500; i++) digest = put({ manifests: [named(digest), named(digest)] });
    store.setRef('r/deep:1', named(digest));
    assert.equal((await prune(store)).blobs.length, 0);
  });
});

describe('removeUnreached', () => {
  it('takes what only these reached', async () => {
    const [base, a, b] = [await addLayer('base'), await addLayer('a'), await addLayer('b')];
    const one = addImage([base, a], 'r/one:1');
    const two = addImage([base, b], 'r/two:1');
    const unrelated = addImage([await addLayer('garbage')]);
    store.deleteRef('r/one:1');
    const result = await removeUnreached(store, [one.manifest]);
    assert.deepEqual(result.layers, [a]);
    assert.deepEqual(result.blobs.toSorted(), [a, one.manifest, one.config].toSorted());
    assert.ok(isWhole(two) && isWhole(unrelated));
  });

  it('takes nothing that has another name', async () => {
    const image = addImage([await addLayer('a')], 'r/a:1');
    store.setRef('r/a:2', named(image.manifest));
    store.deleteRef('r/a:1');
    assert.deepEqual((await removeUnreached(store, [image.manifest])).blobs, []);
    assert.ok(isWhole(image));
  });
});
