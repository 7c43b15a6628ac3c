import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Digest } from '../../src/core/digest.ts';
import { ingestLayer } from '../../src/store/ingest-layer.ts';
import { hasLayer, layerIndexPath, layerTarPath } from '../../src/store/layers.ts';
import { addOrigin } from '../../src/store/origins.ts';
import { prune } from '../../src/store/prune.ts';
import { Store } from '../../src/store/store.ts';
import { verify } from '../../src/store/verify.ts';

let dir: string;
let store: Store;
let tarFile: string;
let diffId: Digest;
let config: Digest;
let manifest: Digest;
const reference = 'docker.io/library/app:1';

const asLayer = (digest: Digest) => ({ ...named(digest), mediaType: 'application/vnd.oci.image.layer.v1.tar' });
const named = (digest: Digest) => ({ mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 1 });

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'imago-verify-'));
  store = Store.open({ root: join(dir, 'root'), run: join(dir, 'run') });
  const source = join(dir, 'source');
  mkdirSync(source);
  for (let i = 0; i < 40; i++) writeFileSync(join(source, `file-${i}`), `${i}`.repeat(3000));
  tarFile = join(dir, 'layer.tar');
  execFileSync('tar', ['--sort=name', '-C', source, '-cf', tarFile, '.']);
  using lease = store.lease('test');
  ({ diffId } = await ingestLayer(store, lease, { path: tarFile }));
  config = store.putBlob(lease, Buffer.from(JSON.stringify({ rootfs: { type: 'layers', diff_ids: [diffId] } })));
  const body = { schemaVersion: 2, config: named(config), layers: [asLayer(diffId)] };
  manifest = store.putBlob(lease, Buffer.from(JSON.stringify(body)));
  store.setRef(reference, named(manifest));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function damage(path: string, at?: number): void {
  const bytes = readFileSync(path);
  bytes[at ?? bytes.length >> 1]! ^= 1;
  chmodSync(path, 0o644);
  writeFileSync(path, bytes);
}

function cut(path: string, size: number): void {
  chmodSync(path, 0o644);
  truncateSync(path, size);
}

async function heal(): Promise<void> {
  using lease = store.lease('test');
  await ingestLayer(store, lease, { path: tarFile }, { expect: { diffId } });
}

async function isClean(): Promise<void> {
  const result = await verify(store);
  assert.deepEqual([result.damaged, result.regenerated], [[], []]);
}

describe('verify', () => {
  it('finds nothing where nothing is wrong', async () => {
    const result = await verify(store);
    assert.equal(result.checked, 3);
    assert.ok(result.bytes > 120_000);
    assert.deepEqual([result.damaged, result.regenerated], [[], []]);
  });

  for (const [what, spoil] of [
    ['in a file of it', (path: string) => damage(path, 2000)],
    ['in a header', (path: string) => damage(path, 1024 + 512 + 10)],
    ['by being cut', (path: string) => cut(path, 50_000)],
    ['by being emptied', (path: string) => cut(path, 0)],
  ] as const) {
    it(`sets aside a tar that is damaged ${what}, and serves it no more`, async () => {
      spoil(layerTarPath(store, diffId));
      const dropped: Digest[] = [];
      const { damaged } = await verify(store, { dropLayer: (id) => dropped.push(id) });
      assert.equal(damaged.length, 1);
      assert.deepEqual(
        [damaged[0]!.kind, damaged[0]!.digest, damaged[0]!.references],
        ['layer tar', diffId, [reference]],
      );
      assert.match(damaged[0]!.remedy, /imago pull docker\.io\/library\/app:1/);
      assert.ok(existsSync(damaged[0]!.path!));
      assert.deepEqual(dropped, [diffId]);
      assert.equal(hasLayer(store, diffId), false);
      assert.throws(() => store.readBlob(diffId), { code: 'BLOB_MISSING', message: /set aside by verify.*imago pull/ });
      // Told again as long as it is not back.
      const again = (await verify(store)).damaged;
      assert.deepEqual([again.length, again[0]!.reason], [1, 'it was damaged, and set aside before']);
      await prune(store);
      assert.ok(existsSync(damaged[0]!.path!), 'kept while an image wants it');
      await heal();
      await isClean();
      await prune(store);
      assert.deepEqual(readdirSync(join(store.root, 'quarantine')), []);
    });
  }

  it('knows where a pulled layer comes from', async () => {
    addOrigin(store, diffId, { ...named(diffId), repository: 'docker.io/library/app' });
    damage(layerTarPath(store, diffId));
    assert.equal((await verify(store)).damaged[0]!.remedy, `'imago pull ${reference}'`);
  });

  it('sets aside manifests and configs, and keeps what they named for when they are back', async () => {
    const bytes = new Map([manifest, config].map((d) => [d, readFileSync(store.blobPath(d))]));
    for (const digest of [manifest, config]) damage(store.blobPath(digest));
    const { damaged } = await verify(store);
    assert.deepEqual(damaged.map((d) => d.digest).toSorted(), [manifest, config].toSorted());
    await prune(store);
    using lease = store.lease('test');
    for (const body of bytes.values()) store.putBlob(lease, body);
    assert.ok(hasLayer(store, diffId));
    await isClean();
  });

  it('makes a damaged or missing index anew from its tar', async () => {
    const path = layerIndexPath(store, diffId);
    const good = readFileSync(path);
    for (const spoil of [() => damage(path), () => rmSync(path), () => rmSync(join(path, '..'), { recursive: true })]) {
      spoil();
      const dropped: Digest[] = [];
      const { damaged, regenerated } = await verify(store, { dropLayer: (id) => dropped.push(id) });
      assert.deepEqual(damaged, []);
      assert.deepEqual(regenerated[0], { kind: 'layer index', digest: diffId });
      assert.deepEqual(dropped, [diffId]);
      assert.deepEqual(readFileSync(path), good);
    }
    await isClean();
  });

  it('makes damaged facts anew', async () => {
    const path = join(store.layerDirectory(diffId), 'layer.json');
    const good = readFileSync(path);
    damage(path);
    assert.deepEqual((await verify(store)).regenerated, [{ kind: 'layer facts', digest: diffId }]);
    assert.deepEqual(readFileSync(path), good);
  });

  it('heals an index that was damaged together with its tar', async () => {
    const good = readFileSync(layerIndexPath(store, diffId));
    damage(layerIndexPath(store, diffId));
    damage(layerTarPath(store, diffId));
    await verify(store);
    await heal();
    assert.deepEqual(readFileSync(layerIndexPath(store, diffId)), good);
    await isClean();
  });

  it('tells what is missing, and sets damaged references aside', async () => {
    rmSync(store.blobPath(config));
    writeFileSync(join(store.root, 'refs/broken'), '{');
    const { damaged } = await verify(store);
    assert.deepEqual(damaged.map((d) => [d.kind, d.reason.slice(0, 13)]).toSorted(), [
      ['config', 'it is missing'],
      ['reference', 'its record ca'],
    ]);
    assert.deepEqual(
      store.listRefs().map((r) => r.reference),
      [reference],
    );
  });

  it('looks at one image only where told', async () => {
    using lease = store.lease('test');
    const other = store.putBlob(lease, Buffer.from('other'));
    damage(store.blobPath(other));
    const result = await verify(store, { only: [manifest] });
    assert.deepEqual([result.checked, result.damaged], [3, []]);
    assert.equal((await verify(store)).damaged[0]!.remedy, "no image has it: 'imago prune' clears it away");
  });

  it('has other rooms make their patches anew', async () => {
    mkdirSync(join(store.root, 'chains', diffId.slice(7)));
    const result = await verify(store, { regenerateChain: async () => 'replaced' });
    assert.deepEqual(result.regenerated, [{ kind: 'patch', digest: diffId }]);
  });
});
