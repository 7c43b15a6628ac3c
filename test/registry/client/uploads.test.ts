import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isImagoError } from '../../../src/core/errors.ts';
import { noise, sha256 } from '../../archive/lab.ts';
import { type FakeOptions, FakeRegistry, hash } from '../fake-registry.ts';
import type { Fault, Match } from '../faults.ts';
import { collect, openFake, sourceOf } from './quick.ts';

const LIMIT = { timeout: 120_000 };
const BLOB = noise(3_000_000);
const DIGEST = sha256(BLOB);
const MIB = 2 ** 20;
const UPLOAD = /\/blobs\/uploads\//;

interface Case {
  name: string;
  options?: FakeOptions;
  faults?: { match: Match; fault: Fault; times?: number }[];
  /** Methods of the requests about uploads, in their order. */
  methods?: string;
  code?: string;
  error?: RegExp;
  /** Bytes over the wire, at most. */
  received?: number;
}

const PUT = { method: 'PUT' };
const PATCH = { method: 'PATCH' };
const POST = { method: 'POST' };
const STATE = { method: 'GET', path: UPLOAD };

const CASES: Case[] = [
  { name: 'in one PUT', methods: 'POST PUT', received: BLOB.length },
  { name: 'with relative locations', options: { locations: 'relative' }, methods: 'POST PUT' },
  {
    name: 'goes on after breaks where the registry is',
    faults: [
      { match: PUT, fault: { cutRequestAfter: 1_000_000 } },
      { match: PATCH, fault: { cutRequestAfter: 1_000_000 }, times: 1 },
    ],
    methods: 'POST PUT GET PATCH GET PATCH PUT',
    received: BLOB.length + 200_000,
  },
  {
    name: 'begins anew where nothing stayed, at once in requests that are smaller than what was sent',
    faults: [{ match: PUT, fault: { drop: true } }],
    methods: 'POST PUT GET DELETE POST PATCH PATCH PATCH PUT',
  },
  {
    name: 'is done where only the answer was lost',
    faults: [{ match: PUT, fault: { loseAnswer: true } }],
    methods: 'POST PUT GET DELETE',
  },
  {
    name: 'goes smaller after 413',
    options: { maxBody: MIB },
    methods: 'POST PUT GET DELETE POST PATCH PATCH PATCH PUT',
  },
  {
    name: 'keeps to the least size of a chunk',
    options: { maxBody: 2 * MIB, minChunk: 1.5 * MIB },
    methods: 'POST PUT GET DELETE POST PATCH PATCH PUT',
  },
  {
    name: 'ends where even the smallest is too large',
    options: { maxBody: 100_000 },
    code: 'SIZE_INVALID',
    error: /fake: 413/,
  },
  {
    name: 'waits out 429 and 503',
    faults: [
      { match: POST, fault: { status: 503 } },
      { match: PUT, fault: { status: 429, headers: { 'retry-after': '0' } } },
      { match: PUT, fault: { status: 502, body: '<html>bad gateway</html>' } },
    ],
  },
  {
    name: 'opens another upload where its own is unknown',
    faults: [{ match: PUT, fault: { status: 404 } }],
    methods: 'POST PUT DELETE POST PUT',
  },
  {
    name: 'waits while the registry is busy with a request that broke',
    faults: [{ match: PUT, fault: { status: 409 }, times: 2 }],
    methods: 'POST PUT GET DELETE POST PUT GET DELETE POST PUT',
  },
  {
    name: 'a state that cannot be asked for',
    faults: [
      { match: PUT, fault: { cutRequestAfter: 1_000_000 } },
      { match: STATE, fault: { status: 404 } },
    ],
    methods: 'POST PUT GET DELETE POST PATCH PATCH PATCH PUT',
  },
  {
    name: 'a registry that never takes it',
    faults: [
      { match: PUT, fault: { status: 503, body: '{"errors":[{"code":"UNKNOWN","message":"disk full"}]}' }, times: 99 },
    ],
    code: 'UNKNOWN',
    error: /disk full/,
  },
  {
    name: 'a connection that always breaks',
    faults: [
      { match: PUT, fault: { drop: true }, times: 99 },
      { match: PATCH, fault: { drop: true }, times: 99 },
    ],
    code: 'UPLOAD_BROKEN',
    error: /0 bytes there, then: .*broke the connection/,
  },
  {
    name: 'no Location',
    faults: [{ match: POST, fault: { without: ['location'] } }],
    code: 'BAD_RESPONSE',
    error: /did not say where/,
  },
  {
    name: 'other bytes stored',
    faults: [{ match: PUT, fault: { headers: { 'docker-content-digest': `sha256:${'0'.repeat(64)}` } } }],
    code: 'DIGEST_MISMATCH',
    error: /stored other bytes/,
  },
  {
    name: 'more bytes there than were sent',
    faults: [
      { match: PUT, fault: { cutRequestAfter: 1_000_000 } },
      { match: PATCH, fault: { headers: { range: '0-9999999' } } },
    ],
    code: 'BAD_RESPONSE',
    error: /has other bytes than were sent: wanted 0-2999999, got 0-9999999/,
  },
  { name: 'refused', faults: [{ match: POST, fault: { status: 403 } }], code: 'DENIED' },
  { name: 'a stall', faults: [{ match: PUT, fault: { stallAfter: 0, headers: { 'content-length': '5' } } }] },
];

test('an upload that is interrupted is taken back', LIMIT, async () => {
  await using registry = await FakeRegistry.start();
  const controller = new AbortController();
  await using repository = openFake(registry, 'team/app', { signal: controller.signal });
  const blob = { digest: DIGEST, size: BLOB.length };
  const onProgress = (): void => controller.abort(new Error('enough'));
  await assert.rejects(repository.uploadBlob(blob, sourceOf(BLOB), { onProgress }), /enough/);
  assert.equal(registry.count('DELETE', UPLOAD), 1);
  assert.equal(registry.uploads.size, 0);
});

for (const { name, options, faults = [], methods, code, error, received } of CASES) {
  test(`upload: ${name}`, LIMIT, async () => {
    await using registry = await FakeRegistry.start(options);
    for (const { match, fault, times } of faults) registry.fault(match, fault, times);
    await using repository = openFake(registry);
    const shown: number[] = [];
    const done = repository.uploadBlob({ digest: DIGEST, size: BLOB.length }, sourceOf(BLOB), {
      onProgress: (bytes) => shown.push(bytes),
    });
    if (code === undefined) {
      await done;
      assert.ok(registry.blobs.get(DIGEST)?.equals(BLOB));
      assert.equal(shown.at(-1), BLOB.length);
    } else {
      await assert.rejects(done, (thrown) => {
        assert.ok(thrown instanceof Error);
        assert.ok(isImagoError(thrown, code), `${thrown}`);
        if (error !== undefined) assert.match(thrown.message, error);
        return true;
      });
    }
    // One whose place was never told cannot be taken back.
    assert.equal(registry.uploads.size, name === 'no Location' ? 1 : 0, 'uploads left open');
    const sent = registry.requests(undefined, UPLOAD).map(({ method }) => method);
    if (methods !== undefined) assert.equal(sent.join(' '), methods);
    if (received !== undefined) assert.ok(registry.bytesReceived <= received, `${registry.bytesReceived} bytes`);
  });
}

test('an empty blob, and sha512', LIMIT, async () => {
  await using registry = await FakeRegistry.start();
  await using repository = openFake(registry);
  const empty = sha256(Buffer.alloc(0));
  await repository.uploadBlob({ digest: empty, size: 0 }, sourceOf(Buffer.alloc(0)));
  assert.equal(registry.blobs.get(empty)?.length, 0);
  const long = hash(BLOB, 'sha512') as typeof empty;
  await repository.uploadBlob({ digest: long, size: BLOB.length }, sourceOf(BLOB));
  assert.ok(registry.blobs.get(long)?.equals(BLOB));
});

test('a source that fails or is too short ends the upload with its own error', LIMIT, async () => {
  await using registry = await FakeRegistry.start();
  await using repository = openFake(registry);
  const failing = async function* (): AsyncGenerator<Buffer> {
    yield BLOB.subarray(0, 500_000);
    throw new Error('the disk is gone');
  };
  const blob = { digest: DIGEST, size: BLOB.length };
  await assert.rejects(repository.uploadBlob(blob, failing), /the disk is gone/);
  const short = sourceOf(BLOB.subarray(0, 500_000));
  await assert.rejects(repository.uploadBlob(blob, short), { code: 'SIZE_MISMATCH' });
  await assert.rejects(repository.uploadBlob({ digest: sha256(Buffer.from('x')), size: BLOB.length }, sourceOf(BLOB)), {
    code: 'DIGEST_INVALID',
  });
  await assert.rejects(repository.uploadStream(failing()), /the disk is gone/);
  assert.equal(registry.uploads.size, 0);
  assert.ok(registry.count('PUT') <= 3);
});

test('an upload stops with its signal and is taken back', LIMIT, async () => {
  await using registry = await FakeRegistry.start();
  await using repository = openFake(registry, 'team/app', { timing: { stallMs: 60_000 } });
  const endless = async function* (): AsyncGenerator<Buffer> {
    for (;;) {
      yield BLOB.subarray(0, 1000);
      await new Promise((done) => setTimeout(done, 5));
    }
  };
  for (const start of [
    (signal: AbortSignal) => repository.uploadBlob({ digest: DIGEST, size: BLOB.length }, endless, { signal }),
    (signal: AbortSignal) => repository.uploadStream(endless(), { signal }),
  ]) {
    await assert.rejects(start(AbortSignal.timeout(150)), { name: 'TimeoutError' });
    assert.equal(registry.uploads.size, 0);
  }
});

const LONG = noise(40 * MIB + 123);

test('a stream is sent in chunks, and each survives a break', LIMIT, async () => {
  await using registry = await FakeRegistry.start();
  registry.fault(PATCH, { cutRequestAfter: 5 * MIB });
  registry.fault(PATCH, { status: 503 });
  await using repository = openFake(registry);
  const put = await repository.uploadStream(sourceOf(LONG, 1_000_001)(0));
  assert.deepEqual(put, { digest: sha256(LONG), size: LONG.length });
  assert.ok(registry.blobs.get(put.digest)?.equals(LONG));
  assert.ok(registry.bytesReceived <= LONG.length + 16 * MIB);
  assert.equal((await repository.uploadStream(sourceOf(BLOB.subarray(0, 0))(0))).size, 0);
});

test('a stream obeys limits of requests, and cannot go back behind a chunk', LIMIT, async () => {
  await using registry = await FakeRegistry.start({ maxBody: 4 * MIB });
  await using repository = openFake(registry);
  const put = await repository.uploadStream(sourceOf(LONG, 1_000_001)(0));
  assert.ok(registry.blobs.get(put.digest)?.equals(LONG));
  registry.options.maxBody = undefined;
  registry.fault({ method: 'PATCH', path: /state=s33554432/ }, { status: 404 });
  await assert.rejects(repository.uploadStream(sourceOf(LONG)(0)), {
    code: 'UPLOAD_BROKEN',
    message: /lost what it had of the upload: wanted 33554432 bytes, got 0/,
  });
  assert.equal(registry.uploads.size, 0);
});

test("the client's own signal ends pauses, too", { timeout: 3000 }, async () => {
  await using registry = await FakeRegistry.start();
  const digest = registry.putBlob('team/app', BLOB);
  const blob = { digest, size: BLOB.length };
  registry.fault(PUT, { drop: true }, 99);
  registry.fault({ method: 'GET', path: /blobs/ }, { cutAfter: 10 }, 99);
  const timing = { retryMs: 60_000, stallMs: 60_000 };
  for (const start of [
    (signal: AbortSignal) => openFake(registry, 'team/app', { signal, timing }).uploadBlob(blob, sourceOf(BLOB)),
    (signal: AbortSignal) => collect(openFake(registry, 'team/app', { signal, timing }).readBlob(blob)),
  ]) {
    await assert.rejects(start(AbortSignal.timeout(150)), { name: 'TimeoutError' });
  }
});
