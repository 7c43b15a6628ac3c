import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Digest } from '../../../src/core/digest.ts';
import { MEDIA_TYPES } from '../../../src/oci/media-types.ts';
import type { Repository } from '../../../src/registry/client/repository.ts';
import { noise, sampleImage, sha256 } from '../../archive/lab.ts';
import { type FakeOptions, FakeRegistry } from '../fake-registry.ts';
import { openFake } from './quick.ts';

const LIMIT = { timeout: 20_000 };
const IMAGE = sampleImage([noise(5000)]);
const SUBJECT = sha256(IMAGE.manifest);
const TAG = SUBJECT.replace(':', '-');
const EMPTY = Buffer.from('{}');

function referrer(artifactType: string, n = 0): Buffer {
  const empty = { mediaType: MEDIA_TYPES.empty, digest: sha256(EMPTY), size: 2 };
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.manifest,
      ...(artifactType === '' ? {} : { artifactType }),
      config: artifactType === '' ? { ...empty, mediaType: 'application/vnd.test.config' } : empty,
      layers: [empty],
      subject: { mediaType: MEDIA_TYPES.manifest, digest: SUBJECT, size: IMAGE.manifest.length },
      annotations: { n: String(n) },
    }),
  );
}

async function start(options: FakeOptions): Promise<FakeRegistry> {
  const registry = await FakeRegistry.start(options);
  registry.putImage('team/app', 'v1', IMAGE);
  registry.putBlob('team/app', EMPTY);
  return registry;
}

async function push(repository: Repository, bytes: Buffer): Promise<Digest> {
  const put = await repository.putManifest(sha256(bytes), bytes, MEDIA_TYPES.manifest);
  assert.equal(put.subject, SUBJECT);
  return put.digest;
}

async function typesOf(repository: Repository, artifactType?: string): Promise<unknown[]> {
  const list = await repository.listReferrers(SUBJECT, { artifactType });
  return list.map((descriptor) => descriptor.artifactType).sort();
}

const KINDS: { name: string; options: FakeOptions }[] = [
  { name: 'with the API', options: {} },
  { name: 'with the API, which does not filter', options: { filters: false } },
  { name: 'with the API, in pages of one', options: { pageSize: 1 } },
  { name: 'with the fallback tag', options: { referrers: false } },
];

for (const { name, options } of KINDS) {
  test(`referrers are pushed, found and deleted: ${name}`, LIMIT, async () => {
    await using registry = await start(options);
    await using repository = openFake(registry);
    assert.deepEqual(await repository.listReferrers(SUBJECT), []);
    const [signature, sbom, plain] = [referrer('test/signature'), referrer('test/sbom'), referrer('')];
    for (const bytes of [signature, sbom, plain, sbom]) await push(repository, bytes);
    const all = ['application/vnd.test.config', 'test/sbom', 'test/signature'];
    assert.deepEqual(await typesOf(repository), all);
    assert.deepEqual(await typesOf(repository, 'test/sbom'), ['test/sbom']);
    assert.deepEqual(await typesOf(repository, 'test/other'), []);
    const [found] = await repository.listReferrers(SUBJECT, { artifactType: 'test/sbom' });
    assert.deepEqual(found, {
      mediaType: MEDIA_TYPES.manifest,
      digest: sha256(sbom),
      size: sbom.length,
      artifactType: 'test/sbom',
      annotations: { n: '0' },
    });
    const fallback = registry.repository('team/app').tags.has(TAG);
    assert.equal(fallback, options.referrers === false);
    await repository.deleteManifest(sha256(sbom));
    assert.deepEqual(await typesOf(repository), [all[0], all[2]]);
    for (const bytes of [signature, plain]) await repository.deleteManifest(sha256(bytes));
    assert.deepEqual(await repository.listReferrers(SUBJECT), []);
    assert.ok(!registry.repository('team/app').tags.has(TAG));
    assert.deepEqual([...registry.repository('team/app').manifests.keys()], [SUBJECT]);
  });
}

test('the fallback index survives pushes at once, by one client and by two', LIMIT, async () => {
  await using registry = await start({ referrers: false });
  await using one = openFake(registry);
  await using two = openFake(registry);
  const all = Array.from({ length: 8 }, (_, i) => referrer('test/sbom', i));
  await Promise.all(all.map((bytes, i) => push(i % 2 === 0 ? one : two, bytes)));
  const found = await one.listReferrers(SUBJECT);
  assert.deepEqual(found.map(({ digest }) => digest).sort(), all.map(sha256).sort());
});

test('a registry that cannot delete keeps the old index, and that is no error', LIMIT, async () => {
  await using registry = await start({ referrers: false });
  registry.fault({ method: 'DELETE' }, { status: 405 }, 99);
  await using repository = openFake(registry);
  for (let i = 0; i < 3; i++) await push(repository, referrer('test/sbom', i));
  assert.equal((await repository.listReferrers(SUBJECT)).length, 3);
});

test('the fallback tag of a sha512 digest is cut', LIMIT, async () => {
  await using registry = await start({ referrers: false });
  await using repository = openFake(registry);
  await repository.listReferrers(`sha512:${'ab'.repeat(64)}`);
  assert.equal(registry.count('GET', new RegExp(`/manifests/sha512-${'ab'.repeat(32)}$`)), 1);
});

const API = { path: /\/referrers\// };

test('registries that answer the API with something else are asked for the tag', LIMIT, async () => {
  await using registry = await start({ referrers: false });
  await using repository = openFake(registry);
  await push(repository, referrer('test/sbom'));
  for (const fault of [
    { status: 200, body: '<html>', headers: { 'content-type': 'text/html' } },
    { status: 405 },
    { status: 404, body: '404 page not found' },
  ]) {
    registry.fault(API, fault);
    assert.equal((await repository.listReferrers(SUBJECT)).length, 1);
  }
});

test('lists of referrers that lie', LIMIT, async () => {
  await using registry = await start({});
  await using repository = openFake(registry);
  const index = { 'content-type': MEDIA_TYPES.index };
  const next = { link: `</v2/team/app/referrers/${SUBJECT}?page=2>; rel="next"` };
  const empty = '{"schemaVersion":2,"manifests":[]}';
  const cases = [
    { fault: { status: 200, body: 'hello', headers: index }, code: 'BAD_MANIFEST' },
    { fault: { status: 200, body: '{"manifests":[{"digest":"x"}]}', headers: index }, code: 'BAD_MANIFEST' },
    { fault: { status: 200, body: empty, headers: { ...index, ...next } }, code: 'BAD_RESPONSE' },
    { fault: { endless: true, headers: index }, code: 'RESPONSE_TOO_LARGE' },
    { fault: { huge: 2 ** 30, headers: index }, code: 'RESPONSE_TOO_LARGE' },
  ];
  for (const { fault, code } of cases) {
    registry.clearFaults();
    registry.fault(API, fault, 99);
    await assert.rejects(repository.listReferrers(SUBJECT), { code });
  }
  assert.ok(registry.bytesSent < 30_000_000);
  registry.options.referrers = false;
  registry.clearFaults();
  registry.putManifest('team/app', TAG, IMAGE.manifest);
  await assert.rejects(repository.listReferrers(SUBJECT), { code: 'BAD_MANIFEST' });
});
