import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { isImagoError } from '../../../src/core/errors.ts';
import { noise } from '../../archive/lab.ts';
import { FakeRegistry } from '../fake-registry.ts';
import type { Fault } from '../faults.ts';
import { collect, openFake, sourceOf } from './quick.ts';

const LIMIT = { timeout: 20_000 };
const BLOB = noise(1_000_000);
const GET = { method: 'GET', path: /\/blobs\// };

async function bytesOf(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await collect(source));
}

interface Case {
  name: string;
  faults: { fault: Fault; times?: number }[];
  options?: { ranges?: boolean; etags?: boolean };
  /** Of the ranges that were asked for; undefined for a whole blob. */
  ranges?: (string | undefined)[];
  error?: RegExp;
  code?: string;
}

const CASES: Case[] = [
  { name: 'a blob', faults: [], ranges: [undefined] },
  {
    name: 'a connection that breaks three times, with If-Range',
    faults: [{ fault: { cutAfter: 100_000 }, times: 3 }],
    ranges: [undefined, 'bytes=100000-', 'bytes=200000-', 'bytes=300000-'],
  },
  { name: 'breaks without ETag', faults: [{ fault: { cutAfter: 100_000 } }], options: { etags: false } },
  {
    name: 'a break, and a registry without ranges',
    faults: [{ fault: { cutAfter: 400_000 }, times: 2 }],
    options: { ranges: false },
  },
  { name: 'a break, and one 200 for a range', faults: [{ fault: { cutAfter: 9 } }, { fault: { ignoreRange: true } }] },
  { name: 'a body that says it is whole, but is short', faults: [{ fault: { short: 300_000 } }] },
  { name: 'a Content-Length that is too small', faults: [{ fault: { headers: { 'content-length': '7' } } }] },
  {
    name: 'a wrong Content-Range, then the whole blob',
    faults: [{ fault: { cutAfter: 5000 } }, { fault: { headers: { 'content-range': 'bytes 7-999999/1000000' } } }],
    ranges: [undefined, 'bytes=5000-', undefined],
  },
  {
    name: 'no Content-Range, then the whole blob',
    faults: [{ fault: { cutAfter: 5000 } }, { fault: { without: ['content-range'] } }],
    ranges: [undefined, 'bytes=5000-', undefined],
  },
  { name: 'a stall', faults: [{ fault: { stallAfter: 200_000 } }], ranges: [undefined, 'bytes=200000-'] },
  { name: 'a 503 and a lost connection', faults: [{ fault: { status: 503 } }, { fault: { drop: true } }] },
  {
    name: 'breaks that never end',
    faults: [{ fault: { cutAfter: 10 }, times: 99 }],
    code: 'DOWNLOAD_BROKEN',
    error: /broke again and again: wanted 1000000 bytes, got 50 bytes/,
  },
  {
    name: 'a short body again and again',
    faults: [{ fault: { short: 0 }, times: 99 }],
    code: 'DOWNLOAD_BROKEN',
    error: /0 bytes, then: the answer ended early/,
  },
  { name: 'an endless body', faults: [{ fault: { endless: true } }], code: 'SIZE_MISMATCH', error: /wanted 1000000 / },
  {
    name: 'a Content-Length that is too large',
    faults: [{ fault: { huge: 2 ** 30 } }],
    code: 'SIZE_MISMATCH',
    error: /wanted 1000000 bytes, got 1073741824/,
  },
  {
    name: 'a range of a blob of another size',
    faults: [{ fault: { cutAfter: 5000 } }, { fault: { headers: { 'content-range': 'bytes 5000-8999/9000' } } }],
    code: 'SIZE_MISMATCH',
    error: /wanted 1000000 bytes, got 9000/,
  },
  {
    name: 'a web page',
    faults: [{ fault: { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>Log in</html>' } }],
    code: 'BAD_RESPONSE',
    error: /sent a web page instead of a blob/,
  },
  {
    name: 'a Content-Encoding',
    faults: [{ fault: { headers: { 'content-encoding': 'gzip' } } }],
    code: 'BAD_RESPONSE',
    error: /packed a blob/,
  },
  { name: 'a 404', faults: [{ fault: { status: 404 } }], code: 'NOT_FOUND' },
];

for (const { name, faults, options, ranges, error, code } of CASES) {
  test(`reading: ${name}`, LIMIT, async () => {
    await using registry = await FakeRegistry.start(options);
    const digest = registry.putBlob('team/app', BLOB);
    for (const { fault, times } of faults) registry.fault(GET, fault, times);
    await using repository = openFake(registry);
    const read = bytesOf(repository.readBlob({ digest, size: BLOB.length }));
    if (code === undefined) assert.ok((await read).equals(BLOB));
    else {
      await assert.rejects(read, (thrown) => {
        assert.ok(thrown instanceof Error);
        assert.ok(isImagoError(thrown, code), `${thrown}`);
        if (error !== undefined) assert.match(thrown.message, error);
        return true;
      });
    }
    const asked = registry.requests('GET', GET.path);
    if (ranges !== undefined)
      assert.deepEqual(
        asked.map(({ headers }) => headers.range),
        ranges,
      );
    const etags = asked.filter(({ headers }) => headers.range !== undefined).map(({ headers }) => headers['if-range']);
    const etag = options?.etags === false ? undefined : `"${digest}"`;
    assert.ok(etags.every((sent) => sent === etag));
    // What is asked for and not wanted is not read: an endless body, a gigabyte.
    assert.ok(registry.bytesSent < 12_000_000, `${registry.bytesSent} bytes sent`);
  });
}

test('reading goes on from an offset, and a reader who leaves ends the connection', LIMIT, async () => {
  await using registry = await FakeRegistry.start();
  const digest = registry.putBlob('team/app', BLOB);
  await using repository = openFake(registry);
  const blob = { digest, size: BLOB.length };
  const rest = await bytesOf(repository.readBlob(blob, { offset: 999_000 }));
  assert.ok(rest.equals(BLOB.subarray(999_000)));
  assert.equal(registry.requests('GET', GET.path)[0]!.headers.range, 'bytes=999000-');
  assert.equal((await bytesOf(repository.readBlob(blob, { offset: BLOB.length }))).length, 0);
  await assert.rejects(bytesOf(repository.readBlob(blob, { offset: BLOB.length + 1 })), { code: 'SIZE_MISMATCH' });
  registry.fault(GET, { endless: true });
  for await (const _ of repository.readBlob({ digest, size: 2 ** 40 })) break;
  await untilIdle(registry);
});

/** No answer is being sent any more. */
async function untilIdle(registry: FakeRegistry): Promise<void> {
  for (let before = -1; before !== registry.bytesSent; ) {
    before = registry.bytesSent;
    await new Promise((done) => setTimeout(done, 30));
  }
}

test('reading stops with its signal, in a stall and in a pause', LIMIT, async () => {
  await using registry = await FakeRegistry.start();
  const digest = registry.putBlob('team/app', BLOB);
  await using repository = openFake(registry, 'team/app', { timing: { retryMs: 60_000, stallMs: 60_000 } });
  for (const fault of [{ stallAfter: 1000 }, { cutAfter: 1000 }]) {
    registry.fault(GET, fault);
    const signal = AbortSignal.timeout(100);
    await assert.rejects(bytesOf(repository.readBlob({ digest, size: BLOB.length }, { signal })), {
      name: 'TimeoutError',
    });
  }
});

test('small blobs are verified and bounded', LIMIT, async () => {
  await using registry = await FakeRegistry.start();
  const bytes = Buffer.from('{"os":"linux"}');
  await using repository = openFake(registry);
  for (const algorithm of ['sha256', 'sha512']) {
    const digest = registry.putBlob('team/app', bytes, algorithm);
    assert.deepEqual(await repository.readSmallBlob({ digest, size: bytes.length }, 1000), bytes);
    registry.fault(GET, { corrupt: true });
    await assert.rejects(repository.readSmallBlob({ digest, size: bytes.length }, 1000), { code: 'DIGEST_MISMATCH' });
    await assert.rejects(repository.readSmallBlob({ digest, size: 1001 }, 1000), { code: 'BLOB_TOO_LARGE' });
  }
});

test('a foreign layer comes from the registry or not at all', LIMIT, async () => {
  await using registry = await FakeRegistry.start();
  await using repository = openFake(registry);
  const urls = [`${registry.url}/elsewhere`];
  const there = registry.putBlob('team/app', BLOB);
  const blob = { digest: there, size: BLOB.length, urls };
  assert.ok((await bytesOf(repository.readBlob(blob))).equals(BLOB));
  await repository.deleteBlob(there);
  await assert.rejects(bytesOf(repository.readBlob(blob)), { code: 'FOREIGN_LAYER' });
  assert.equal(registry.count('GET', /elsewhere/), 0);
});

test('the size of a blob, also where HEAD does not tell it', LIMIT, async (t: TestContext) => {
  await using registry = await FakeRegistry.start();
  await using repository = openFake(registry);
  const digest = registry.putBlob('team/app', BLOB);
  const empty = registry.putBlob('team/app', Buffer.alloc(0));
  const head = { method: 'HEAD' };
  t.assert.equal(await repository.headBlob(digest), BLOB.length);
  t.assert.equal(await repository.headBlob(`sha256:${'0'.repeat(64)}`), undefined);
  registry.fault(head, { without: ['content-length'] });
  t.assert.equal(await repository.headBlob(digest), BLOB.length);
  registry.fault(head, { status: 405 });
  registry.fault(GET, { ignoreRange: true });
  t.assert.equal(await repository.headBlob(digest), BLOB.length);
  registry.fault(head, { status: 405 });
  t.assert.equal(await repository.headBlob(empty), 0);
  registry.fault(head, { without: ['content-length'] });
  registry.fault(GET, { without: ['content-range'] });
  await t.assert.rejects(repository.headBlob(digest), { code: 'BAD_RESPONSE' });
});

test('mounts: taken over, refused, or turned into the upload that follows', LIMIT, async () => {
  await using registry = await FakeRegistry.start();
  const digest = registry.putBlob('team/base', BLOB);
  await using repository = openFake(registry);
  assert.equal(await repository.mountBlob(digest, 'team/base'), true);
  assert.equal(await repository.headBlob(digest), BLOB.length);
  await repository.deleteBlob(digest);
  registry.fault({ method: 'POST' }, { status: 403 });
  assert.equal(await repository.mountBlob(digest, 'team/base'), false);
  assert.equal(await repository.mountBlob(digest, 'team/nothing'), false);
  assert.equal(await repository.mountBlob(digest, 'team/nothing-either'), false);
  assert.equal(registry.uploads.size, 1);
  const posts = registry.count('POST');
  await repository.uploadBlob({ digest, size: BLOB.length }, sourceOf(BLOB));
  assert.equal(registry.count('POST'), posts);
  assert.equal(registry.uploads.size, 0);
  registry.options.mounts = false;
  {
    await using other = openFake(registry, 'team/other');
    assert.equal(await other.mountBlob(digest, 'team/base'), false);
    assert.equal(registry.uploads.size, 1);
  }
  assert.equal(registry.uploads.size, 0);
  await assert.rejects(repository.mountBlob(digest, '../../etc'), { code: 'BAD_REFERENCE' });
});

test('a large blob passes through without piling up behind a slow reader', LIMIT, async () => {
  await using registry = await FakeRegistry.start();
  const size = 200 * 2 ** 20;
  const digest = registry.putBlob('team/app', BLOB);
  registry.fault(GET, { huge: size });
  await using repository = openFake(registry);
  let read = 0;
  let most = 0;
  for await (const part of repository.readBlob({ digest, size })) {
    read += part.length;
    most = Math.max(most, registry.bytesSent - read);
    if (read % (8 * 2 ** 20) < part.length) await new Promise((done) => setTimeout(done, 5));
  }
  assert.equal(read, size);
  // In the buffers of both ends and of the kernel.
  assert.ok(most < 32 * 2 ** 20, `${most} bytes ahead`);
});
