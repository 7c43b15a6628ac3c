import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Digest } from '../../../src/core/digest.ts';
import { MEDIA_TYPES } from '../../../src/oci/media-types.ts';
import { openRepository, type Repository } from '../../../src/registry/client/repository.ts';
import { createHandler } from '../../../src/registry/server/handler.ts';
import { openFileStorage } from '../../../src/registry/storage/files.ts';
import type { RegistryStorage } from '../../../src/registry/storage/storage.ts';
import { noise, sampleImage, sha256 } from '../../archive/lab.ts';
import { CuttingProxy } from '../cutting-proxy.ts';
import { hash } from '../fake-registry.ts';
import { collect, PATIENT, sourceOf } from './quick.ts';

/** Imago's client against Imago's server. */
const LIMIT = { timeout: 240_000 };
const MIB = 2 ** 20;
const BLOB = noise(20 * MIB + 7);
const ADDRESS = { digest: sha256(BLOB), size: BLOB.length };

let directory: string;
let storage: RegistryStorage;
let server: Server;
let host: string;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'imago-client-server-'));
  storage = await openFileStorage(directory);
  server = createServer(createHandler({ storage, automaticMounts: false }));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
});
after(async () => {
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
  await storage.close();
  rmSync(directory, { recursive: true, force: true });
});

function open(path: string, at = host): Repository {
  // Long enough for the server to be done with a connection that was cut.
  return openRepository({ domain: at, path }, PATIENT);
}

async function hashOf(source: AsyncIterable<Uint8Array>): Promise<Digest> {
  const sum = createHash('sha256');
  for await (const part of source) sum.update(part);
  return `sha256:${sum.digest('hex')}`;
}

test('an upload and a download go on where their connection was cut', LIMIT, async () => {
  await using proxy = await CuttingProxy.start(host);
  await using repository = open('cut/app', proxy.host);
  await repository.headBlob(ADDRESS.digest);
  proxy.cut('up', 5 * MIB, 3);
  const starts: number[] = [];
  await repository.uploadBlob(ADDRESS, (offset) => {
    starts.push(offset);
    return sourceOf(BLOB)(offset);
  });
  assert.equal(proxy.cuts, 3);
  assert.ok(
    starts.every((start, i) => i === 0 || start > starts[i - 1]!),
    starts.join(' '),
  );
  // What a cut connection had on its way is sent again, and no more.
  assert.ok(proxy.up < BLOB.length + 10 * MIB, `${proxy.up} bytes went up`);
  proxy.cut('down', 3 * MIB, 4);
  assert.equal(await hashOf(repository.readBlob(ADDRESS)), ADDRESS.digest);
  assert.equal(proxy.cuts, 7);
  assert.ok(proxy.down < BLOB.length + MIB, `${proxy.down} bytes came down`);
  proxy.cut('up', 5 * MIB, 2);
  const bytes = Buffer.concat([BLOB, BLOB, Buffer.from('x')]);
  assert.equal((await repository.uploadStream(sourceOf(bytes)(0))).digest, sha256(bytes));
  assert.equal(proxy.cuts, 9);
  assert.deepEqual((await storage.listUploads()).uploads, []);
});

test('images, mounts, tags and deletes', LIMIT, async () => {
  await using repository = open('team/app');
  const image = sampleImage([BLOB], { gzip: false });
  await repository.uploadBlob(ADDRESS, sourceOf(BLOB));
  const config = { digest: sha256(image.config), size: image.config.length };
  await repository.uploadBlob(config, sourceOf(image.config));
  const long = hash(BLOB, 'sha512') as Digest;
  await repository.uploadBlob({ digest: long, size: BLOB.length }, sourceOf(BLOB));
  assert.equal(await repository.headBlob(long), BLOB.length);
  const digest = sha256(image.manifest);
  const tags = Array.from({ length: 30 }, (_, i) => `v${i}`);
  for (const tag of tags) await repository.putManifest(tag, image.manifest, MEDIA_TYPES.manifest);
  assert.deepEqual((await collect(repository.listTags())).sort(), tags.sort());
  const descriptor = { mediaType: MEDIA_TYPES.manifest, digest, size: image.manifest.length };
  assert.deepEqual(await repository.headManifest('v7'), descriptor);
  assert.ok((await repository.getManifest(digest)).bytes.equals(image.manifest));
  await using other = open('team/other');
  await assert.rejects(other.putManifest('v1', image.manifest, MEDIA_TYPES.manifest), /blob unknown/);
  assert.equal(await other.mountBlob(ADDRESS.digest, 'team/app'), true);
  const unknown = Buffer.from('unknown');
  assert.equal(await other.mountBlob(sha256(unknown), 'team/app'), false);
  await other.uploadBlob({ digest: sha256(unknown), size: 7 }, sourceOf(unknown));
  await other.deleteBlob(sha256(unknown));
  assert.equal(await other.headBlob(sha256(unknown)), undefined);
  await repository.deleteManifest('v7');
  assert.equal(await repository.headManifest('v7'), undefined);
  await repository.deleteManifest(digest);
  assert.deepEqual(await collect(repository.listTags()), []);
  assert.deepEqual((await storage.listUploads()).uploads, []);
});

test('referrers', LIMIT, async () => {
  await using repository = open('team/signed');
  const empty = Buffer.from('{}');
  await repository.uploadBlob({ digest: sha256(empty), size: 2 }, sourceOf(empty));
  const descriptor = { mediaType: MEDIA_TYPES.empty, digest: sha256(empty), size: 2 };
  const subject = { mediaType: MEDIA_TYPES.manifest, digest: sha256(Buffer.from('later')), size: 5 };
  const pushed: Digest[] = [];
  for (const artifactType of ['test/sbom', 'test/signature']) {
    const value = { schemaVersion: 2, mediaType: MEDIA_TYPES.manifest, artifactType, config: descriptor, subject };
    const bytes = Buffer.from(JSON.stringify({ ...value, layers: [descriptor] }));
    const put = await repository.putManifest(sha256(bytes), bytes, MEDIA_TYPES.manifest);
    assert.equal(put.subject, subject.digest);
    pushed.push(put.digest);
  }
  const all = await repository.listReferrers(subject.digest);
  assert.deepEqual(all.map(({ digest }) => digest).sort(), pushed.sort());
  const [sbom, ...rest] = await repository.listReferrers(subject.digest, { artifactType: 'test/sbom' });
  assert.equal(sbom?.artifactType, 'test/sbom');
  assert.deepEqual(rest, []);
  await repository.deleteManifest(sbom!.digest);
  assert.equal((await repository.listReferrers(subject.digest)).length, 1);
  // No fallback tag where the registry has the API.
  assert.deepEqual(await collect(repository.listTags()).catch(() => []), []);
});
