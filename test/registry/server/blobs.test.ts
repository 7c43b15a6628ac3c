import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { assertError, digestOf, RegistryLab } from './lab.ts';

const BYTES: Buffer = Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7) % 251));
const EMPTY = digestOf('');

let lab: RegistryLab;
let blob: string;
before(async () => {
  lab = await RegistryLab.start();
  blob = `/v2/some/repo/blobs/${await lab.pushBlob('some/repo', BYTES)}`;
});
after(() => lab[Symbol.asyncDispose]());

describe('GET and HEAD of a blob', () => {
  it('answers the bytes with digest, length and type', async () => {
    const answer = await lab.get(blob);
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.body, BYTES);
    assert.equal(answer.headers['docker-content-digest'], digestOf(BYTES));
    assert.equal(answer.headers['content-length'], '4096');
    assert.equal(answer.headers['content-type'], 'application/octet-stream');
    assert.equal(answer.headers['docker-distribution-api-version'], 'registry/2.0');
  });

  it('answers HEAD with the length and no body', async () => {
    const answer = await lab.send('HEAD', blob);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-length'], '4096');
    assert.equal(answer.headers['docker-content-digest'], digestOf(BYTES));
    assert.equal(answer.body.length, 0);
  });

  it('takes a digest whose colon is encoded', async () => {
    assert.equal((await lab.get(blob.replace('sha256:', 'sha256%3A'))).status, 200);
  });

  it('answers 304 where the client has it', async () => {
    const etag = (await lab.send('HEAD', blob)).headers.etag!;
    for (const method of ['GET', 'HEAD']) {
      const answer = await lab.send(method, blob, { 'If-None-Match': `"other", W/${etag}` });
      assert.equal(answer.status, 304);
      assert.equal(answer.body.length, 0);
    }
    assert.equal((await lab.get(blob, { 'If-None-Match': '"other"' })).status, 200);
  });

  it('has the empty blob', async () => {
    await lab.pushBlob('some/repo', '');
    const answer = await lab.get(`/v2/some/repo/blobs/${EMPTY}`);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['content-length'], '0');
    assert.equal((await lab.get(`/v2/some/repo/blobs/${EMPTY}`, { Range: 'bytes=0-' })).status, 416);
  });

  it('is per repository', async () => {
    assertError(await lab.get(blob.replace('some/repo', 'other/repo')), 404, 'BLOB_UNKNOWN');
    assert.equal((await lab.send('HEAD', blob.replace('some/repo', 'some'))).status, 404);
    assertError(await lab.get(`/v2/some/repo/blobs/${digestOf('never pushed')}`), 404, 'BLOB_UNKNOWN');
  });
});

describe('ranges of a blob', () => {
  const cases: [range: string, start: number, end: number][] = [
    ['bytes=0-0', 0, 1],
    ['bytes=500-1499', 500, 1500],
    ['bytes=500-', 500, 4096],
    ['bytes=-500', 3596, 4096],
    ['bytes=-9999', 0, 4096],
    ['bytes=4000-9999', 4000, 4096],
    ['bytes=4095-', 4095, 4096],
  ];
  for (const [range, start, end] of cases) {
    it(range, async () => {
      const answer = await lab.get(blob, { Range: range });
      assert.equal(answer.status, 206);
      assert.equal(answer.headers['content-range'], `bytes ${start}-${end - 1}/4096`);
      assert.equal(answer.headers['content-length'], String(end - start));
      assert.deepEqual(answer.body, BYTES.subarray(start, end));
    });
  }

  for (const range of ['bytes=4096-', 'bytes=5000-6000', 'bytes=500-0', 'bytes=-0']) {
    it(`${range} cannot be`, async () => {
      const answer = await lab.get(blob, { Range: range });
      assertError(answer, 416, 'RANGE_INVALID');
      assert.equal(answer.headers['content-range'], 'bytes */4096');
    });
  }

  for (const range of [
    'bytes=0-1,5-9',
    'lines=1-2',
    'bytes=',
    'bytes=x-y',
    'bytes=1-2-3',
    `bytes=${'9'.repeat(40)}-`,
  ]) {
    it(`${range.slice(0, 20)} is answered whole`, async () => {
      const answer = await lab.get(blob, { Range: range });
      assert.equal(answer.status, 200);
      assert.deepEqual(answer.body, BYTES);
    });
  }

  it('If-Range of something else is answered whole', async () => {
    const headers = { Range: 'bytes=0-9' };
    assert.equal((await lab.get(blob, { ...headers, 'If-Range': '"other"' })).status, 200);
    assert.equal((await lab.get(blob, { ...headers, 'If-Range': `"${digestOf(BYTES)}"` })).status, 206);
  });
});

describe('DELETE of a blob', () => {
  it('takes it out of one repository', async () => {
    const digest = await lab.pushBlob('one', 'shared');
    await lab.pushBlob('two', 'shared');
    assert.equal((await lab.send('DELETE', `/v2/one/blobs/${digest}`)).status, 202);
    assertError(await lab.get(`/v2/one/blobs/${digest}`), 404, 'BLOB_UNKNOWN');
    assertError(await lab.send('DELETE', `/v2/one/blobs/${digest}`), 404, 'BLOB_UNKNOWN');
    assert.equal((await lab.get(`/v2/two/blobs/${digest}`)).status, 200);
  });
});

describe('mounts', () => {
  const mount = (digest: string, from?: string): Promise<{ status: number; headers: Record<string, unknown> }> =>
    lab.send('POST', `/v2/target/blobs/uploads/?mount=${digest}${from === undefined ? '' : `&from=${from}`}`);

  it('links a blob of another repository', async () => {
    const digest = await lab.pushBlob('source/a', 'to be mounted');
    const answer = await mount(digest, 'source/a');
    assert.equal(answer.status, 201);
    assert.equal(answer.headers.location, `/v2/target/blobs/${digest}`);
    assert.equal(answer.headers['docker-content-digest'], digest);
    assert.equal((await lab.get(answer.headers.location as string)).body.toString(), 'to be mounted');
  });

  it('opens an upload where the source has no such blob', async () => {
    const digest = await lab.pushBlob('source/a', 'not in source/b');
    for (const from of ['source/b', 'Bad Name', '../source/a']) {
      const answer = await mount(digest, encodeURIComponent(from));
      assert.equal(answer.status, 202);
      assert.match(answer.headers.location as string, /^\/v2\/target\/blobs\/uploads\/.+/);
    }
  });

  it('finds the source itself where everybody may read everything', async () => {
    const digest = await lab.pushBlob('source/c', 'from anywhere');
    assert.equal((await mount(digest)).status, 201);
    assert.equal((await mount(digestOf('nowhere'))).status, 202);
  });

  it('asks for leave to pull from the source', async () => {
    await using closed = await RegistryLab.start({
      automaticMounts: true,
      authorize: async (_, { repository, action }) =>
        repository === 'secret' && action === 'pull'
          ? { ok: false, status: 403, challenges: [], message: 'no' }
          : { ok: true },
    });
    const secret = await closed.pushBlob('secret', 'secret bytes');
    const open = await closed.pushBlob('open', 'open bytes');
    const post = async (query: string): Promise<number> =>
      (await closed.send('POST', `/v2/target/blobs/uploads/?${query}`)).status;
    assert.equal(await post(`mount=${secret}&from=secret`), 202);
    assert.equal(await post(`mount=${secret}`), 202);
    assert.equal(await post(`mount=${open}&from=open`), 201);
    assert.equal(await post(`mount=${open}`), 201);
  });

  it('does not look around by itself where there are rules', async () => {
    await using closed = await RegistryLab.start({ authorize: async () => ({ ok: true }) });
    const digest = await closed.pushBlob('a', 'bytes');
    assert.equal((await closed.send('POST', `/v2/b/blobs/uploads/?mount=${digest}`)).status, 202);
  });
});
