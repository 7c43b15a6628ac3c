import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Digest } from '../../src/core/digest.ts';
import { Store } from '../../src/store/store.ts';

let dir: string;
let store: Store;
const options = () => ({ root: join(dir, 'root'), run: join(dir, 'run') });

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'imago-store-'));
  store = Store.open(options());
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const descriptorOf = (digest: Digest) => ({ mediaType: 'application/vnd.oci.image.manifest.v1+json', digest, size: 2 });

describe('open', () => {
  const version = (text: string) => writeFileSync(join(dir, 'root/version'), text);

  it('opens again what it made', () => {
    assert.equal(Store.open(options()).root, store.root);
  });

  it('refuses a newer format in words', () => {
    version('2\n');
    assert.throws(() => Store.open(options()), { code: 'STORE_TOO_NEW', message: /update imago/ });
  });

  it('refuses a format it does not know', () => {
    for (const text of ['0\n', 'x', '']) {
      version(text);
      assert.throws(() => Store.open(options()), { code: 'STORE_UNKNOWN' });
    }
  });

  it('refuses a directory of somebody else', () => {
    mkdirSync(join(dir, 'home'));
    writeFileSync(join(dir, 'home/letter.txt'), 'dear');
    assert.throws(() => Store.open({ ...options(), root: join(dir, 'home') }), { code: 'STORE_UNKNOWN' });
    assert.deepEqual(readdirSync(join(dir, 'home')), ['letter.txt']);
  });

  it('refuses a file', () => {
    assert.throws(() => Store.open({ ...options(), root: join(dir, 'root/version') }), { code: 'STORE_UNKNOWN' });
  });

  it('finishes what a killed first open left', () => {
    rmSync(join(dir, 'root/version'));
    rmSync(join(dir, 'root/refs'), { recursive: true });
    assert.deepEqual(Store.open(options()).listRefs(), []);
  });
});

describe('blobs', () => {
  it('keeps bytes under their digest', () => {
    using lease = store.lease('test');
    const digest = store.putBlob(lease, Buffer.from('{}'));
    assert.equal(digest, 'sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a');
    assert.equal(store.readBlob(digest, { verify: true }).toString(), '{}');
    assert.equal(store.blobSize(digest), 2);
    assert.deepEqual(readdirSync(join(store.root, 'ingest')), []);
  });

  it('says what is missing, too large, or damaged', () => {
    using lease = store.lease('test');
    const digest = store.putBlob(lease, Buffer.from('hello'));
    assert.throws(() => store.readBlob(`sha256:${'0'.repeat(64)}`), { code: 'BLOB_MISSING' });
    assert.throws(() => store.readBlob('sha256:../../version' as Digest), { code: 'BAD_DIGEST' });
    assert.throws(() => store.readBlob(digest, { limit: 4 }), { code: 'BLOB_TOO_LARGE' });
    rmSync(store.blobPath(digest));
    writeFileSync(store.blobPath(digest), 'hullo');
    assert.throws(() => store.readBlob(digest, { verify: true }), { code: 'DIGEST_MISMATCH' });
  });

  it('takes streams and files, and checks what was promised', async () => {
    using lease = store.lease('test');
    async function* source() {
      for (let i = 0; i < 5; i++) yield Buffer.alloc(100_000, i);
    }
    const got = await store.ingestBlob(lease, source());
    assert.equal(got.size, 500_000);
    const path = join(dir, 'file');
    writeFileSync(path, 'from a file');
    const digest: Digest = 'sha512:'.concat('0'.repeat(128)) as Digest;
    await assert.rejects(store.ingestBlob(lease, path, { digest }), { code: 'DIGEST_MISMATCH' });
    await assert.rejects(store.ingestBlob(lease, path, { size: 3 }), { code: 'SIZE_MISMATCH' });
    await assert.rejects(store.ingestBlob(lease, path, { size: 300 }), { code: 'SIZE_MISMATCH' });
    assert.equal(store.hasBlob(digest), false);
    assert.deepEqual(readdirSync(join(store.root, 'ingest')), []);
  });
});

describe('references', () => {
  it('are set, replaced, listed in order and deleted', () => {
    using lease = store.lease('test');
    const one = descriptorOf(store.putBlob(lease, Buffer.from('1')));
    const two = descriptorOf(store.putBlob(lease, Buffer.from('2')));
    const long = `registry.example.com:5000/${'a'.repeat(200)}/b:${'t'.repeat(128)}`;
    const names = ['docker.io/library/debian:bookworm', 'a.b/c%2Fd:1', long];
    for (const name of names) store.setRef(name, one);
    store.setRef(names[0]!, two);
    assert.deepEqual(store.getRef(names[0]!), two);
    assert.deepEqual(
      store.listRefs().map((r) => r.reference),
      [...names].sort(),
    );
    assert.equal(store.deleteRef(long), true);
    assert.equal(store.deleteRef(long), false);
    assert.equal(store.getRef(long), undefined);
  });

  it('never name what is missing', () => {
    assert.throws(() => store.setRef('a/b:c', descriptorOf(`sha256:${'1'.repeat(64)}`)), { code: 'BLOB_MISSING' });
    assert.deepEqual(store.listRefs(), []);
  });

  it('tell a damaged record', () => {
    for (const text of ['', '{"reference":', 'null', '{"reference":"x","descriptor":{"digest":"../x"}}']) {
      writeFileSync(join(store.root, 'refs', 'x'), text);
      const told: string[] = [];
      assert.deepEqual(
        store.listRefs((path, error) => told.push(`${path} ${error.code}`)),
        [],
      );
      assert.deepEqual(told, [`${join(store.root, 'refs/x')} REF_DAMAGED`]);
      assert.throws(() => store.getRef('x'), { code: 'REF_DAMAGED' });
    }
  });
});
