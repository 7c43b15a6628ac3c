import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import type { Digest } from '../../../src/core/digest.ts';
import { openStorage } from '../../../src/registry/storage/open.ts';
import { parseS3Url } from '../../../src/registry/storage/s3-url.ts';
import { storageContract } from '../../contracts/registry-storage.ts';
import { s3SkipReason, startS3, type TestS3 } from '../rgw.ts';

storageContract('S3', s3SkipReason(), async () => {
  const s3 = await startS3();
  const url = s3.url();
  return { open: () => openStorage(url), [Symbol.asyncDispose]: () => s3[Symbol.asyncDispose]() };
});

describe('S3 URLs', () => {
  it('are read', () => {
    const plain = { endpoint: undefined, region: undefined, pathStyle: false };
    assert.deepEqual(parseS3Url('s3://images'), { ...plain, bucket: 'images', prefix: '' });
    assert.deepEqual(parseS3Url('s3://images/a/b/'), { ...plain, bucket: 'images', prefix: 'a/b/' });
    assert.deepEqual(parseS3Url('s3://images/a?endpoint=http://h:1&region=eu&path-style=false'), {
      bucket: 'images',
      prefix: 'a/',
      endpoint: 'http://h:1',
      region: 'eu',
      pathStyle: false,
    });
    assert.equal(parseS3Url('s3://images?endpoint=https://h').pathStyle, true);
  });

  const bad = [
    's3://',
    's3://a',
    's3://images/a b',
    's3://images/../x?y=1',
    's3://images?endpoint=ftp://h',
    's3://images?endpoint=h',
    's3://images?endpoint=http://key:secret@h',
    's3://images?path-style=1',
    's3://images?key=secret',
    's3://key:secret@images/a',
    `s3://images/${'x'.repeat(300)}`,
  ];
  for (const url of bad) {
    it(`refuses ${url.slice(0, 50)}`, () => {
      assert.throws(
        () => parseS3Url(url),
        (error: Error & { code: string }) => error.code === 'STORAGE_BAD_URL' && !error.message.includes('secret'),
      );
    });
  }
});

describe('S3 that is not as it should be', { skip: s3SkipReason() }, () => {
  let s3: TestS3;
  before(async () => {
    s3 = await startS3();
  });
  after(() => s3?.[Symbol.asyncDispose]());

  it('is told by name: no bucket, wrong keys, no keys, nobody there', async () => {
    const endpoint = encodeURIComponent(s3.endpoint);
    await rejects(openStorage(`s3://no-such-bucket?endpoint=${endpoint}`), 'STORAGE_NO_BUCKET', /no-such-bucket/);
    await withEnvironment({ AWS_SECRET_ACCESS_KEY: 'wrong-secret' }, async () => {
      await rejects(openStorage(s3.url()), 'STORAGE_DENIED', /keys/);
    });
    const nothing = {
      AWS_ACCESS_KEY_ID: undefined,
      AWS_SECRET_ACCESS_KEY: undefined,
      AWS_EC2_METADATA_DISABLED: 'true',
    };
    await withEnvironment({ ...nothing, HOME: '/nonexistent' }, async () => {
      await rejects(openStorage(s3.url()), 'STORAGE_NO_KEYS', /AWS_ACCESS_KEY_ID/);
    });
    await rejects(openStorage('s3://bucket?endpoint=http://127.0.0.1:1'), 'STORAGE_UNAVAILABLE', /127\.0\.0\.1:1/);
  });

  it('is refused where it ignores conditions', async () => {
    let objects = 0;
    const careless = createServer((req, res) => {
      req.resume().on('end', () => {
        if (req.method === 'PUT') objects++;
        const missing = req.method === 'GET';
        res.writeHead(missing ? 404 : 200, { ETag: `"${objects}"`, 'Content-Type': 'application/xml' });
        res.end(missing ? '<Error><Code>NoSuchKey</Code></Error>' : '');
      });
    });
    await new Promise<void>((resolve) => careless.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = careless.address() as AddressInfo;
      const url = `s3://bucket?endpoint=http://127.0.0.1:${port}`;
      await rejects(openStorage(url), 'STORAGE_NO_CONDITIONS', /If-Match/);
    } finally {
      careless.closeAllConnections();
      careless.close();
    }
  });

  it('is refused where another format is in it', async () => {
    const url = s3.url();
    await (await openStorage(url)).close();
    await put(s3, `${prefixOf(url)}version`, 'imago registry 9\n');
    await rejects(openStorage(url), 'STORAGE_VERSION', /registry 9/);
  });

  it('has damaged objects told, not served', async () => {
    const url = s3.url();
    const storage = await openStorage(url);
    const digest: Digest = `sha256:${'a'.repeat(64)}`;
    await put(s3, `${prefixOf(url)}blobs/sha256/${'a'.repeat(64)}`, 'x'.repeat(100));
    await rejects(storage.statBlob(digest), 'STORAGE_DAMAGED', /blobs/);
    await storage.close();
  });

  it('is swept of parts that no upload and no blob names', async () => {
    const url = s3.url();
    const storage = await openStorage(url);
    const bytes = randomBytes(200_000);
    const digest: Digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    await storage.putBlob(digest, bytes);
    await put(s3, `${prefixOf(url)}data/${'0'.repeat(32)}/000000-00000000`, 'left');
    assert.deepEqual(await storage.sweep({ maxAgeMs: 60_000 }), { bytes: 0, count: 0 });
    assert.deepEqual(await storage.sweep({ maxAgeMs: -5000, dryRun: true }), { bytes: 4, count: 1 });
    assert.deepEqual(await storage.sweep({ maxAgeMs: -5000 }), { bytes: 4, count: 1 });
    assert.deepEqual(await storage.sweep({ maxAgeMs: -5000 }), { bytes: 0, count: 0 });
    assert.equal((await storage.statBlob(digest))?.size, bytes.length);
    await storage.close();
  });

  it('keeps nothing of what was removed but a mark', async () => {
    const url = s3.url();
    const storage = await openStorage(url);
    const bytes = randomBytes(11 * 2 ** 20);
    const digest: Digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    await storage.putBlob(digest, bytes);
    await storage.putBlob(digest, bytes);
    assert.ok(await storage.removeBlob(digest, (await storage.statBlob(digest))!.version));
    const kept = await sizes(s3, prefixOf(url));
    assert.ok(
      kept.every((size) => size < 50),
      String(kept),
    );
    await storage.close();
  });
});

function prefixOf(url: string): string {
  return parseS3Url(url).prefix;
}

async function put(s3: TestS3, key: string, body: string): Promise<void> {
  const client = clientOf(s3);
  await client.send(new PutObjectCommand({ Bucket: s3.bucket, Key: key, Body: body }));
  client.destroy();
}

async function sizes(s3: TestS3, prefix: string): Promise<number[]> {
  const client = clientOf(s3);
  const answer = await client.send(new ListObjectsV2Command({ Bucket: s3.bucket, Prefix: prefix }));
  client.destroy();
  return (answer.Contents ?? []).map((object) => object.Size ?? 0);
}

function clientOf(s3: TestS3): S3Client {
  return new S3Client({ endpoint: s3.endpoint, region: process.env.AWS_REGION ?? 'us-east-1', forcePathStyle: true });
}

async function withEnvironment(changes: Record<string, string | undefined>, work: () => Promise<void>): Promise<void> {
  const before = { ...process.env };
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  try {
    await work();
  } finally {
    process.env = before;
  }
}

async function rejects(promise: Promise<unknown>, code: string, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error: Error & { code: string }) => {
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    assert.doesNotMatch(error.message, /secret/);
    return true;
  });
}
