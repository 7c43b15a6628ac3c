import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { unlinkSync } from 'node:fs';
import { describe, it } from 'node:test';
import type { Digest } from '../../src/core/digest.ts';
import { appendLayer, draftOf, editConfig, tarLayer, writeImage } from '../../src/image/draft.ts';
import { readImage } from '../../src/image/image.ts';
import { listImages } from '../../src/image/list.ts';
import { resolveImage, resolveName } from '../../src/image/resolve.ts';
import { imageSizes } from '../../src/image/sizes.ts';
import { keepUntagged, tagImage, untaggedReference } from '../../src/image/tags.ts';
import { readImageTree } from '../../src/image/tree.ts';
import { chainIds } from '../../src/oci/chain.ts';
import { encodeJson } from '../../src/oci/json.ts';
import { MEDIA_TYPES } from '../../src/oci/media-types.ts';
import { parsePlatform } from '../../src/oci/platform.ts';
import { ingestLayer } from '../../src/store/ingest-layer.ts';
import { lookup } from '../../src/tree/lookup.ts';
import { Sample } from './sample.ts';

const APP = { 'bin/app': '#!/bin/sh\n', 'etc/': '' };

it('chainIds are those of the specification', () => {
  const ids = ['a', 'b', 'c'].map((c): Digest => `sha256:${c.repeat(64)}`);
  const hash = (text: string): string => `sha256:${createHash('sha256').update(text).digest('hex')}`;
  const second = hash(`${ids[0]} ${ids[1]}`);
  assert.deepEqual(chainIds(ids), [ids[0], second, hash(`${second} ${ids[2]}`)]);
  assert.deepEqual(chainIds([]), []);
});

describe('resolveImage', () => {
  it('by every name that Docker takes', async () => {
    await using sample = new Sample();
    const { store } = sample;
    const descriptor = await sample.image('app:1', [APP]);
    const { id } = readImage(store, descriptor);
    const hex = id.slice(7);
    const texts = [
      'app:1',
      'docker.io/library/app:1',
      id,
      hex,
      hex.slice(0, 12),
      hex.slice(0, 5),
      `sha256:${hex.slice(0, 8)}`,
      descriptor.digest,
      `app@${descriptor.digest}`,
      `app:1@${descriptor.digest}`,
      `app:other@${descriptor.digest}`,
    ];
    for (const text of texts) assert.equal(resolveImage(store, text).id, id, text);
    assert.equal(resolveName(store, 'app:1').reference, 'docker.io/library/app:1');
    assert.equal(resolveName(store, hex.slice(0, 12)).reference, undefined);
  });

  it('refuses what is not there', async () => {
    await using sample = new Sample();
    await sample.image('app:1', [APP]);
    const missing: [text: string, message: RegExp][] = [
      ['nothing', /^No such image: nothing:latest/],
      ['app', /^No such image: app:latest/],
      ['other:1', /^No such image: other:1/],
      [`app@sha256:${'0'.repeat(64)}`, /^No such image: app@sha256/],
      [`sha256:${'0'.repeat(64)}`, /^No such image: sha256/],
      ['0'.repeat(64), /^No such image: 0000/],
    ];
    for (const [text, message] of missing) {
      assert.throws(() => resolveImage(sample.store, text), { code: 'IMAGE_NOT_FOUND', message });
    }
    assert.throws(() => resolveImage(sample.store, 'No Name'), { code: 'BAD_REFERENCE' });
  });

  it('a name comes before the start of an ID, and an ambiguous start is refused', async () => {
    await using sample = new Sample();
    const { store } = sample;
    // Until two IDs start with the same digit, which is after 17 images at the latest.
    const byDigit = new Map<string, Digest>();
    for (let n = 0; ; n++) {
      const descriptor = await sample.image(`app:${n}`, [APP], (draft) => editConfig(draft, { Labels: { n: `${n}` } }));
      const { id } = readImage(store, descriptor);
      if (byDigit.has(id[7]!)) {
        assert.throws(() => resolveImage(store, id[7]!), { code: 'AMBIGUOUS_ID' });
        break;
      }
      byDigit.set(id[7]!, id);
    }
    const [digit, id] = [...byDigit][0]!;
    const other = [...byDigit.values()].at(-1)!;
    assert.notEqual(id, undefined);
    tagImage(store, `docker.io/library/${digit}:latest`, resolveImage(store, other).descriptor);
    assert.equal(resolveImage(store, digit).id, other);
  });

  it('of an index: the asked, this machine’s, or the first platform that is there', async () => {
    await using sample = new Sample();
    const { store } = sample;
    using lease = store.lease('test');
    const manifests = [];
    for (const platform of ['linux/s390x', 'linux/arm/v6', 'linux/amd64']) {
      const { descriptor } = writeImage(store, lease, await sample.draft(lease, [APP], platform));
      manifests.push({ ...descriptor, platform: parsePlatform(platform) });
    }
    manifests.push({
      mediaType: MEDIA_TYPES.manifest,
      digest: `sha256:${'0'.repeat(64)}`,
      size: 1,
      platform: parsePlatform('linux/ppc64le'),
    });
    manifests.push({ ...manifests[0]!, platform: { os: 'unknown', architecture: 'unknown' } });
    const nested = store.putBlob(lease, encodeJson({ schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests: [] }));
    manifests.unshift({
      mediaType: MEDIA_TYPES.index,
      digest: nested,
      size: 1,
      platform: parsePlatform('linux/s390x'),
    });
    const bytes = encodeJson({ schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests });
    const digest = store.putBlob(lease, bytes);
    store.setRef('docker.io/library/multi:latest', { mediaType: MEDIA_TYPES.index, digest, size: bytes.length });

    const arch = (platform?: string): string =>
      resolveImage(store, 'multi', platform === undefined ? undefined : parsePlatform(platform)).config.architecture;
    assert.equal(arch('linux/amd64'), 'amd64');
    assert.equal(arch('linux/arm/v7'), 'arm');
    assert.equal(arch('linux/s390x'), 's390x');
    assert.equal(arch(), { x64: 'amd64', arm64: 'arm', s390x: 's390x' }[process.arch as string] ?? 's390x');
    assert.throws(() => arch('linux/ppc64le'), { code: 'PLATFORM_MISMATCH', message: /linux\/s390x, linux\/arm\/v6/ });
    const image = resolveImage(store, 'multi', parsePlatform('linux/s390x'));
    assert.deepEqual([image.target.digest, image.descriptor.digest], [digest, manifests[1]!.digest]);
    assert.deepEqual(image.references, ['docker.io/library/multi:latest']);
    assert.equal(resolveImage(store, image.id).platform.architecture, 's390x');
    assert.equal(resolveImage(store, `multi@${image.descriptor.digest}`).id, image.id);
    assert.equal(listImages(store).length, 1);
    assert.equal(listImages(store, { allPlatforms: true }).length, 3);
  });

  it('a plain image of another platform only where nobody asked for one', async () => {
    await using sample = new Sample();
    using lease = sample.store.lease('test');
    const { descriptor } = writeImage(sample.store, lease, await sample.draft(lease, [APP], 'linux/s390x'));
    tagImage(sample.store, 'docker.io/library/big:latest', descriptor);
    assert.equal(resolveImage(sample.store, 'big').platform.architecture, 's390x');
    assert.throws(() => resolveImage(sample.store, 'big', parsePlatform('linux/amd64')), {
      code: 'PLATFORM_MISMATCH',
      message: "image 'big' is not there for this platform: wanted linux/amd64, got linux/s390x",
    });
  });

  it('tells of a config that does not fit its manifest', async () => {
    await using sample = new Sample();
    const { store } = sample;
    await assert.rejects(
      sample.image('broken', [APP], (draft) => ({ ...draft, layers: [] })).then(() => resolveImage(store, 'broken')),
      { code: 'BAD_MANIFEST', message: /wanted 1, as in the config, got 0/ },
    );
  });
});

describe('tagImage', () => {
  it('keeps what a name stood for as an untagged image, until it has a name again', async () => {
    await using sample = new Sample();
    const { store } = sample;
    const first = await sample.image('app', [APP]);
    const second = await sample.image('app', [APP, { 'etc/x': '1' }]);
    assert.deepEqual(
      store.listRefs().map((r) => r.reference),
      [untaggedReference(first.digest), 'docker.io/library/app:latest'],
    );
    assert.equal(resolveImage(store, 'app').descriptor.digest, second.digest);
    assert.deepEqual(resolveImage(store, first.digest).references, []);
    tagImage(store, 'docker.io/library/old:1', first);
    assert.deepEqual(
      store.listRefs().map((r) => r.reference),
      ['docker.io/library/app:latest', 'docker.io/library/old:1'],
    );
    keepUntagged(store, first);
    assert.equal(store.listRefs().length, 2);
  });

  it('does not keep what has another name', async () => {
    await using sample = new Sample();
    const first = await sample.image('app', [APP]);
    tagImage(sample.store, 'docker.io/library/same:1', first);
    await sample.image('app', [APP, APP]);
    assert.equal(sample.store.listRefs().length, 2);
  });

  it('the same image again changes nothing', async () => {
    await using sample = new Sample();
    await sample.image('app', [APP]);
    await sample.image('app', [APP]);
    assert.equal(sample.store.listRefs().length, 1);
  });
});

describe('listImages', () => {
  it('each once with all its names, and what is damaged aside', async () => {
    await using sample = new Sample();
    const { store } = sample;
    const first = await sample.image('a:1', [APP]);
    tagImage(store, 'docker.io/library/a:2', first);
    const other = await sample.image('b:1', [APP, { x: '1' }]);
    keepUntagged(store, await sample.image('c:1', [{ c: '1' }]));
    assert.deepEqual(
      listImages(store).map((item) => item.references),
      [['docker.io/library/a:1', 'docker.io/library/a:2'], ['docker.io/library/b:1'], ['docker.io/library/c:1']],
    );
    unlinkSync(store.blobPath(readImage(store, other).id));
    const damaged: string[] = [];
    assert.equal(
      listImages(store, { onDamaged: ({ reference, error }) => damaged.push(`${reference} ${error.code}`) }).length,
      2,
    );
    assert.deepEqual(damaged, ['docker.io/library/b:1 BLOB_MISSING']);
    assert.throws(() => listImages(store), { code: 'BLOB_MISSING' });
  });
});

describe('drafts', () => {
  it('the same draft gives the same digests', async () => {
    await using sample = new Sample();
    const a = await sample.image('a', [APP]);
    const b = await sample.image('b', [APP]);
    assert.deepEqual(a, b);
  });

  it('build upon an image: layers, configuration and history go on', async () => {
    await using sample = new Sample();
    const { store } = sample;
    await sample.image('base', [APP], (draft) => editConfig(draft, { Env: ['A=1'], User: 'nobody' }));
    const base = resolveImage(store, 'base');
    using lease = store.lease('test');
    const layer = tarLayer(await ingestLayer(store, lease, { path: sample.tar({ 'etc/new': 'x' }) }));
    const step = { created: '2026-02-02T00:00:00Z', created_by: 'COPY', empty_layer: true };
    const { id, descriptor } = writeImage(store, lease, {
      ...editConfig(appendLayer(draftOf(base), layer, step), { User: 'root' }),
      annotations: { k: 'v' },
    });
    const image = readImage(store, descriptor);
    assert.equal(image.id, id);
    assert.deepEqual(image.diffIds, [...base.diffIds, layer.diffId]);
    assert.deepEqual(image.config.config, { ...base.config.config, User: 'root' });
    assert.deepEqual(image.config.history?.at(-1), { created: step.created, created_by: 'COPY' });
    assert.equal(image.config.history?.length, 3);
    assert.equal(image.config.created, step.created);
    assert.deepEqual(image.manifest.annotations, { k: 'v' });
    assert.equal(image.chainIds[0], base.chainIds[0]);
    const tree = readImageTree(store, image);
    assert.deepEqual([lookup(tree, 'etc/new')?.layer, lookup(tree, 'bin/app')?.layer], [1, 0]);
  });

  it('layers of Docker’s media types become OCI’s, and a short history is filled up', async () => {
    await using sample = new Sample();
    const { store } = sample;
    await sample.image('base', [APP, { x: '1' }], (draft) => ({
      config: { ...draft.config, history: [{ created_by: 'one' }] },
      layers: draft.layers.map((l) => ({
        ...l,
        descriptor: { ...l.descriptor, mediaType: MEDIA_TYPES.dockerLayerGzip },
      })),
    }));
    const draft = draftOf(resolveImage(store, 'base'));
    assert.deepEqual(
      draft.layers.map((l) => l.descriptor.mediaType),
      [MEDIA_TYPES.layerGzip, MEDIA_TYPES.layerGzip],
    );
    assert.deepEqual(draft.config.history, [{ created_by: 'one' }, {}]);
  });
});

it('imageSizes: alone, shared, unique', async () => {
  await using sample = new Sample();
  const { store } = sample;
  await sample.image('a', [APP]);
  await sample.image('b', [APP, { big: 'x'.repeat(20_000) }]);
  const [a, b] = ['a', 'b'].map((name) => resolveImage(store, name));
  const sizes = imageSizes(store, [a!, b!]);
  const base = store.blobSize(a!.diffIds[0]!)!;
  const top = store.blobSize(b!.diffIds[1]!)!;
  assert.ok(top > 20_000);
  assert.deepEqual(sizes.get(a!.id), { size: base, shared: base, unique: 0 });
  assert.deepEqual(sizes.get(b!.id), { size: base + top, shared: base, unique: top });
});
