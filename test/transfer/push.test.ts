import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { parseArguments } from '../../src/cli/args.ts';
import { command } from '../../src/cli/commands/push.ts';
import { isImagoError } from '../../src/core/errors.ts';
import { listImageRows } from '../../src/engine/images.ts';
import { removeImage } from '../../src/engine/rmi.ts';
import { readImage, readManifest } from '../../src/image/image.ts';
import { inspectImage } from '../../src/image/inspect.ts';
import { tagByName } from '../../src/image/tag-by-name.ts';
import type { ImageIndex, ImageManifest } from '../../src/oci/manifest.ts';
import { origins } from '../../src/store/origins.ts';
import type { Store } from '../../src/store/store.ts';
import { pullImage } from '../../src/transfer/pull.ts';
import { type PushOptions, pushName } from '../../src/transfer/push.ts';
import type { PushEvent } from '../../src/transfer/push-events.ts';
import { inFlight, Lab, noise, type SampleImage, sampleImage, sha256 } from '../archive/lab.ts';
import { Sample } from '../image/sample.ts';
import { QUICK } from '../registry/client/quick.ts';
import { FakeRegistry } from '../registry/fake-registry.ts';

let lab: Lab;
let image: SampleImage;
before(() => {
  lab = new Lab();
  const big = lab.tar(lab.tree('big', { 'usr/noise': noise(1 << 20), 'usr/words': 'again '.repeat(100_000) }));
  image = sampleImage([big, lab.tar(lab.tree('small', { 'app/main': 'print()\n' }))]);
});
after(() => lab[Symbol.dispose]());

const BUILT = { 'usr/bin/app': '#!/bin/sh\n'.repeat(1000) };

interface Pushed {
  events: PushEvent[];
  digest: string;
  /** How each layer got there, the lowest first. */
  layers: string[];
}

async function push(store: Store, name: string, options: PushOptions = {}): Promise<Pushed> {
  const events: PushEvent[] = [];
  const [tag] = await pushName(store, name, { ...QUICK, ...options, onEvent: (event) => events.push(event) });
  assert.deepEqual(inFlight(store), []);
  const last = new Map(events.flatMap((event) => (event.type === 'layer' ? [[event.diffId, event.status]] : [])));
  return { events, digest: tag!.descriptor.digest, layers: [...last.values()].reverse() };
}

/** The tag's manifest at the registry. */
function manifestAt(
  registry: FakeRegistry,
  name: string,
  tag: string,
): {
  digest: string;
  bytes: Buffer;
  value: ImageManifest & ImageIndex;
} {
  const repository = registry.repository(name);
  const digest = repository.tags.get(tag)!;
  const bytes = repository.manifests.get(digest)!.bytes;
  return { digest, bytes, value: JSON.parse(bytes.toString()) };
}

describe('an image that was built here', () => {
  it('is compressed on the way, always to the same digests, and then has them here too', async () => {
    await using sample = new Sample();
    await using registry = await FakeRegistry.start();
    const { store } = sample;
    const name = `${registry.host}/team/app:1`;
    await sample.image(name, [BUILT, { 'etc/conf': 'x' }], (draft) => ({ ...draft, annotations: { 'org.x': 'kept' } }));
    const { id, diffIds } = readImage(store, store.getRef(name)!);
    const first = await push(store, name);
    assert.deepEqual(first.layers, ['pushed', 'pushed']);
    const { digest, value } = manifestAt(registry, 'team/app', '1');
    assert.equal(digest, first.digest);
    assert.equal(value.config.digest, id);
    assert.deepEqual(value.annotations, { 'org.x': 'kept' });
    for (const [i, layer] of value.layers.entries()) {
      assert.equal(layer.mediaType, 'application/vnd.oci.image.layer.v1.tar+gzip');
      const blob = registry.blobs.get(layer.digest)!;
      assert.equal(blob.length, layer.size);
      assert.equal(sha256(gunzipSync(blob)), diffIds[i]);
    }
    assert.deepEqual(inspectImage(store, name).RepoDigests, [`${registry.host}/team/app@${digest}`]);
    assert.equal(readImage(store, store.getRef(name)!).id, id);

    const before = registry.bytesReceived;
    const second = await push(store, name);
    assert.equal(second.digest, digest);
    assert.deepEqual(second.layers, ['exists', 'exists']);
    assert.equal(registry.bytesReceived - before, manifestAt(registry, 'team/app', '1').bytes.length);

    // Another store makes the very same.
    await using other = new Sample();
    await other.image(name, [BUILT, { 'etc/conf': 'x' }], (draft) => ({ ...draft, annotations: { 'org.x': 'kept' } }));
    assert.equal((await push(other.store, name)).digest, digest);
  });

  it('is mounted from the repository next door, and made again for another registry', async () => {
    await using sample = new Sample();
    await using registry = await FakeRegistry.start();
    const { store } = sample;
    const name = `${registry.host}/team/app:1`;
    await sample.image(name, [BUILT]);
    const { digest } = await push(store, name);
    tagByName(store, name, `${registry.host}/other/app:2`);
    // Another name stands for what was built.
    await sample.image(`${registry.host}/team/app:local`, [BUILT]);
    const rows = listImageRows(store);
    assert.equal(rows.length, 3);
    assert.equal(rows.find((row) => row.tag === '1')!.digest, digest);
    assert.notEqual(rows.find((row) => row.tag === 'local')!.digest, digest);
    const mounted = await push(store, `${registry.host}/other/app:2`);
    assert.deepEqual([mounted.digest, ...mounted.layers], [digest, 'mounted']);
    assert.equal(registry.count('PATCH'), 1);

    await using elsewhere = await FakeRegistry.start();
    tagByName(store, name, `${elsewhere.host}/app:1`);
    const before = registry.count();
    const moved = await push(store, `${elsewhere.host}/app:1`);
    assert.deepEqual([moved.digest, ...moved.layers], [digest, 'pushed']);
    assert.equal(registry.count(), before);
  });

  it('is sent where mounts are not taken', async () => {
    await using sample = new Sample();
    await using registry = await FakeRegistry.start({ mounts: false });
    const { store } = sample;
    await sample.image(`${registry.host}/a:1`, [BUILT]);
    const { digest } = await push(store, `${registry.host}/a:1`);
    tagByName(store, `${registry.host}/a:1`, `${registry.host}/b:1`);
    const again = await push(store, `${registry.host}/b:1`);
    assert.deepEqual([again.digest, ...again.layers], [digest, 'pushed']);
    assert.equal(registry.uploads.size, 0);
  });

  it('takes the form that the user names, also after a push in another one', async () => {
    await using sample = new Sample();
    await using registry = await FakeRegistry.start();
    const { store } = sample;
    const name = `${registry.host}/app:1`;
    await sample.image(name, [BUILT]);
    const plain = store.getRef(name)!.digest;
    const { diffIds } = readImage(store, store.getRef(name)!);
    const gzip = await push(store, name);
    const zstd = await push(store, name, { compression: { kind: 'zstd', level: 7 } });
    const layer = manifestAt(registry, 'app', '1').value.layers[0]!;
    assert.equal(layer.mediaType, 'application/vnd.oci.image.layer.v1.tar+zstd');
    assert.equal(sha256(zstdDecompressSync(registry.blobs.get(layer.digest)!)), diffIds[0]);
    const none = await push(store, name, { compression: { kind: 'none', level: 0 } });
    assert.equal(none.digest, plain);
    assert.equal((await push(store, name)).digest, gzip.digest);
    assert.equal((await push(store, name, { compression: { kind: 'zstd', level: 7 } })).digest, zstd.digest);
    assert.equal(origins(store, diffIds[0]!).length, 3);
  });

  it('is not pushed where its tar is damaged', async () => {
    await using sample = new Sample();
    await using registry = await FakeRegistry.start();
    const { store } = sample;
    const name = `${registry.host}/app:1`;
    await sample.image(name, [BUILT]);
    const path = store.blobPath(readImage(store, store.getRef(name)!).diffIds[0]!);
    const { chmodSync, readFileSync, writeFileSync } = await import('node:fs');
    const bytes = readFileSync(path);
    bytes[600] = bytes[600]! ^ 1;
    chmodSync(path, 0o644);
    writeFileSync(path, bytes);
    await assert.rejects(() => push(store, name), { code: 'LAYER_DAMAGED' });
    assert.equal(registry.repositories.get('app')?.tags.size ?? 0, 0);
    assert.deepEqual(inFlight(store), []);
  });
});

describe('an image that was pulled', () => {
  it('goes to another registry byte for byte, fetched from where it came', async () => {
    await using from = await FakeRegistry.start();
    await using to = await FakeRegistry.start();
    const store = lab.store();
    const digest = from.putImage('team/app', '1', image);
    await pullImage(store, `${from.host}/team/app:1`, QUICK);
    tagByName(store, `${from.host}/team/app:1`, `${to.host}/copy:1`);
    const pushed = await push(store, `${to.host}/copy:1`);
    assert.equal(pushed.digest, digest);
    assert.ok(manifestAt(to, 'copy', '1').bytes.equals(image.manifest));
    for (const { blob } of image.layers) assert.ok(to.blobs.get(sha256(blob))!.equals(blob));
    // Both have it now, and nothing travels.
    const before = [from.count(), to.bytesReceived];
    assert.deepEqual((await push(store, `${to.host}/copy:1`)).layers, ['exists', 'exists']);
    assert.deepEqual([from.count(), to.bytesReceived - image.manifest.length], before);
  });

  it('survives cut connections on both sides', async () => {
    await using from = await FakeRegistry.start();
    await using to = await FakeRegistry.start();
    const store = lab.store();
    const digest = from.putImage('team/app', '1', image);
    await pullImage(store, `${from.host}/team/app:1`, QUICK);
    tagByName(store, `${from.host}/team/app:1`, `${to.host}/copy:1`);
    from.fault({ method: 'GET', path: /blobs/ }, { cutAfter: 300_000 }, 2);
    to.fault({ method: 'PUT', path: /uploads/ }, { cutRequestAfter: 500_000 });
    to.fault({ method: 'PATCH', path: /uploads/ }, { cutRequestAfter: 200_000 });
    assert.equal((await push(store, `${to.host}/copy:1`)).digest, digest);
    for (const { blob } of image.layers) assert.ok(to.blobs.get(sha256(blob))!.equals(blob));
  });

  it('is mounted within its registry', async () => {
    await using registry = await FakeRegistry.start();
    const store = lab.store();
    const digest = registry.putImage('team/app', '1', image);
    await pullImage(store, `${registry.host}/team/app:1`, QUICK);
    tagByName(store, `${registry.host}/team/app:1`, `${registry.host}/mine:2`);
    const pushed = await push(store, `${registry.host}/mine:2`);
    assert.deepEqual([pushed.digest, ...pushed.layers], [digest, 'mounted', 'mounted']);
    assert.equal(registry.bytesReceived, image.manifest.length + image.config.length);
  });

  it('never changes its digest in silence: the error names --recompress, which works', async () => {
    const from = await FakeRegistry.start();
    const store = lab.store();
    from.putImage('team/app', '1', image);
    await pullImage(store, `${from.host}/team/app:1`, QUICK);
    const { host } = from;
    await from[Symbol.asyncDispose]();
    await using to = await FakeRegistry.start();
    tagByName(store, `${host}/team/app:1`, `${to.host}/copy:1`);
    await assert.rejects(
      () => push(store, `${to.host}/copy:1`, { compression: { kind: 'zstd', level: 3 } }),
      (error) =>
        isImagoError(error, 'LAYER_BYTES_GONE') && /--recompress/.test(error.message) && error.message.includes(host),
    );
    assert.equal(to.repositories.get('copy')?.tags.size ?? 0, 0);
    const { digest } = await push(store, `${to.host}/copy:1`, { recompress: true });
    assert.notEqual(digest, sha256(image.manifest));
    const { value } = manifestAt(to, 'copy', '1');
    assert.deepEqual(
      value.layers.map((layer) => sha256(gunzipSync(to.blobs.get(layer.digest)!))),
      image.layers.map(({ tar }) => sha256(tar)),
    );
    assert.equal(value.config.digest, sha256(image.config));
    assert.equal((await push(store, `${to.host}/copy:1`)).digest, digest);
    const zstd = await push(store, `${to.host}/copy:1`, { recompress: true, compression: { kind: 'zstd', level: 3 } });
    assert.match(manifestAt(to, 'copy', '1').value.layers[0]!.mediaType, /zstd$/);
    assert.notEqual(zstd.digest, digest);
  });

  it('needs its registry no more where its bytes are kept, or are what a push makes', async () => {
    const from = await FakeRegistry.start();
    await using to = await FakeRegistry.start();
    const kept = lab.store();
    const digest = from.putImage('team/app', '1', image);
    await pullImage(kept, `${from.host}/team/app:1`, { ...QUICK, keepBlobs: true });
    await using builder = new Sample();
    await builder.image(`${from.host}/built:1`, [BUILT]);
    const built = await push(builder.store, `${from.host}/built:1`);
    await pullImage(kept, `${from.host}/built:1`, QUICK);
    const { host } = from;
    await from[Symbol.asyncDispose]();
    tagByName(kept, `${host}/team/app:1`, `${to.host}/copy:1`);
    tagByName(kept, `${host}/built:1`, `${to.host}/built:1`);
    assert.equal((await push(kept, `${to.host}/copy:1`)).digest, digest);
    assert.equal((await push(kept, `${to.host}/built:1`)).digest, built.digest);
  });

  it('is not passed on where its source gives other bytes now', async () => {
    await using from = await FakeRegistry.start();
    await using to = await FakeRegistry.start();
    const store = lab.store();
    from.putImage('team/app', '1', image);
    await pullImage(store, `${from.host}/team/app:1`, QUICK);
    tagByName(store, `${from.host}/team/app:1`, `${to.host}/copy:1`);
    from.fault({ method: 'GET', path: /blobs/ }, { corrupt: true }, 10);
    await assert.rejects(() => push(store, `${to.host}/copy:1`), { code: 'LAYER_BYTES_GONE' });
    assert.equal(to.repositories.get('copy')?.tags.size ?? 0, 0);
    assert.equal(to.uploads.size, 0);
  });

  it('keeps its plain tars', async () => {
    await using from = await FakeRegistry.start();
    await using to = await FakeRegistry.start();
    const store = lab.store();
    const plain = sampleImage(
      image.layers.map(({ tar }) => tar),
      { gzip: false },
    );
    const digest = from.putImage('plain', '1', plain);
    await pullImage(store, `${from.host}/plain:1`, QUICK);
    tagByName(store, `${from.host}/plain:1`, `${to.host}/plain:1`);
    assert.equal((await push(store, `${to.host}/plain:1`)).digest, digest);
  });
});

it("Docker's manifests stay Docker's, but for zstd", async () => {
  await using from = await FakeRegistry.start();
  await using to = await FakeRegistry.start();
  const store = lab.store();
  const DOCKER = 'application/vnd.docker.';
  const [layer] = image.layers;
  const config = Buffer.from(
    JSON.stringify({
      ...JSON.parse(image.config.toString()),
      rootfs: { type: 'layers', diff_ids: [sha256(layer!.tar)] },
    }),
  );
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: `${DOCKER}distribution.manifest.v2+json`,
      config: { mediaType: `${DOCKER}container.image.v1+json`, size: config.length, digest: from.putBlob('d', config) },
      layers: [
        {
          mediaType: `${DOCKER}image.rootfs.diff.tar.gzip`,
          size: layer!.blob.length,
          digest: from.putBlob('d', layer!.blob),
          annotations: { 'containerd.io/snapshot/stargz/toc.digest': 'sha256:0', 'org.kept': 'x' },
        },
      ],
    }),
  );
  const digest = from.putManifest('d', '1', manifest);
  await pullImage(store, `${from.host}/d:1`, QUICK);
  tagByName(store, `${from.host}/d:1`, `${to.host}/d:1`);
  assert.equal((await push(store, `${to.host}/d:1`)).digest, digest);
  await push(store, `${to.host}/d:1`, { recompress: true });
  const gzip = manifestAt(to, 'd', '1').value;
  assert.equal(gzip.mediaType, `${DOCKER}distribution.manifest.v2+json`);
  assert.equal(gzip.layers[0]!.mediaType, `${DOCKER}image.rootfs.diff.tar.gzip`);
  assert.deepEqual(gzip.layers[0]!.annotations, { 'org.kept': 'x' });
  await push(store, `${to.host}/d:1`, { recompress: true, compression: { kind: 'zstd', level: 3 } });
  const zstd = manifestAt(to, 'd', '1').value;
  assert.equal(zstd.mediaType, 'application/vnd.oci.image.manifest.v1+json');
  assert.equal(zstd.config.mediaType, 'application/vnd.oci.image.config.v1+json');
  assert.equal(zstd.config.digest, sha256(config));
  assert.equal(zstd.layers[0]!.mediaType, 'application/vnd.oci.image.layer.v1.tar+zstd');
});

describe('an index', () => {
  function putIndex(registry: FakeRegistry, name: string): { index: string; here: string; other: string } {
    const here = registry.putImage(name, undefined, image);
    const foreign = sampleImage([lab.tar(lab.tree('foreign', { 'a/b': 'c' }))], { architecture: 's390x' });
    const other = registry.putImage(name, undefined, foreign);
    const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';
    const describeChild = (digest: string, size: number, arch: string) => ({
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest,
      size,
      platform: { os: 'linux', architecture: arch },
    });
    const index = registry.putManifest(name, '1', {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [
        describeChild(other, foreign.manifest.length, 's390x'),
        describeChild(here, image.manifest.length, architecture),
      ],
    });
    return { index, here, other };
  }

  it('goes whole within its registry, and nothing of other platforms travels', async () => {
    await using registry = await FakeRegistry.start();
    const store = lab.store();
    const { index, other } = putIndex(registry, 'team/app');
    await pullImage(store, `${registry.host}/team/app:1`, QUICK);
    tagByName(store, `${registry.host}/team/app:1`, `${registry.host}/mine:1`);
    const before = registry.bytesSent;
    assert.equal((await push(store, `${registry.host}/mine:1`)).digest, index);
    assert.ok(registry.repository('mine').manifests.has(other));
    assert.ok(registry.bytesSent - before < 2000);
    // The same tag again, and the one that it came from.
    assert.equal((await push(store, `${registry.host}/mine:1`)).digest, index);
    assert.equal((await push(store, `${registry.host}/team/app:1`)).digest, index);
  });

  it('goes in one image elsewhere, and says so', async () => {
    await using from = await FakeRegistry.start();
    await using to = await FakeRegistry.start();
    const store = lab.store();
    const { index, here } = putIndex(from, 'team/app');
    await pullImage(store, `${from.host}/team/app:1`, QUICK);
    const name = `${to.host}/mine:1`;
    tagByName(store, `${from.host}/team/app:1`, name);
    const pushed = await push(store, name);
    assert.equal(pushed.digest, here);
    assert.deepEqual(
      pushed.events.find(({ type }) => type === 'partial'),
      { type: 'partial', reference: name, index, pushed: here },
    );
    assert.ok(manifestAt(to, 'mine', '1').bytes.equals(image.manifest));
    // The name still stands for the index here.
    assert.equal(store.getRef(name)!.digest, index);
    assert.equal(store.getRef(`${to.host}/mine@${here}`)!.digest, here);
    assert.ok(inspectImage(store, name).RepoDigests.includes(`${to.host}/mine@${here}`));
    // That is no line of its own, and goes with the tag.
    const rows = listImageRows(store).map(({ repository, tag, digest }) => [repository, tag, digest]);
    assert.deepEqual(
      rows.sort(),
      [
        [`${from.host}/team/app`, '1', index],
        [`${to.host}/mine`, '1', index],
      ].sort(),
    );
    assert.deepEqual(await removeImage(store, name), [{ untagged: name }, { untagged: `${to.host}/mine@${here}` }]);
    assert.deepEqual(
      store.listRefs().map(({ reference }) => reference),
      [`${from.host}/team/app:1`],
    );
  });

  it('goes in one image where mounts are not taken', async () => {
    await using registry = await FakeRegistry.start({ mounts: false });
    const store = lab.store();
    const { here } = putIndex(registry, 'team/app');
    await pullImage(store, `${registry.host}/team/app:1`, QUICK);
    tagByName(store, `${registry.host}/team/app:1`, `${registry.host}/mine:1`);
    assert.equal((await push(store, `${registry.host}/mine:1`)).digest, here);
    assert.equal(registry.uploads.size, 0);
  });

  it('goes in the image that the user chooses', async () => {
    await using registry = await FakeRegistry.start();
    const store = lab.store();
    const { here } = putIndex(registry, 'team/app');
    await pullImage(store, `${registry.host}/team/app:1`, QUICK);
    tagByName(store, `${registry.host}/team/app:1`, `${registry.host}/mine:1`);
    const platform = readImage(store, store.getRef(`${registry.host}/mine:1`)!).platform;
    assert.equal((await push(store, `${registry.host}/mine:1`, { platform })).digest, here);
    const s390x = { os: 'linux', architecture: 's390x' };
    await assert.rejects(() => push(store, `${registry.host}/mine:1`, { platform: s390x }), {
      code: 'PLATFORM_MISMATCH',
    });
  });

  it('is written anew where its images are compressed on the way', async () => {
    await using sample = new Sample();
    await using registry = await FakeRegistry.start();
    const { store } = sample;
    const child = await sample.image('child', [BUILT]);
    using lease = store.lease('test');
    const { encodeJson } = await import('../../src/oci/json.ts');
    const mediaType = 'application/vnd.oci.image.index.v1+json';
    const platform = { os: 'linux', architecture: 'amd64' };
    const bytes = encodeJson({ schemaVersion: 2, mediaType, manifests: [{ ...child, platform }] });
    const name = `${registry.host}/multi:1`;
    store.setRef(name, { mediaType, digest: store.putBlob(lease, bytes), size: bytes.length });
    lease.close();
    const { digest } = await push(store, name);
    const { value } = manifestAt(registry, 'multi', '1');
    assert.ok(registry.repository('multi').manifests.has(value.manifests[0]!.digest));
    assert.deepEqual(value.manifests[0]!.platform, platform);
    assert.equal(store.getRef(name)!.digest, digest);
    assert.equal((await push(store, name)).digest, digest);
    assert.equal(readManifest(store, store.getRef(name)!).kind, 'index');
  });
});

describe('several at once', () => {
  it('all tags', async () => {
    await using sample = new Sample();
    await using registry = await FakeRegistry.start();
    await sample.image(`${registry.host}/app:1`, [BUILT]);
    await sample.image(`${registry.host}/app:2`, [BUILT, { x: 'y' }]);
    await sample.image(`${registry.host}/app2:3`, [{ x: 'z' }]);
    const tags = await pushName(sample.store, `${registry.host}/app`, { ...QUICK, allTags: true });
    assert.deepEqual(
      tags.map(({ reference }) => reference),
      [`${registry.host}/app:1`, `${registry.host}/app:2`],
    );
    assert.deepEqual([...registry.repository('app').tags.keys()], ['1', '2']);
  });

  it('two pushes of one image', async () => {
    await using sample = new Sample();
    await using registry = await FakeRegistry.start();
    await sample.image(`${registry.host}/app:1`, [BUILT, { x: 'y' }]);
    tagByName(sample.store, `${registry.host}/app:1`, `${registry.host}/other:1`);
    const [a, b, c] = await Promise.all([
      pushName(sample.store, `${registry.host}/app:1`, QUICK),
      pushName(sample.store, `${registry.host}/app:1`, QUICK),
      pushName(sample.store, `${registry.host}/other:1`, QUICK),
    ]);
    assert.equal(a[0]!.descriptor.digest, b[0]!.descriptor.digest);
    assert.equal(a[0]!.descriptor.digest, c[0]!.descriptor.digest);
    assert.deepEqual(inFlight(sample.store), []);
  });
});

describe('what goes wrong', () => {
  it('is told in the registry and Docker words, and leaves no tag', async () => {
    await using sample = new Sample();
    await using registry = await FakeRegistry.start({ basic: 'u:p' });
    const name = `${registry.host}/app:1`;
    await sample.image(name, [BUILT]);
    await assert.rejects(() => push(sample.store, name), isImagoError);
    registry.options.basic = undefined as unknown as string;
    registry.fault(
      { method: 'POST' },
      { status: 403, body: '{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}' },
      9,
    );
    await assert.rejects(() => push(sample.store, name), /denied/);
    registry.clearFaults();
    registry.fault({ method: 'PUT', path: /manifests/ }, { status: 400, body: 'no' }, 9);
    await assert.rejects(() => push(sample.store, name), isImagoError);
    assert.equal(registry.repository('app').tags.size, 0);
    assert.deepEqual(inFlight(sample.store), []);
    registry.clearFaults();
    assert.deepEqual((await push(sample.store, name)).layers, ['exists']);
  });

  it('names that cannot be pushed', async () => {
    await using sample = new Sample();
    const { store } = sample;
    const { digest } = await sample.image('localhost:1/app:1', [BUILT]);
    const cases: [string, RegExp, PushOptions?][] = [
      ['localhost:1/app:2', /tag does not exist: localhost:1\/app:2/],
      ['nosuch', /An image does not exist locally with the tag: nosuch/],
      [`localhost:1/app@${digest}`, /cannot push a digest reference/],
      ['localhost:1/app:1', /tag can't be used with --all-tags/, { allTags: true }],
    ];
    for (const [name, message, options] of cases) await assert.rejects(() => push(store, name, options), message);
  });

  it('an abort stops it', async () => {
    await using sample = new Sample();
    await using registry = await FakeRegistry.start();
    const name = `${registry.host}/app:1`;
    await sample.image(name, [BUILT]);
    registry.fault({ method: 'PATCH' }, { delayMs: 1000 });
    const signal = AbortSignal.timeout(100);
    await assert.rejects(() => push(sample.store, name, { signal }));
    assert.deepEqual(inFlight(sample.store), []);
    registry.cutConnections();
  });
});

describe('imago push', () => {
  async function run(sample: Sample, line: string[]): Promise<string> {
    const parsed = parseArguments(command, line);
    let out = '';
    const stream = { write: (text: string) => (out += text) } as unknown as NodeJS.WriteStream;
    const signal = new AbortController().signal;
    const context = { ...parsed, stdout: stream, stderr: stream, signal, openStore: () => sample.store };
    assert.equal(await command.run(context as unknown as Parameters<typeof command.run>[0]), 0);
    return out;
  }

  it("prints Docker's lines", async () => {
    await using sample = new Sample();
    await using registry = await FakeRegistry.start();
    const name = `${registry.host}/app`;
    await sample.image(name, [BUILT, { x: 'y' }]);
    const short = readImage(sample.store, sample.store.getRef(`${name}:latest`)!).diffIds.map((id) => id.slice(7, 19));
    const lines = (await run(sample, [name])).split('\n');
    const { digest, bytes } = manifestAt(registry, 'app', 'latest');
    assert.deepEqual(lines.slice(0, 4), [
      'Using default tag: latest',
      `The push refers to repository [${name}]`,
      `${short[1]}: Preparing`,
      `${short[0]}: Preparing`,
    ]);
    assert.deepEqual(lines.slice(4, 6).sort(), [`${short[0]}: Pushed`, `${short[1]}: Pushed`].sort());
    assert.equal(lines[6], `latest: digest: ${digest} size: ${bytes.length}`);
    assert.match(await run(sample, [name]), /: Layer already exists\n/);
    assert.equal(await run(sample, ['-q', name]), `${name}:latest\n`);
    assert.equal(await run(sample, ['-q', '-a', name]), `${name}:latest\n`);
  });
});
