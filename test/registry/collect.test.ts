import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import type { Digest } from '../../src/core/digest.ts';
import { type CollectEvent, type CollectOptions, collectGarbage } from '../../src/registry/server/collect.ts';
import { condemnedKey } from '../../src/registry/server/keys.ts';
import type { RegistryStorage } from '../../src/registry/storage/storage.ts';
import { digestOf, RegistryLab } from './server/lab.ts';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

describe('garbage collection', () => {
  it('keeps what manifests need, and removes the rest when it is old enough', async () => {
    await using lab = await RegistryLab.start();
    const kept = await pushImage(lab, 'team/app', 'v1');
    const loose = await pushBlob(lab, 'team/app', randomBytes(5000));
    assert.equal((await collect(lab, { graceMs: 60_000 })).removedBlobs, 0);
    const events: CollectEvent[] = [];
    const dry = await collect(lab, { graceMs: 0, dryRun: true, onEvent: (event) => events.push(event) });
    assert.deepEqual([dry.removedBlobs, dry.removedBytes, dry.removedLinks], [1, 5000, 1]);
    assert.ok(await lab.storage.statBlob(loose));
    assert.deepEqual(await condemned(lab.storage), []);
    const outcome = await collect(lab, { graceMs: 0 });
    assert.deepEqual(
      [outcome.removedBlobs, outcome.removedBytes, outcome.removedLinks, outcome.manifests, outcome.busy],
      [1, 5000, 1, 1, false],
    );
    assert.deepEqual(events[0], { kind: 'blob', digest: loose, bytes: 5000 });
    assert.equal(await lab.storage.statBlob(loose), undefined);
    assert.equal((await lab.send('HEAD', `/v2/team/app/blobs/${loose}`)).status, 404);
    assert.deepEqual(await condemned(lab.storage), []);
    await assertWhole(lab, 'team/app', kept);
    assert.equal((await collect(lab, { graceMs: 0 })).removedBlobs, 0);
  });

  it('removes an image whose manifest was deleted, but for what others share', async () => {
    await using lab = await RegistryLab.start();
    const shared = randomBytes(3000);
    const first = await pushImage(lab, 'a', 'v1', [shared, randomBytes(100)]);
    const second = await pushImage(lab, 'b/c', 'v1', [shared, randomBytes(100)]);
    assert.equal((await lab.send('DELETE', `/v2/a/manifests/${first.digest}`)).status, 202);
    // Its manifest, its config and the layer of its own.
    const outcome = await collect(lab, { graceMs: 0 });
    assert.equal(outcome.removedBlobs, 3);
    await assertWhole(lab, 'b/c', second);
    assert.equal((await lab.send('HEAD', `/v2/a/blobs/${digestOf(shared)}`)).status, 200);
  });

  it('says in a dry run what goes with untagged manifests, and what stays', async () => {
    await using lab = await RegistryLab.start();
    const shared = randomBytes(3000);
    await pushImage(lab, 'a', 'v1', [shared, randomBytes(100)]);
    await pushImage(lab, 'b/c', 'v1', [shared]);
    assert.equal((await lab.send('DELETE', '/v2/a/manifests/v1')).status, 202);
    const told = async (dryRun: boolean) => {
      const events: string[] = [];
      const onEvent = (event: CollectEvent): unknown => events.push(JSON.stringify(event));
      const outcome = await collect(lab, { graceMs: 0, removeUntagged: true, dryRun, onEvent });
      const { manifests, removedManifests, removedBlobs, removedBytes, removedLinks } = outcome;
      return { events: events.sort(), manifests, removedManifests, removedBlobs, removedBytes, removedLinks };
    };
    const dry = await told(true);
    assert.deepEqual(await told(false), dry);
    assert.deepEqual([dry.removedManifests, dry.removedBlobs, dry.manifests], [1, 3, 1]);
  });

  it('counts the grace period from the youngest link', async () => {
    await using lab = await RegistryLab.start();
    const bytes = randomBytes(100);
    await pushBlob(lab, 'a', bytes);
    await wait(300);
    const mount = await lab.send('POST', `/v2/b/blobs/uploads/?mount=${digestOf(bytes)}&from=a`);
    assert.equal(mount.status, 201);
    assert.equal((await collect(lab, { graceMs: 250 })).removedBlobs, 0);
    await wait(300);
    const outcome = await collect(lab, { graceMs: 250 });
    assert.deepEqual([outcome.removedBlobs, outcome.removedLinks], [1, 2]);
  });

  it('keeps untagged manifests, unless they are to go, and what an index or a subject holds', async () => {
    await using lab = await RegistryLab.start();
    const child = await pushImage(lab, 'a', undefined);
    const untagged = await pushImage(lab, 'a', undefined);
    const index = await putManifest(lab, 'a', 'multi', INDEX, {
      schemaVersion: 2,
      mediaType: INDEX,
      manifests: [{ mediaType: MANIFEST, digest: child.digest, size: child.size }],
    });
    const kept = await pushImage(lab, 'a', undefined, [randomBytes(50)], index.digest);
    const nested = await pushImage(lab, 'a', undefined, [randomBytes(50)], kept.digest);
    const lost = await pushImage(lab, 'a', undefined, [randomBytes(50)], untagged.digest);
    assert.equal((await collect(lab, { graceMs: 0 })).removedManifests, 0);
    assert.equal((await collect(lab, { graceMs: 60_000, removeUntagged: true })).removedManifests, 0);
    const outcome = await collect(lab, { graceMs: 0, removeUntagged: true });
    assert.deepEqual([outcome.removedManifests, outcome.manifests], [2, 4]);
    for (const image of [child, kept, nested]) await assertWhole(lab, 'a', image);
    for (const image of [untagged, lost]) {
      assert.equal((await lab.send('GET', `/v2/a/manifests/${image.digest}`)).status, 404);
      for (const blob of image.blobs) assert.equal(await lab.storage.statBlob(blob), undefined);
    }
    assert.deepEqual(await referrers(lab, 'a', untagged.digest), []);
    assert.deepEqual(await referrers(lab, 'a', index.digest), [kept.digest]);
  });

  it('takes up what a killed collector had condemned', async () => {
    await using lab = await RegistryLab.start();
    const image = await pushImage(lab, 'a', 'v1');
    const loose = await pushBlob(lab, 'a', randomBytes(10));
    const gone = digestOf(randomBytes(10));
    for (const digest of [image.blobs[0]!, loose, gone]) await condemn(lab.storage, digest);
    assert.equal((await lab.send('HEAD', `/v2/a/blobs/${image.blobs[0]}`)).status, 404);
    const outcome = await collect(lab, { graceMs: 60_000 });
    assert.equal(outcome.removedBlobs, 0);
    assert.deepEqual(await condemned(lab.storage), []);
    await assertWhole(lab, 'a', image);
    assert.equal((await lab.send('HEAD', `/v2/a/blobs/${loose}`)).status, 200);
  });

  it('leaves a blob that was uploaded again after it was condemned', async () => {
    await using lab = await RegistryLab.start();
    const bytes = randomBytes(2000);
    const digest = await pushBlob(lab, 'a', bytes);
    const racing: RegistryStorage = {
      ...lab.storage,
      async removeBlob(removed, version) {
        // The client was told that it is not there.
        assert.equal((await lab.send('HEAD', `/v2/a/blobs/${digest}`)).status, 404);
        await pushBlob(lab, 'a', bytes);
        assert.equal((await lab.send('HEAD', `/v2/a/blobs/${digest}`)).status, 200);
        return lab.storage.removeBlob(removed, version);
      },
    };
    const outcome = await collectGarbage({ storage: racing, graceMs: 0 });
    assert.equal(outcome.removedBlobs, 0);
    assert.equal((await lab.send('GET', `/v2/a/blobs/${digest}`)).body.equals(bytes), true);
  });

  it('keeps the link of an upload that came right after the removal', async () => {
    await using lab = await RegistryLab.start();
    const bytes = randomBytes(2000);
    const digest = await pushBlob(lab, 'a', bytes);
    const racing: RegistryStorage = {
      ...lab.storage,
      async removeBlob(removed, version) {
        const done = await lab.storage.removeBlob(removed, version);
        await pushBlob(lab, 'a', bytes);
        return done;
      },
    };
    assert.equal((await collectGarbage({ storage: racing, graceMs: 0 })).removedBlobs, 1);
    assert.equal((await lab.send('GET', `/v2/a/blobs/${digest}`)).body.equals(bytes), true);
  });

  it('pardons a blob whose manifest came after it was condemned', async () => {
    await using lab = await RegistryLab.start();
    const layer = randomBytes(2000);
    await pushBlob(lab, 'a', layer);
    let pushing: Promise<Image> | undefined;
    let listed = 0;
    const racing: RegistryStorage = {
      ...lab.storage,
      async listDocuments(prefix, options) {
        // The second listing of the repositories: everything is condemned by then.
        if (prefix === 'repositories/' && ++listed === 2) {
          pushing = pushImage(lab, 'a', 'v1', [layer], undefined, { trustExisting: true });
          await wait(200);
        }
        return lab.storage.listDocuments(prefix, options);
      },
    };
    const outcome = await collectGarbage({ storage: racing, graceMs: 0 });
    assert.equal(listed, 2);
    await assertWhole(lab, 'a', await pushing!);
    assert.equal(outcome.removedBlobs, 0);
  });

  it('discards old uploads only', async () => {
    await using lab = await RegistryLab.start();
    const { headers } = await lab.send('POST', '/v2/a/blobs/uploads/');
    assert.equal((await lab.send('PATCH', headers.location!, {}, randomBytes(100))).status, 202);
    assert.equal((await collect(lab, { uploadMaxAgeMs: 60_000 })).discardedUploads, 0);
    assert.equal((await collect(lab, { uploadMaxAgeMs: 0, dryRun: true })).discardedUploads, 1);
    assert.equal((await lab.send('GET', headers.location!)).status, 204);
    const outcome = await collect(lab, { uploadMaxAgeMs: 0 });
    assert.deepEqual([outcome.discardedUploads, outcome.discardedBytes], [1, 100]);
    assert.equal((await lab.send('GET', headers.location!)).status, 404);
  });

  it('is one at a time, and is not stopped by one that died', async () => {
    await using lab = await RegistryLab.start();
    await pushBlob(lab, 'a', randomBytes(10));
    const outcomes = await Promise.all(Array.from({ length: 4 }, () => collect(lab, { graceMs: 0 })));
    assert.deepEqual(outcomes.map((outcome) => outcome.busy).sort(), [false, true, true, true]);
    const lease = Buffer.from(JSON.stringify({ run: 'x', until: Date.now() + 60_000 }));
    await lab.storage.writeDocument('gc/lease', lease);
    assert.equal((await collect(lab, {})).busy, true);
    for (const dead of [JSON.stringify({ run: 'x', until: Date.now() - 1 }), 'garbage', '{}']) {
      await lab.storage.writeDocument('gc/lease', Buffer.from(dead));
      assert.equal((await collect(lab, {})).busy, false);
    }
  });

  it('ends when it is told to, and can begin again', async () => {
    await using lab = await RegistryLab.start();
    await pushBlob(lab, 'a', randomBytes(10));
    const controller = new AbortController();
    const stopping: RegistryStorage = {
      ...lab.storage,
      async writeDocument(key, bytes, options) {
        if (key.startsWith('gc/condemned/')) controller.abort(new Error('enough'));
        return lab.storage.writeDocument(key, bytes, options);
      },
    };
    const run = collectGarbage({ storage: stopping, graceMs: 0, signal: controller.signal });
    await assert.rejects(run, /enough/);
    assert.equal((await condemned(lab.storage)).length, 1);
    assert.equal((await collect(lab, { graceMs: 0 })).removedBlobs, 1);
    assert.deepEqual(await condemned(lab.storage), []);
  });

  it('removes nothing while it cannot read what a manifest needs', async () => {
    await using lab = await RegistryLab.start();
    const image = await pushImage(lab, 'a', 'v1');
    const loose = await pushBlob(lab, 'a', randomBytes(10));
    await lab.storage.putBlob(image.digest, Buffer.from('{"schemaVersion'));
    await assert.rejects(collect(lab, { graceMs: 0 }), { code: 'STORAGE_DAMAGED' });
    assert.ok(await lab.storage.statBlob(loose));
    await lab.send('DELETE', `/v2/a/manifests/${image.digest}`);
    assert.equal((await collect(lab, { graceMs: 0 })).removedBlobs, 4);
  });
});

interface Image {
  digest: Digest;
  size: number;
  blobs: Digest[];
}

function collect(lab: RegistryLab, options: Partial<CollectOptions>): ReturnType<typeof collectGarbage> {
  return collectGarbage({ storage: lab.storage, ...options });
}

async function pushBlob(lab: RegistryLab, repository: string, bytes: Buffer): Promise<Digest> {
  const digest = digestOf(bytes);
  const { headers } = await lab.send('POST', `/v2/${repository}/blobs/uploads/`);
  const { status } = await lab.send('PUT', `${headers.location}?digest=${digest}`, {}, bytes);
  assert.equal(status, 201);
  return digest;
}

async function pushImage(
  lab: RegistryLab,
  repository: string,
  tag: string | undefined,
  layers: Buffer[] = [randomBytes(200)],
  subject?: Digest,
  options: { trustExisting?: boolean } = {},
): Promise<Image> {
  const config = Buffer.from(
    JSON.stringify({ architecture: 'amd64', os: 'linux', random: randomBytes(8).toString('hex') }),
  );
  const blobs: Digest[] = [await pushBlob(lab, repository, config)];
  for (const layer of layers) {
    blobs.push(options.trustExisting === true ? digestOf(layer) : await pushBlob(lab, repository, layer));
  }
  const descriptor = (mediaType: string, digest: Digest, size: number) => ({ mediaType, digest, size });
  const image = await putManifest(lab, repository, tag, MANIFEST, {
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: descriptor('application/vnd.oci.image.config.v1+json', blobs[0]!, config.length),
    layers: layers.map((layer) => descriptor('application/vnd.oci.image.layer.v1.tar', digestOf(layer), layer.length)),
    ...(subject !== undefined && { subject: descriptor(MANIFEST, subject, 2) }),
  });
  return { ...image, blobs };
}

async function putManifest(
  lab: RegistryLab,
  repository: string,
  tag: string | undefined,
  type: string,
  document: object,
): Promise<{ digest: Digest; size: number }> {
  const bytes = Buffer.from(JSON.stringify(document));
  const digest = digestOf(bytes);
  const path = `/v2/${repository}/manifests/${tag ?? digest}`;
  const { status, body } = await lab.send('PUT', path, { 'Content-Type': type }, bytes);
  assert.equal(status, 201, body.toString());
  return { digest, size: bytes.length };
}

async function assertWhole(lab: RegistryLab, repository: string, image: Image): Promise<void> {
  assert.equal((await lab.send('GET', `/v2/${repository}/manifests/${image.digest}`)).status, 200);
  assert.ok(await lab.storage.statBlob(image.digest));
  for (const blob of image.blobs) {
    const { status, body } = await lab.send('GET', `/v2/${repository}/blobs/${blob}`);
    assert.equal(status, 200);
    assert.equal(digestOf(body), blob);
  }
}

async function referrers(lab: RegistryLab, repository: string, subject: Digest): Promise<Digest[]> {
  const { body } = await lab.send('GET', `/v2/${repository}/referrers/${subject}`);
  const { manifests } = JSON.parse(body.toString()) as { manifests: { digest: Digest }[] };
  return manifests.map((manifest) => manifest.digest);
}

async function condemn(storage: RegistryStorage, digest: Digest): Promise<void> {
  const version = (await storage.statBlob(digest))?.version ?? 'x';
  await storage.writeDocument(condemnedKey(digest), Buffer.from(JSON.stringify({ version })));
}

async function condemned(storage: RegistryStorage): Promise<string[]> {
  return (await storage.listDocuments('gc/condemned/')).keys.map((entry) => entry.key);
}

function wait(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
