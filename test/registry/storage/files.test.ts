import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { Digest } from '../../../src/core/digest.ts';
import { openStorage } from '../../../src/registry/storage/open.ts';
import { tryLockFile } from '../../../src/system/lock.ts';
import { storageContract } from '../../contracts/registry-storage.ts';

const PUBLISHER = new URL('./publish-forever.ts', import.meta.url).pathname;

storageContract('files', false, async () => {
  const directory = mkdtempSync(join(tmpdir(), 'imago-registry-'));
  return {
    open: () => openStorage(directory),
    [Symbol.asyncDispose]: async () => rmSync(directory, { recursive: true, force: true }),
  };
});

describe('registry storage in files', () => {
  let top: string;
  let directory: string;
  before(() => {
    top = mkdtempSync(join(tmpdir(), 'imago-registry-'));
  });
  after(() => rmSync(top, { recursive: true, force: true }));
  const fresh = (): string => {
    directory = join(top, String(Math.random()).slice(2));
    return directory;
  };

  it('opens by path and by URL, and makes what is missing', async () => {
    const storage = await openStorage(join(fresh(), 'a', 'b'));
    await storage.writeDocument('a', Buffer.from('x'));
    const again = await openStorage(pathToFileURL(join(directory, 'a', 'b')).href);
    assert.equal((await again.readDocument('a'))?.bytes.toString(), 'x');
    assert.match(again.title, /^files \//);
  });

  it('keeps blobs as files that sha256sum checks', async () => {
    const storage = await openStorage(fresh());
    const digest = await publish(storage, randomBytes(3_000_000));
    const hex = digest.slice(7);
    const path = join(directory, 'blobs', 'sha256', hex.slice(0, 2), hex);
    assert.equal(execFileSync('sha256sum', [path], { encoding: 'utf8' }).slice(0, 64), hex);
  });

  it('refuses a directory of something else, another format, and places that are none', async () => {
    mkdirSync(fresh());
    writeFileSync(join(directory, 'letter.txt'), 'dear');
    await assert.rejects(openStorage(directory), { code: 'STORAGE_FOREIGN' });
    assert.deepEqual(readdirSync(directory), ['letter.txt']);
    await openStorage(fresh());
    writeFileSync(join(directory, 'version'), 'imago registry 2\n');
    await assert.rejects(openStorage(directory), { code: 'STORAGE_VERSION' });
    for (const place of ['', 'http://user:secret@host/', 'gs://bucket', 'file://host/dir']) {
      await assert.rejects(openStorage(place), (error: Error & { code: string }) => {
        assert.equal(error.code, 'STORAGE_BAD_URL');
        assert.doesNotMatch(error.message, /secret/);
        return true;
      });
    }
  });

  it('says that it is gone', async () => {
    const storage = await openStorage(fresh());
    rmSync(directory, { recursive: true });
    await assert.rejects(storage.check(), { code: 'STORAGE_UNAVAILABLE' });
    await assert.rejects(storage.writeDocument('a', Buffer.from('x')), { code: 'STORAGE_UNAVAILABLE' });
  });

  it('leaves no descriptor open', async () => {
    const storage = await openStorage(fresh());
    const digest = await publish(storage, randomBytes(5_000_000));
    const open = (): number => readdirSync('/proc/self/fd').length;
    const start = open();
    const { id } = await storage.createUpload('a');
    for (let i = 0; i < 20; i++) {
      await (await storage.openBlob(digest))!.stream.return();
      for await (const _ of (await storage.openBlob(digest))!.stream) break;
      for await (const _ of (await storage.openBlob(digest, { start: 1, end: 4_000_000 }))!.stream);
      const source = async function* (): AsyncGenerator<Uint8Array> {
        yield randomBytes(10);
        throw new Error('broken');
      };
      await assert.rejects(storage.appendUpload(id, i * 10, source()), /broken/);
      await assert.rejects(storage.appendUpload(id, 7, source()), { code: 'UPLOAD_OFFSET' });
    }
    assert.equal(open(), start);
  });

  it('an upload that is cancelled while it waits to be published is none', async () => {
    const storage = await openStorage(fresh());
    const { id } = await storage.createUpload('a');
    async function* source(): AsyncGenerator<Buffer> {
      yield Buffer.from('x');
    }
    await storage.appendUpload(id, 0, source());
    const digest: Digest = `sha256:${createHash('sha256').update('x').digest('hex')}`;
    const lock = tryLockFile(join(directory, 'lock'), 'exclusive')!;
    const published = storage.publishUpload(id, digest, 1);
    published.catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 50));
    await storage.discardUpload(id);
    lock[Symbol.dispose]();
    await assert.rejects(published, { code: 'UPLOAD_UNKNOWN' });
    assert.equal(await storage.statBlob(digest), undefined);
    assert.deepEqual(readdirSync(join(directory, 'tmp')), []);
  });

  it('sweeps what killed processes left, when it is old', async () => {
    const storage = await openStorage(fresh());
    const { id } = await storage.createUpload('a');
    writeFileSync(join(directory, 'tmp', 'aside'), Buffer.alloc(100));
    mkdirSync(join(directory, 'uploads', 'f'.repeat(32)));
    writeFileSync(join(directory, 'uploads', 'f'.repeat(32), 'info.json'), Buffer.alloc(50));
    assert.deepEqual(await storage.sweep({ maxAgeMs: 60_000 }), { bytes: 0, count: 0 });
    assert.deepEqual(await storage.sweep({ maxAgeMs: 0, dryRun: true }), { bytes: 150, count: 2 });
    assert.deepEqual(await storage.sweep({ maxAgeMs: 0 }), { bytes: 150, count: 2 });
    assert.deepEqual(readdirSync(join(directory, 'tmp')), []);
    assert.deepEqual(readdirSync(join(directory, 'uploads')), [id]);
  });

  it('has whole blobs and nothing half after a kill -9 while publishing', async () => {
    const storage = await openStorage(fresh());
    for (let round = 0; round < 6; round++) {
      const child = spawn(process.execPath, [PUBLISHER, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
      let acknowledged = '';
      child.stdout.on('data', (text: Buffer) => {
        acknowledged += text.toString();
        if (acknowledged.length > 71 * (3 + 4 * round)) child.kill('SIGKILL');
      });
      await once(child, 'close');
      const digests = acknowledged.split('\n').slice(0, -1) as Digest[];
      assert.ok(digests.length > 0);
      for (const digest of digests) assert.ok(await storage.statBlob(digest), `${digest} was acknowledged`);
    }
    let [blobs, after]: [number, string | undefined] = [0, undefined];
    do {
      const page = await storage.listBlobs(after === undefined ? {} : { after });
      for (const digest of page.digests) {
        const hash = createHash('sha256');
        for await (const chunk of (await storage.openBlob(digest))!.stream) hash.update(chunk);
        assert.equal(`sha256:${hash.digest('hex')}`, digest);
        blobs++;
      }
      after = page.next;
    } while (after !== undefined);
    assert.ok(blobs > 6);
    // Nobody holds anything any more.
    for (const { id } of (await storage.listUploads()).uploads) await storage.discardUpload(id);
    await storage.sweep({ maxAgeMs: 0 });
    assert.deepEqual([...readdirSync(join(directory, 'uploads')), ...readdirSync(join(directory, 'tmp'))], []);
  });
});

async function publish(storage: Awaited<ReturnType<typeof openStorage>>, bytes: Buffer): Promise<Digest> {
  const digest: Digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  const { id } = await storage.createUpload('a');
  const source = async function* (): AsyncGenerator<Uint8Array> {
    yield bytes;
  };
  await storage.appendUpload(id, 0, source());
  await storage.publishUpload(id, digest, bytes.length);
  return digest;
}
