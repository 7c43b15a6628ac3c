import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  createReadStream,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, before, beforeEach, describe, it } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { Digest } from '../../src/core/digest.ts';
import { Ingest } from '../../src/store/ingest.ts';
import { ingestLayer } from '../../src/store/ingest-layer.ts';
import { readLayerEntries } from '../../src/store/layer-entries.ts';
import type { IngestLayerOptions, LayerSource } from '../../src/store/layer-options.ts';
import { hasLayer, layerFacts, layerIndexPath, layerTarPath } from '../../src/store/layers.ts';
import type { Lease } from '../../src/store/lease.ts';
import { origins } from '../../src/store/origins.ts';
import { Store } from '../../src/store/store.ts';

let dir: string;
let store: Store;
let lease: Lease;
/** A tar above the size that is done on the calling thread, and one below. */
let tar: Buffer;
let small: Buffer;

const sha256 = (bytes: Uint8Array): Digest => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const inflight = () => readdirSync(join(store.root, 'ingest'));

function makeTar(path: string, files: number, size: number): Buffer {
  mkdirSync(path, { recursive: true });
  for (let i = 0; i < files; i++) {
    // Half noise, half text: compresses about as programs do.
    const noise = createHash('shake256', { outputLength: size * 64 })
      .update(`${i}`)
      .digest();
    writeFileSync(join(path, `file-${i}`), Buffer.concat([noise, Buffer.alloc(size * 64, `text ${i} `)]));
  }
  return execFileSync('tar', ['--sort=name', '-C', path, '-c', '.'], { maxBuffer: 2 ** 30 });
}

before(() => {
  const source = mkdtempSync(join(tmpdir(), 'imago-tars-'));
  tar = makeTar(join(source, 'large'), 300, 100);
  small = makeTar(join(source, 'small'), 3, 1);
  rmSync(source, { recursive: true });
});

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'imago-ingest-'));
  store = Store.open({ root: join(dir, 'root'), run: join(dir, 'run') });
  lease = store.lease('test');
});
afterEach(() => {
  lease.close();
  rmSync(dir, { recursive: true, force: true });
});

function fileOf(bytes: Uint8Array, name = 'layer'): string {
  const path = join(dir, name);
  writeFileSync(path, bytes);
  return path;
}

async function* inPieces(bytes: Uint8Array, size: number) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const ingest = (source: LayerSource, options?: IngestLayerOptions) => ingestLayer(store, lease, source, options);

async function rejects(source: LayerSource, code: string, options?: IngestLayerOptions) {
  await assert.rejects(ingest(source, options), { code });
  assert.deepEqual(inflight(), [], 'nothing is left in flight');
  assert.deepEqual(readdirSync(join(store.root, 'layers')), []);
  assert.deepEqual(readdirSync(join(store.root, 'blobs/sha256')), []);
}

const compressions: [string, (bytes: Uint8Array) => Buffer][] = [
  ['no', (bytes) => Buffer.from(bytes)],
  ['gzip', (bytes) => gzipSync(bytes)],
  ['gzip in several members', (b) => Buffer.concat([gzipSync(b.subarray(0, 70_001)), gzipSync(b.subarray(70_001))])],
  ['gzip with zeros behind', (bytes) => Buffer.concat([gzipSync(bytes), Buffer.alloc(700_000)])],
  ['zstd', (bytes) => zstdCompressSync(bytes)],
  [
    'zstd in several frames',
    (b) => Buffer.concat([zstdCompressSync(b.subarray(0, 9)), zstdCompressSync(b.subarray(9))]),
  ],
  [
    'zstd behind a skippable frame',
    (bytes) => Buffer.concat([Buffer.from('502a4d180300000061626300'.slice(0, 22), 'hex'), zstdCompressSync(bytes)]),
  ],
];

describe('a layer comes in', () => {
  for (const [name, compress] of compressions) {
    for (const size of ['large', 'small'] as const) {
      it(`${size}, with ${name} compression, from a file and from a stream`, async () => {
        const bytes = size === 'large' ? tar : small;
        const given = compress(bytes);
        const expect = { digest: sha256(given), size: given.length, diffId: sha256(bytes) };
        const result = await ingest({ path: fileOf(given) }, { expect });
        assert.equal(result.diffId, expect.diffId);
        assert.equal(result.tarSize, bytes.length);
        assert.equal(result.existed, false);
        assert.equal(result.facts.files, size === 'large' ? 300 : 3);
        if (name !== 'no') assert.deepEqual(result.compressed?.digest, expect.digest);
        assert.deepEqual(readFileSync(layerTarPath(store, result.diffId)), bytes);
        assert.equal(statSync(layerTarPath(store, result.diffId)).mode & 0o777, 0o444);
        const index = readFileSync(layerIndexPath(store, result.diffId));
        assert.equal(hasLayer(store, result.diffId), true);
        assert.deepEqual(inflight(), []);

        const again = Store.open({ root: join(dir, 'root2'), run: join(dir, 'run') });
        using lease2 = again.lease('test');
        const streamed = await ingestLayer(again, lease2, inPieces(given, 100_003), { expect });
        assert.deepEqual({ ...streamed }, { ...result });
        assert.deepEqual(readFileSync(layerIndexPath(again, result.diffId)), index);
      });
    }
  }

  it('from a region of a file', async () => {
    const given = gzipSync(tar);
    const path = fileOf(Buffer.concat([Buffer.alloc(1000, 1), given, Buffer.alloc(500, 2)]));
    const result = await ingest({ path, offset: 1000, length: given.length });
    assert.equal(result.diffId, sha256(tar));
  });

  it('under a sha512 DiffID, with a sha512 digest', async () => {
    const given = gzipSync(small);
    const sha512 = (bytes: Uint8Array): Digest => `sha512:${createHash('sha512').update(bytes).digest('hex')}`;
    const expect = { digest: sha512(given), diffId: sha512(small) };
    const result = await ingest({ path: fileOf(given) }, { expect });
    assert.deepEqual([result.diffId, result.compressed?.digest], [expect.diffId, expect.digest]);
    assert.equal(layerFacts(store, expect.diffId).files, 3);
  });

  for (const tool of ['xz', 'bzip2'] as const) {
    const missing = spawnSync(tool, ['--version']).error !== undefined;
    it(`compressed by ${tool}`, { skip: missing && `${tool} is not installed` }, async () => {
      const given = execFileSync(tool, ['-c'], { input: tar, maxBuffer: 2 ** 30 });
      assert.equal((await ingest({ path: fileOf(given) })).diffId, sha256(tar));
      assert.equal((await ingest(inPieces(given, 5000))).compressed, undefined);
      await assert.rejects(ingest(inPieces(given.subarray(0, -3000), 5000)), { code: 'CORRUPT_COMPRESSED' });
      async function* failing() {
        yield* inPieces(given.subarray(0, -3000), 5000);
        throw new Error('connection lost');
      }
      await assert.rejects(ingest(failing()), /connection lost/);
      for (const source of [{ path: fileOf(given) }, createReadStream(fileOf(given))]) {
        const promised = ingest(source, { expect: { digest: sha256(given) } });
        await assert.rejects(promised, { code: 'BAD_LAYER_COMPRESSION' });
      }
      assert.deepEqual(inflight(), []);
    });
  }

  it('names the package of a tool that is missing', async () => {
    const path = process.env.PATH;
    process.env.PATH = dir;
    try {
      const head = Buffer.from('fd377a585a0000', 'hex');
      await assert.rejects(ingest({ path: fileOf(head) }), {
        code: 'TOOL_MISSING',
        message: /apt-get install xz-utils/,
      });
    } finally {
      process.env.PATH = path;
    }
  });

  it('keeps the compressed bytes where asked, also for a layer that is here', async () => {
    const given = gzipSync(tar);
    const path = fileOf(given);
    const expect = { digest: sha256(given), diffId: sha256(tar) };
    await ingest({ path }, { expect });
    assert.equal(store.hasBlob(expect.digest), false);
    await ingest({ path }, { expect, keepBlob: true });
    assert.deepEqual(readFileSync(store.blobPath(expect.digest)), given);
  });

  it('remembers where its compressed form came from', async () => {
    const given = gzipSync(small);
    const options = { mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip', repository: 'a.b/c' };
    const { diffId, compressed } = await ingest({ path: fileOf(given) }, options);
    await ingest({ path: fileOf(given) }, { ...options, repository: 'd.e/f' });
    await ingest({ path: fileOf(gzipSync(small, { level: 1 })) });
    const known = origins(store, diffId);
    assert.deepEqual(known[0], { ...compressed, repositories: ['a.b/c', 'd.e/f'] });
    assert.equal(known.length, 2);
  });

  it('is not read again', async () => {
    await ingest({ path: fileOf(tar) });
    let read = false;
    async function* source() {
      read = true;
      yield tar;
    }
    const result = await ingest(source(), { expect: { diffId: sha256(tar) } });
    assert.deepEqual([result.existed, result.tarSize, read], [true, tar.length, false]);
  });

  it('twice at once, in two processes too', async () => {
    const path = fileOf(gzipSync(tar));
    const script = `
      const { Store } = await import(process.argv[1] + '/src/store/store.ts');
      const { ingestLayer } = await import(process.argv[1] + '/src/store/ingest-layer.ts');
      const store = Store.open({ root: process.argv[2], run: process.argv[3] });
      using lease = store.lease('other');
      console.log((await ingestLayer(store, lease, { path: process.argv[4] })).diffId);`;
    const { execFile } = await import('node:child_process');
    const { promisify } = await import('node:util');
    const checkout = join(import.meta.dirname, '../..');
    const other = promisify(execFile)(process.execPath, [
      '--input-type=module',
      '-e',
      script,
      checkout,
      store.root,
      store.run,
      path,
    ]);
    const results = await Promise.all([ingest({ path }), ingest(createReadStream(path)), ingest({ path })]);
    assert.deepEqual(
      results.map((r) => r.diffId),
      Array(3).fill(sha256(tar)),
    );
    assert.equal((await other).stdout.trim(), sha256(tar));
    assert.deepEqual(readdirSync(join(store.root, 'layers')).length, 1);
    assert.deepEqual(inflight(), []);
  });

  it('takes away what a killed process left, and nothing of the living', async () => {
    using alive = Ingest.create(store, 'layer');
    mkdirSync(join(store.root, 'ingest/layer-dead'));
    writeFileSync(join(store.root, 'ingest/layer-dead/tar'), 'half a layer');
    await ingest({ path: fileOf(small) });
    assert.deepEqual(inflight(), [basename(alive.directory)]);
  });

  it('lists its members', async () => {
    const { diffId } = await ingest({ path: fileOf(tar) });
    const entries = readLayerEntries(store, diffId);
    assert.equal(entries.length, 301);
    assert.throws(() => readLayerEntries(store, sha256(small)), { code: 'LAYER_MISSING' });
  });

  it('reports progress', async () => {
    const seen: [number, number | undefined][] = [];
    await ingest({ path: fileOf(tar) }, { onProgress: (done, total) => seen.push([done, total]) });
    assert.deepEqual(seen.at(-1), [tar.length, tar.length]);
    assert.ok(seen.length > 1);
  });
});

describe('a bad layer', () => {
  let gz: Buffer;
  let zst: Buffer;
  before(() => {
    gz = gzipSync(tar);
    zst = zstdCompressSync(tar);
  });
  const flip = (bytes: Buffer, at: number): Buffer => {
    const copy = Buffer.from(bytes);
    copy[at]! ^= 0xff;
    return copy;
  };
  const zero = `sha256:${'0'.repeat(64)}` as Digest;

  it('is truncated', async () => {
    await rejects({ path: fileOf(gz.subarray(0, -5)) }, 'TRUNCATED_COMPRESSED');
    await rejects({ path: fileOf(gz.subarray(0, gz.length / 2)) }, 'TRUNCATED_COMPRESSED');
    await rejects(inPieces(gz.subarray(0, gz.length / 2), 10_000), 'TRUNCATED_COMPRESSED');
    await rejects({ path: fileOf(zst.subarray(0, -5)) }, 'TRUNCATED_COMPRESSED');
    await rejects({ path: fileOf(tar.subarray(0, 700)) }, 'TAR_TRUNCATED');
    await rejects({ path: fileOf(gzipSync(tar.subarray(0, tar.length / 2 + 100))) }, 'TAR_TRUNCATED');
    await rejects({ path: fileOf(Buffer.alloc(0)) }, 'TAR_TRUNCATED');
    await rejects({ path: fileOf(gzipSync('')) }, 'TAR_TRUNCATED');
  });

  it('is damaged', async () => {
    await rejects({ path: fileOf(flip(gz, gz.length - 6)) }, 'CORRUPT_COMPRESSED');
    await rejects({ path: fileOf(Buffer.concat([gz, Buffer.from('and more')])) }, 'CORRUPT_COMPRESSED');
    await rejects({ path: fileOf(Buffer.concat([zst, Buffer.from('and more')])) }, 'CORRUPT_COMPRESSED');
    await rejects(inPieces(Buffer.concat([zst.subarray(0, 4), Buffer.alloc(9000, 0xff)]), 100), 'CORRUPT_COMPRESSED');
    await rejects({ path: fileOf(Buffer.alloc(2000, 'not a tar ')) }, 'TAR_BAD_CHECKSUM');
  });

  it('is not what was promised', async () => {
    await rejects({ path: fileOf(gz) }, 'DIGEST_MISMATCH', { expect: { digest: zero } });
    await rejects(inPieces(gz, 10_000), 'DIGEST_MISMATCH', { expect: { digest: zero } });
    await rejects({ path: fileOf(small) }, 'DIGEST_MISMATCH', { expect: { digest: zero } });
    await rejects({ path: fileOf(gz) }, 'SIZE_MISMATCH', { expect: { size: gz.length - 1 } });
    await rejects({ path: fileOf(gz) }, 'SIZE_MISMATCH', { expect: { size: gz.length + 1 } });
    await rejects({ path: fileOf(gz) }, 'DIFFID_MISMATCH', { expect: { digest: sha256(gz), diffId: zero } });
  });

  it('is damaged and so not what was promised: the digest is told', async () => {
    const bad = flip(gz, gz.length >> 1);
    await rejects({ path: fileOf(bad) }, 'DIGEST_MISMATCH', { expect: { digest: sha256(gz) } });
  });

  it('escapes its root', async () => {
    const path = join(dir, 'evil.tar');
    execFileSync('tar', ['-C', dir, '-P', '--transform=s,.*,../../etc/passwd,', '-cf', path, 'run']);
    await rejects({ path }, 'PATH_TRAVERSAL');
  });

  it('comes from a source that fails', async () => {
    async function* failing() {
      yield gz.subarray(0, gz.length / 2);
      throw Object.assign(new Error('connection lost'), { code: 'ECONNRESET' });
    }
    await rejects(failing(), 'ECONNRESET');
    async function* failingLate() {
      yield* inPieces(tar.subarray(0, 3 * 2 ** 20), 2 ** 18);
      throw Object.assign(new Error('connection lost'), { code: 'ECONNRESET' });
    }
    await rejects(failingLate(), 'ECONNRESET');
  });

  it('is given up by a signal', async () => {
    const controller = new AbortController();
    async function* endless() {
      yield tar;
      for (;;) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        yield Buffer.alloc(100);
        controller.abort(Object.assign(new Error('stop'), { code: 'STOPPED' }));
      }
    }
    await rejects(endless(), 'STOPPED', { signal: controller.signal });
  });

  it('leaves the threads fit for the next', async () => {
    await rejects({ path: fileOf(gz.subarray(0, -50_000)) }, 'TRUNCATED_COMPRESSED');
    assert.equal((await ingest({ path: fileOf(gz) })).diffId, sha256(tar));
  });
});

describe('a full disk', { skip: process.getuid?.() !== 0 && 'mounting a small file system needs root' }, () => {
  let mounted: string;
  beforeEach(() => {
    mounted = join(dir, 'disk');
    mkdirSync(mounted);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'imago-test', mounted]);
  });
  afterEach(() => execFileSync('umount', [mounted]));

  it('leaves nothing and says what to do', async () => {
    const tight = Store.open({ root: join(mounted, 'root'), run: join(dir, 'run') });
    using tightLease = tight.lease('test');
    const many = Buffer.concat([tar.subarray(0, -10240), tar]);
    for (const source of [{ path: fileOf(gzipSync(many)) }, inPieces(many, 2 ** 16)]) {
      await assert.rejects(ingestLayer(tight, tightLease, source), { code: 'DISK_FULL', message: /imago prune/ });
      assert.deepEqual(readdirSync(join(tight.root, 'ingest')), []);
    }
    await assert.rejects(tight.ingestBlob(tightLease, inPieces(many, 2 ** 16)), { code: 'DISK_FULL' });
    assert.throws(() => tight.putBlob(tightLease, many), { code: 'DISK_FULL' });
    assert.deepEqual(readdirSync(join(tight.root, 'ingest')), []);
    assert.equal((await ingestLayer(tight, tightLease, { path: fileOf(small) })).existed, false);
  });
});
