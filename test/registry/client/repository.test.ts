import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseManifest } from '../../../src/oci/manifest.ts';
import { MEDIA_TYPES } from '../../../src/oci/media-types.ts';
import { noise, sampleImage, sha256 } from '../../archive/lab.ts';
import { FakeRegistry, hash } from '../fake-registry.ts';
import type { Fault } from '../faults.ts';
import { collect, openFake, QUICK } from './quick.ts';

const LIMIT = { timeout: 20_000 };
const IMAGE = sampleImage([noise(5000)]);
const MANIFEST = sha256(IMAGE.manifest);
const GET = { method: 'GET', path: /\/manifests\// };
const HEAD = { method: 'HEAD' };

async function startWithImage(): Promise<FakeRegistry> {
  const registry = await FakeRegistry.start();
  registry.putImage('team/app', 'v1', IMAGE);
  return registry;
}

test('a manifest by tag and by digest, byte for byte', LIMIT, async () => {
  await using registry = await startWithImage();
  await using repository = openFake(registry);
  assert.equal(repository.name, `${registry.host}/team/app`);
  for (const reference of ['v1', MANIFEST]) {
    const { bytes, mediaType, digest } = await repository.getManifest(reference);
    assert.ok(bytes.equals(IMAGE.manifest));
    assert.deepEqual({ mediaType, digest }, { mediaType: MEDIA_TYPES.manifest, digest: MANIFEST });
    const head = { mediaType, digest, size: bytes.length };
    assert.deepEqual(await repository.headManifest(reference), head);
  }
  const long = hash(IMAGE.manifest, 'sha512') as typeof MANIFEST;
  registry.repository('team/app').manifests.set(long, { bytes: IMAGE.manifest, mediaType: MEDIA_TYPES.manifest });
  assert.equal((await repository.getManifest(long)).digest, long);
  registry.repository('team/app').tags.set('long', long);
  assert.equal((await repository.getManifest('long')).digest, long);
  const { accept } = registry.requests('GET')[1]!.headers;
  for (const type of Object.values(MEDIA_TYPES)) {
    if (/manifest|index/.test(type)) assert.ok(accept?.includes(type), type);
  }
});

const DIGEST_OF_OTHER = sha256(Buffer.from('other'));

const LIES: { name: string; fault: Fault; code: string; error?: RegExp; reference?: string }[] = [
  { name: 'other bytes than the digest', fault: { corrupt: true }, code: 'DIGEST_MISMATCH' },
  { name: 'other bytes than the header says', fault: { corrupt: true }, code: 'DIGEST_MISMATCH', reference: 'v1' },
  {
    name: 'a wrong Docker-Content-Digest',
    fault: { headers: { 'docker-content-digest': DIGEST_OF_OTHER } },
    code: 'DIGEST_MISMATCH',
  },
  {
    name: 'a Docker-Content-Digest that is none',
    fault: { headers: { 'docker-content-digest': 'sha256:abc' } },
    code: 'DIGEST_MISMATCH',
    reference: 'v1',
  },
  {
    name: 'what is not JSON',
    fault: { status: 200, body: 'hello', headers: { 'content-type': MEDIA_TYPES.manifest } },
    code: 'BAD_MANIFEST',
    reference: 'v1',
    error: /manifest 127.*:v1 is not JSON/,
  },
  {
    name: 'a web page',
    fault: { status: 200, body: '<html></html>', headers: { 'content-type': 'text/html; charset=utf-8' } },
    code: 'BAD_RESPONSE',
    reference: 'v1',
    error: /sent a web page instead of a manifest/,
  },
  { name: 'a gigabyte', fault: { huge: 2 ** 30 }, code: 'BAD_MANIFEST', error: /too large.*1073741824/ },
  { name: 'no end', fault: { endless: true }, code: 'BAD_MANIFEST', error: /too large.*4194304/ },
  { name: 'a short body', fault: { short: 50 }, code: 'DIGEST_MISMATCH' },
  { name: 'a stall', fault: { stallAfter: 50 }, code: 'STALLED' },
  { name: 'a broken connection', fault: { cutAfter: 50 }, code: 'CONNECTION_BROKEN' },
];

for (const { name, fault, code, error, reference = MANIFEST } of LIES) {
  test(`a registry that sends as a manifest: ${name}`, LIMIT, async () => {
    await using registry = await startWithImage();
    await using repository = openFake(registry, 'team/app', { timing: { ...QUICK.timing, stallMs: 200 } });
    registry.fault(GET, fault, 99);
    await assert.rejects(repository.getManifest(reference), { code, ...(error && { message: error }) });
    assert.ok(registry.bytesSent < 20_000_000, `${registry.bytesSent} bytes sent`);
  });
}

test('an answer that breaks in its middle is asked for again', LIMIT, async () => {
  await using registry = await startWithImage();
  await using repository = openFake(registry);
  registry.fault({ method: 'GET' }, { cutAfter: 5 }, 3);
  assert.equal((await repository.getManifest('v1')).digest, MANIFEST);
  registry.fault({ method: 'GET' }, { cutAfter: 5 }, 3);
  assert.deepEqual(await collect(repository.listTags()), ['v1']);
  registry.fault({ method: 'GET' }, { cutAfter: 5 }, 3);
  assert.deepEqual(await repository.listReferrers(MANIFEST), []);
  assert.equal(registry.count('GET', /team\/app/), 12);
});

test('headers that are missing or vague are made up for', LIMIT, async () => {
  await using registry = await startWithImage();
  await using repository = openFake(registry);
  const right = { mediaType: MEDIA_TYPES.manifest, digest: MANIFEST, size: IMAGE.manifest.length };
  const vague = { 'content-type': 'application/json' };
  for (const fault of [
    { without: ['docker-content-digest'] },
    { without: ['content-length'] },
    { without: ['content-type'] },
    { headers: vague },
    { headers: { 'content-length': '0' } },
    { status: 405 },
  ]) {
    registry.fault(HEAD, fault);
    registry.fault(GET, { headers: vague, without: ['docker-content-digest', 'etag'] });
    assert.deepEqual(await repository.headManifest('v1'), right);
  }
  const index = JSON.stringify({ schemaVersion: 2, manifests: [] });
  registry.putManifest('team/app', 'index', Buffer.from(index), 'text/plain');
  assert.equal((await repository.getManifest('index')).mediaType, MEDIA_TYPES.index);
  assert.equal(await repository.headManifest('nothing'), undefined);
  await assert.rejects(repository.getManifest('nothing'), { code: 'MANIFEST_UNKNOWN' });
});

test('schema 1 comes back, for the error that says so', LIMIT, async () => {
  await using registry = await FakeRegistry.start();
  const old = { schemaVersion: 1, name: 'team/app', fsLayers: [], history: [] };
  registry.putManifest('team/app', 'old', old, MEDIA_TYPES.dockerSchema1Signed);
  await using repository = openFake(registry);
  const { bytes, mediaType } = await repository.getManifest('old');
  assert.throws(() => parseManifest(bytes, { mediaType }), { code: 'SCHEMA1_MANIFEST' });
});

test('manifests are pushed by tag and by digest, and deleted', LIMIT, async () => {
  await using registry = await startWithImage();
  await using repository = openFake(registry);
  const bytes = Buffer.concat([IMAGE.manifest, Buffer.from('\n')]);
  const digest = sha256(bytes);
  assert.deepEqual(await repository.putManifest('v2', bytes, MEDIA_TYPES.manifest), { digest });
  assert.deepEqual(await repository.putManifest(digest, bytes, MEDIA_TYPES.manifest), { digest });
  const long = hash(bytes, 'sha512') as typeof digest;
  assert.deepEqual(await repository.putManifest(long, bytes, MEDIA_TYPES.manifest), { digest: long });
  assert.ok((await repository.getManifest('v2')).bytes.equals(bytes));
  await repository.deleteManifest('v2');
  assert.ok(await repository.headManifest(digest));
  await repository.deleteManifest(digest);
  assert.equal(await repository.headManifest(digest), undefined);
  await assert.rejects(repository.putManifest(MANIFEST, bytes, MEDIA_TYPES.manifest), { code: 'DIGEST_MISMATCH' });
  registry.fault({ method: 'PUT' }, { headers: { 'docker-content-digest': DIGEST_OF_OTHER } });
  await assert.rejects(repository.putManifest('v3', bytes, MEDIA_TYPES.manifest), { code: 'DIGEST_MISMATCH' });
  const missing = Buffer.from(IMAGE.manifest.toString().replaceAll(sha256(IMAGE.config), DIGEST_OF_OTHER));
  await assert.rejects(repository.putManifest('v4', missing, MEDIA_TYPES.manifest), /manifest blob unknown/);
});

test('what is no tag and no digest never gets into a URL', LIMIT, async () => {
  await using registry = await FakeRegistry.start();
  await using repository = openFake(registry);
  for (const bad of ['', '..', '../../other/manifests/v1', 'a b', 'v1?x', 'a/b', 'x'.repeat(129), 'sha256:abc']) {
    await assert.rejects(repository.getManifest(bad), { code: 'BAD_REFERENCE' });
    await assert.rejects(repository.putManifest(bad, Buffer.from('{}'), 'x/y'), { code: 'BAD_REFERENCE' });
    await assert.rejects(repository.deleteManifest(bad), { code: 'BAD_REFERENCE' });
  }
  assert.throws(() => openFake(registry, '../x'), { code: 'BAD_REFERENCE' });
  assert.equal(registry.log.length, 0);
});

async function tagsOf(registry: FakeRegistry): Promise<string[]> {
  await using repository = openFake(registry);
  return collect(repository.listTags());
}

test('tags, page by page', LIMIT, async () => {
  await using registry = await startWithImage();
  registry.options.pageSize = 10;
  const names = Array.from({ length: 35 }, (_, i) => `t${String(i).padStart(2, '0')}`);
  for (const name of names) registry.repository('team/app').tags.set(name, MANIFEST);
  assert.deepEqual(await tagsOf(registry), [...names, 'v1']);
  assert.equal(registry.count('GET', /tags\/list/), 4);
  registry.options.pageSize = 1000;
  for (let i = 0; i < 2500; i++) registry.repository('team/app').tags.set(`x${10_000 + i}`, MANIFEST);
  registry.fault({ path: /tags/ }, { without: ['link'] }, 99);
  assert.equal((await tagsOf(registry)).length, 2536);
});

test('no tags, and no repository', LIMIT, async () => {
  await using registry = await startWithImage();
  registry.fault({ path: /tags/ }, { status: 200, body: '{"name":"team/app","tags":null}' });
  assert.deepEqual(await tagsOf(registry), []);
  await using other = openFake(registry, 'team/nothing');
  await assert.rejects(collect(other.listTags()), { code: 'NAME_UNKNOWN' });
});

const TAG_LIES: { name: string; fault: Fault; code?: string; error: RegExp }[] = [
  {
    name: 'a web page',
    fault: { status: 200, body: '<html>', headers: { 'content-type': 'text/html' } },
    error: /a web page/,
  },
  { name: 'other JSON', fault: { status: 200, body: '{"tags":{}}' }, error: /tags: wanted a list/ },
  { name: 'terminal escapes', fault: { status: 200, body: '{"tags":["a\\u001b[2J"]}' }, error: /wanted a tag/ },
  {
    name: 'pages in a circle',
    fault: { headers: { link: '</v2/team/app/tags/list?last=x>; rel="next"' } },
    error: /pages of tags without an end/,
  },
  {
    name: 'a page on another host',
    fault: { headers: { link: '<https://evil.example/v2/team/app/tags/list?last=x>; rel="next"' } },
    error: /another host.*got evil\.example/,
  },
  { name: 'no end', fault: { endless: true }, code: 'RESPONSE_TOO_LARGE', error: /too large/ },
];

for (const { name, fault, code = 'BAD_RESPONSE', error } of TAG_LIES) {
  test(`a registry that sends as tags: ${name}`, LIMIT, async () => {
    await using registry = await startWithImage();
    registry.fault({ path: /tags/ }, fault, 99);
    await assert.rejects(tagsOf(registry), { code, message: error });
    assert.ok(registry.bytesSent < 50_000_000);
  });
}

test('connections are used again, whatever the answer was', LIMIT, async () => {
  await using registry = await startWithImage();
  await using repository = openFake(registry);
  const big = noise(1_000_000);
  const digest = registry.putBlob('team/app', big);
  await repository.headBlob(digest);
  const before = registry.connections;
  for (let i = 0; i < 3; i++) {
    await repository.headBlob(digest);
    await repository.headBlob(DIGEST_OF_OTHER);
    await repository.headManifest('v1');
    await repository.headManifest('nothing');
    await repository.getManifest('v1');
    assert.equal((await collect(repository.readBlob({ digest, size: big.length }))).length > 0, true);
    await repository.listReferrers(MANIFEST);
    await repository.mountBlob(DIGEST_OF_OTHER, 'team/app');
    await repository.putManifest('v2', IMAGE.manifest, MEDIA_TYPES.manifest);
    await repository.deleteManifest('v2');
    await collect(repository.listTags());
  }
  // One may still be on its way back when the next request goes out.
  assert.ok(registry.connections <= before + 1, `${registry.connections - before} new connections`);
});
