import assert from 'node:assert/strict';
import { it, describe as suite } from 'node:test';
import { loadArchive } from '../../src/archive/load.ts';
import { listImageRows } from '../../src/engine/images.ts';
import { pruneStore } from '../../src/engine/prune.ts';
import { removeImage } from '../../src/engine/rmi.ts';
import type { ImageIndex } from '../../src/oci/manifest.ts';
import type { Store } from '../../src/store/store.ts';
import { annotateList } from '../../src/transfer/manifest-annotate.ts';
import { createList } from '../../src/transfer/manifest-create.ts';
import {
  inspectInList,
  inspectManifest,
  inspectManifestVerbose,
  type VerboseManifest,
} from '../../src/transfer/manifest-inspect.ts';
import { removeList } from '../../src/transfer/manifest-list.ts';
import { pushList } from '../../src/transfer/manifest-push.ts';
import { describe, inFlight, Lab, layoutOf, type SampleImage, sampleImage, sha256 } from '../archive/lab.ts';
import { Sample } from '../image/sample.ts';
import { FakeRegistry } from '../registry/fake-registry.ts';

const INDEX = 'application/vnd.oci.image.index.v1+json';

function sample(lab: Lab, architecture: string, variant?: string): SampleImage {
  const tar = lab.tar(lab.tree(`t-${architecture}${variant ?? ''}`, { file: architecture + variant }));
  return sampleImage([tar], variant === undefined ? { architecture } : { architecture, variant });
}

async function load(store: Store, lab: Lab, image: SampleImage, name: string): Promise<void> {
  const platform = { os: 'linux', architecture: JSON.parse(image.config.toString()).architecture as string };
  const tree = lab.tree(`in-${name.replaceAll(/\W/g, '-')}`, layoutOf(image, { 'io.containerd.image.name': name }));
  await loadArchive(store, tree, { platform });
}

suite('lists of manifests', () => {
  it('of images that are here: made, amended, annotated, kept, removed', async () => {
    using lab = new Lab();
    const store = lab.store();
    const [amd, arm] = [sample(lab, 'amd64'), sample(lab, 'arm', 'v7')];
    await load(store, lab, amd, 'app:amd64');
    await load(store, lab, arm, 'app:arm');
    const { reference, descriptor } = await createList(store, 'app', ['app:amd64']);
    assert.equal(reference, 'docker.io/library/app:latest');
    await assert.rejects(createList(store, 'app', ['app:arm']), { code: 'LIST_EXISTS' });
    await createList(store, 'app', ['app:arm', 'app:amd64'], { amend: true, annotations: { who: 'me' } });
    annotateList(store, 'app', 'app:arm', { variant: 'v6', osFeatures: ['a', 'b'], annotations: { k: 'v' } });
    const index = {
      schemaVersion: 2,
      mediaType: INDEX,
      manifests: [
        { ...describe(amd), platform: { os: 'linux', architecture: 'amd64' } },
        {
          ...describe(arm),
          platform: { os: 'linux', architecture: 'arm', variant: 'v6', 'os.features': ['a', 'b'] },
          annotations: { k: 'v' },
        },
      ],
      annotations: { who: 'me' },
    };
    assert.deepEqual(await inspectManifest(store, 'app'), index);
    // The same again is the same.
    assert.equal((await createList(store, 'other', ['app:amd64'])).descriptor.digest, descriptor.digest);

    await pruneStore(store);
    assert.deepEqual(await inspectManifest(store, 'app'), index);
    const rows = listImageRows(store).map(({ repository, tag }) => `${repository}:${tag}`);
    assert.deepEqual(rows.sort(), ['app:amd64', 'app:arm', 'app:latest', 'other:latest'].sort());
    // A child that only the list names is kept with it, and goes with it.
    await removeImage(store, 'app:arm');
    assert.ok(store.hasBlob(describe(arm).digest));
    await removeList(store, 'app');
    assert.ok(!store.hasBlob(describe(arm).digest));
    assert.ok(store.hasBlob(describe(amd).digest));
    await assert.rejects(removeList(store, 'app'), { code: 'NO_SUCH_LIST' });
    // What goes a moment later is no work in flight.
    assert.deepEqual(
      inFlight(store).filter((name) => !name.startsWith('trash-')),
      [],
    );
  });

  it('names are not taken from images, and images are no lists', async () => {
    using lab = new Lab();
    const store = lab.store();
    const image = sample(lab, 'amd64');
    await load(store, lab, image, 'app:1');
    for (const amend of [false, true]) {
      await assert.rejects(createList(store, 'app:1', ['app:1'], { amend }), { code: 'NAME_IN_USE' });
    }
    await assert.rejects(removeList(store, 'app:1'), { code: 'NAME_IN_USE' });
    await assert.rejects(pushList(store, 'app:1'), { code: 'NAME_IN_USE' });
    assert.throws(() => annotateList(store, 'app:1', 'app:1', {}), { code: 'NAME_IN_USE' });
    assert.throws(() => annotateList(store, 'none', 'app:1', {}), { code: 'NO_SUCH_LIST' });
    await createList(store, 'l', ['app:1']);
    assert.throws(() => annotateList(store, 'l', 'app:2', {}), { code: 'NO_SUCH_MANIFEST' });
    assert.throws(() => annotateList(store, 'l', 'app:1', { architecture: 'a b' }), { code: 'BAD_PLATFORM' });
    await assert.rejects(createList(store, `l@${sha256(Buffer.from(''))}`, ['app:1']), { code: 'BAD_REFERENCE' });
    assert.equal(store.getRef('docker.io/library/app:1')?.digest, describe(image).digest);
  });

  it('of images of a registry: nothing is fetched but manifests and configs', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const store = lab.store();
    const [amd, arm] = [sample(lab, 'amd64'), sample(lab, 'arm64')];
    registry.putImage('app', 'amd64', amd);
    registry.putImage('app', 'arm64', arm);
    const list = `${registry.host}/app:all`;
    await createList(store, list, [`${registry.host}/app:amd64`, `docker://${registry.host}/app:arm64`]);
    assert.deepEqual(listImageRows(store), []);
    const verbose = (await inspectManifestVerbose(store, list)) as VerboseManifest[];
    assert.deepEqual(
      verbose.map(({ Raw }) => Buffer.from(Raw, 'base64').toString()),
      [amd.manifest, arm.manifest].map(String),
    );
    const one = await inspectInList(store, list, describe(arm).digest);
    assert.deepEqual(one, verbose[1]);
    assert.equal(one.Descriptor.platform?.architecture, 'arm64');
    assert.deepEqual(await inspectManifest(store, `${registry.host}/app:amd64`), JSON.parse(amd.manifest.toString()));

    const told: string[] = [];
    const pushed = await pushList(store, list, { onManifest: (name, digest) => told.push(`${name} ${digest}`) });
    assert.deepEqual(told, [
      `${registry.host}/app:amd64 ${describe(amd).digest}`,
      `${registry.host}/app:arm64 ${describe(arm).digest}`,
    ]);
    assert.equal(registry.repository('app').tags.get('all'), pushed.digest);
    assert.equal(registry.count('GET', new RegExp(sha256(amd.layers[0]!.blob))), 0);
    await pushList(store, list, { purge: true });
    await assert.rejects(pushList(store, list), { code: 'NO_SUCH_LIST' });
  });

  it('of another repository or registry: mounted, else copied, byte for byte', async () => {
    using lab = new Lab();
    const [amd, arm] = [sample(lab, 'amd64'), sample(lab, 'arm64')];
    for (const mounts of [true, false]) {
      await using registry = await FakeRegistry.start({ mounts });
      await using other = await FakeRegistry.start();
      const store = lab.store();
      registry.putImage('from', 'amd64', amd);
      other.putImage('far', 'arm64', arm);
      const list = `${registry.host}/to:all`;
      await createList(store, list, [`${registry.host}/from:amd64`, `${other.host}/far:arm64`]);
      const { digest } = await pushList(store, list);
      const to = registry.repository('to');
      const index = JSON.parse(to.manifests.get(digest)!.bytes.toString()) as ImageIndex;
      assert.deepEqual(
        index.manifests.map((child) => to.manifests.get(child.digest)!.bytes.toString()),
        [amd.manifest, arm.manifest].map(String),
      );
      const layer = sha256(amd.layers[0]!.blob);
      assert.equal(registry.count('GET', new RegExp(layer)), mounts ? 0 : 1);
      assert.ok(to.blobs.has(layer));
    }
  });

  it('an index gives all that it has, attestations too', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const store = lab.store();
    const images = [sample(lab, 'amd64'), sample(lab, 'arm64')];
    for (const image of images) registry.putImage('app', undefined, image);
    const manifests = [
      { ...describe(images[0]!), platform: { os: 'linux', architecture: 'amd64' } },
      { ...describe(images[1]!), platform: { os: 'unknown', architecture: 'unknown' }, annotations: { a: 'b' } },
    ];
    registry.putManifest('app', '1', { schemaVersion: 2, mediaType: INDEX, manifests });
    await createList(store, 'l', [`${registry.host}/app:1`]);
    assert.deepEqual(((await inspectManifest(store, 'l')) as ImageIndex).manifests, manifests);
    assert.throws(() => annotateList(store, 'l', `${registry.host}/app:1`, {}), { code: 'AMBIGUOUS_MANIFEST' });
    annotateList(store, 'l', manifests[0]!.digest, { variant: 'v2' });
  });

  it('of images that were built here: pushed in compressed form, and the list follows', async () => {
    await using built = new Sample();
    await using registry = await FakeRegistry.start();
    const { store } = built;
    const plain = await built.image('app:1', [{ 'bin/app': 'x'.repeat(5000) }]);
    const list = `${registry.host}/app:all`;
    await createList(store, list, ['app:1']);
    const { digest } = await pushList(store, list);
    const { manifests } = registry.repository('app');
    const index = JSON.parse(manifests.get(digest)!.bytes.toString()) as ImageIndex;
    const child = index.manifests[0]!;
    assert.notEqual(child.digest, plain.digest);
    assert.equal(child.platform?.architecture, 'amd64');
    const { layers } = JSON.parse(manifests.get(child.digest)!.bytes.toString());
    assert.match(layers[0].mediaType, /\+gzip$/);
    assert.deepEqual(await inspectManifest(store, list), index);
    // Again, and after an annotation by its name: nothing is compressed a second time.
    annotateList(store, list, 'app:1', { variant: 'v2' });
    const uploads = registry.count('POST', /uploads/);
    await pushList(store, list);
    assert.equal(registry.count('POST', /uploads/), uploads);
  });

  it('what fails on the way leaves no tag', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const store = lab.store();
    const image = sample(lab, 'amd64');
    registry.putImage('from', '1', image);
    await createList(store, `${registry.host}/to:all`, [`${registry.host}/from:1`]);
    registry.repository('from').manifests.clear();
    await assert.rejects(pushList(store, `${registry.host}/to:all`));
    assert.deepEqual([...registry.repository('to').tags], []);
    const html = { status: 200, body: '<html>', headers: { 'content-type': 'text/html' } };
    registry.fault({ path: /manifests/ }, html, 9);
    await assert.rejects(createList(store, 'l', [`${registry.host}/from:1`]), { code: 'BAD_RESPONSE' });
    await assert.rejects(inspectManifest(store, `${registry.host}/from:1`), { code: 'BAD_RESPONSE' });
    assert.deepEqual(inFlight(store), []);
  });
});
