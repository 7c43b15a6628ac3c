import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../../until.ts';
import { type Answer, assertError, digestOf, RegistryLab } from './lab.ts';

let lab: RegistryLab;
before(async () => {
  lab = await RegistryLab.start();
});
after(() => lab[Symbol.asyncDispose]());

const BYTES = Buffer.from('0123456789abcdefghij');

async function open(query = ''): Promise<string> {
  const answer = await lab.send('POST', `/v2/repo/blobs/uploads/${query}`);
  assert.equal(answer.status, 202);
  assert.equal(answer.headers.range, '0-0');
  return answer.headers.location!;
}

function patch(location: string, bytes: Uint8Array, start?: number, end?: number): Promise<Answer> {
  const range = start === undefined ? {} : { 'Content-Range': `${start}-${end ?? start + bytes.length - 1}` };
  return lab.send('PATCH', location, range, bytes);
}

async function assertStored(digest: string, bytes: Uint8Array): Promise<void> {
  const answer = await lab.get(`/v2/repo/blobs/${digest}`);
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.body, Buffer.from(bytes));
}

for (const algorithm of ['sha256', 'sha512'] as const) {
  describe(`uploads by ${algorithm}`, () => {
    const make = (): [Buffer, string] => {
      const bytes = randomBytes(3000);
      return [bytes, digestOf(bytes, algorithm)];
    };

    it('one POST', async () => {
      const [bytes, digest] = make();
      const answer = await lab.send('POST', `/v2/repo/blobs/uploads/?digest=${digest}`, {}, bytes);
      assert.equal(answer.status, 201);
      assert.equal(answer.headers.location, `/v2/repo/blobs/${digest}`);
      assert.equal(answer.headers['docker-content-digest'], digest);
      await assertStored(digest, bytes);
    });

    it('POST, PUT', async () => {
      const [bytes, digest] = make();
      const answer = await lab.send('PUT', `${await open()}?digest=${digest}`, {}, bytes);
      assert.equal(answer.status, 201);
      assert.equal(answer.headers.location, `/v2/repo/blobs/${digest}`);
      await assertStored(digest, bytes);
    });

    for (const query of ['', `?digest-algorithm=${algorithm}`]) {
      it(`POST${query}, one streamed PATCH, PUT`, async () => {
        const [bytes, digest] = make();
        const location = await open(query);
        async function* body(): AsyncGenerator<Uint8Array> {
          yield bytes.subarray(0, 1000);
          yield bytes.subarray(1000);
        }
        const answer = await lab.send('PATCH', location, {}, body());
        assert.equal(answer.status, 202);
        assert.equal(answer.headers.range, '0-2999');
        assert.equal((await lab.send('PUT', `${location}?digest=${digest}`)).status, 201);
        await assertStored(digest, bytes);
      });
    }

    it('POST, chunks, PUT with the last one', async () => {
      const [bytes, digest] = make();
      let location = await open();
      for (const start of [0, 1000]) {
        const answer = await patch(location, bytes.subarray(start, start + 1000), start);
        assert.equal(answer.status, 202);
        assert.equal(answer.headers.range, `0-${start + 999}`);
        location = answer.headers.location!;
      }
      const last = await lab.send(
        'PUT',
        `${location}?digest=${digest}`,
        { 'Content-Range': '2000-2999' },
        bytes.subarray(2000),
      );
      assert.equal(last.status, 201);
      await assertStored(digest, bytes);
    });
  });
}

describe('an upload on its way', () => {
  it('tells its state, and goes on at another replica', async () => {
    await using other = await RegistryLab.start({ storage: lab.storage });
    const bytes = Buffer.concat([BYTES, Buffer.from('from another replica')]);
    const location = await open();
    await patch(location, bytes.subarray(0, 10), 0);
    const state = await other.get(location);
    assert.equal(state.status, 204);
    assert.equal(state.headers.range, '0-9');
    assert.equal(state.headers.location, location);
    await other.send('PATCH', location, { 'Content-Range': '10-19' }, bytes.subarray(10, 20));
    const digest = digestOf(bytes);
    const last = await lab.send('PUT', `${location}?digest=${digest}`, {}, bytes.subarray(20));
    assert.equal(last.status, 201);
    await assertStored(digest, bytes);
  });

  it('is cancelled', async () => {
    const location = await open();
    await patch(location, BYTES);
    assert.equal((await lab.send('DELETE', location)).status, 204);
    for (const method of ['GET', 'PATCH', 'DELETE']) {
      assertError(await lab.send(method, location), 404, 'BLOB_UPLOAD_UNKNOWN');
    }
  });

  it('is over once it was finished', async () => {
    const location = await open();
    const target = `${location}?digest=${digestOf(BYTES)}`;
    assert.equal((await lab.send('PUT', target, {}, BYTES)).status, 201);
    assertError(await lab.send('PUT', target, {}, BYTES), 404, 'BLOB_UPLOAD_UNKNOWN');
  });

  it('belongs to its repository', async () => {
    const location = await open();
    assertError(await lab.get(location.replace('/repo/', '/other/')), 404, 'BLOB_UPLOAD_UNKNOWN');
    assert.equal((await lab.get(location)).status, 204);
  });

  it('outlives a connection that broke', async () => {
    const location = await open();
    const socket = connect(lab.port, '127.0.0.1');
    socket.write(`PATCH ${location} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n`);
    socket.write(BYTES);
    await sleep(100);
    socket.destroy();
    await until('what came is kept', async () => (await lab.get(location)).headers.range === `0-${BYTES.length - 1}`);
    const bytes = Buffer.concat([BYTES, BYTES]);
    const put = await lab.send('PUT', `${location}?digest=${digestOf(bytes)}`, { 'Content-Range': '20-39' }, BYTES);
    assert.equal(put.status, 201, put.body.toString());
    await assertStored(digestOf(bytes), bytes);
  });
});

describe('chunks out of order', () => {
  it('are refused with where to go on', async () => {
    const location = await open();
    await patch(location, BYTES, 0);
    for (const start of [0, 19, 21, 1000]) {
      const answer = await patch(location, BYTES, start);
      assertError(answer, 416, 'RANGE_INVALID');
      assert.equal(answer.headers.range, '0-19');
      assert.equal(answer.headers.location, location);
    }
    const answer = await lab.send('PUT', `${location}?digest=${digestOf(BYTES)}`, { 'Content-Range': '5-24' }, BYTES);
    assertError(answer, 416, 'RANGE_INVALID');
    assert.equal((await lab.send('PUT', `${location}?digest=${digestOf(BYTES)}`)).status, 201);
    await assertStored(digestOf(BYTES), BYTES);
  });

  it('cannot be written by two at once', async () => {
    const location = await open();
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    async function* slow(): AsyncGenerator<Uint8Array> {
      yield BYTES.subarray(0, 10);
      await held;
      yield BYTES.subarray(10);
    }
    const { appendUpload } = lab.storage;
    const begun = new Promise<void>((resolve) => {
      const append: typeof appendUpload = (...rest) => {
        resolve();
        return appendUpload(...rest);
      };
      Object.assign(lab.storage, { appendUpload: append });
    });
    const first = lab.send('PATCH', location, { 'Content-Range': '0-19' }, slow());
    await begun;
    Object.assign(lab.storage, { appendUpload });
    const second = await patch(location, Buffer.from('something else'), 0);
    assert.ok([409, 416].includes(second.status), second.body.toString());
    assert.equal(second.headers.location, location);
    release();
    assert.equal((await first).status, 202);
    assert.equal((await lab.send('PUT', `${location}?digest=${digestOf(BYTES)}`)).status, 201);
    await assertStored(digestOf(BYTES), BYTES);
  });
});

describe('lies about an upload', () => {
  it('another digest ends it, and nothing is stored', async () => {
    const wrong = digestOf('something else');
    const location = await open();
    assertError(await lab.send('PUT', `${location}?digest=${wrong}`, {}, BYTES), 400, 'DIGEST_INVALID');
    assertError(await lab.get(location), 404, 'BLOB_UPLOAD_UNKNOWN');
    assertError(await lab.send('POST', `/v2/repo/blobs/uploads/?digest=${wrong}`, {}, BYTES), 400, 'DIGEST_INVALID');
    assertError(await lab.get(`/v2/repo/blobs/${wrong}`), 404, 'BLOB_UNKNOWN');
    assert.equal(await lab.storage.statBlob(wrong), undefined);
  });

  for (const digest of [
    '',
    'sha256:short',
    'md5:d41d8cd98f00b204e9800998ecf8427e',
    `sha256:${'A'.repeat(64)}`,
    '../x',
  ]) {
    it(`'${digest.slice(0, 40)}' is no digest`, async () => {
      const query = `?digest=${encodeURIComponent(digest)}`;
      assertError(await lab.send('POST', `/v2/repo/blobs/uploads/${query}`, {}, BYTES), 400, 'DIGEST_INVALID');
      assertError(await lab.send('PUT', `${await open()}${query}`, {}, BYTES), 400, 'DIGEST_INVALID');
    });
  }

  it('a PUT without a digest leaves the upload as it is', async () => {
    const location = await open();
    await patch(location, BYTES);
    assertError(await lab.send('PUT', location), 400, 'DIGEST_INVALID');
    assert.equal((await lab.get(location)).headers.range, '0-19');
  });

  it('an unknown digest algorithm', async () => {
    assertError(await lab.send('POST', '/v2/repo/blobs/uploads/?digest-algorithm=md5'), 400, 'DIGEST_INVALID');
  });

  it('a chunk of another length than its range', async () => {
    const location = await open();
    assertError(await patch(location, BYTES, 0, 4), 400, 'SIZE_INVALID');
    assertError(await patch(location, BYTES, 0, 99), 400, 'SIZE_INVALID');
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 1000; i++) yield BYTES;
    }
    assertError(await lab.send('PATCH', location, { 'Content-Range': '0-19' }, endless()), 400, 'SIZE_INVALID');
  });

  for (const range of ['x', '5-2', '-5', '0-', 'bytes 0-5/*/*', `0-${'9'.repeat(30)}`]) {
    it(`Content-Range: ${range}`, async () => {
      const answer = await lab.send('PATCH', await open(), { 'Content-Range': range }, BYTES);
      assertError(answer, 400, 'BLOB_UPLOAD_INVALID');
    });
  }

  it('a body that ends early leaves no blob and no upload of a single POST', async () => {
    const digest = digestOf('never whole');
    const socket = connect(lab.port, '127.0.0.1');
    const target = `/v2/early/blobs/uploads/?digest=${digest}`;
    socket.write(`POST ${target} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nnever whole`);
    await sleep(100);
    socket.destroy();
    await until('no upload is left', async () =>
      (await lab.storage.listUploads()).uploads.every(({ repository }) => repository !== 'early'),
    );
    assert.equal(await lab.storage.statBlob(digest), undefined);
  });

  it('an upload that was never opened', async () => {
    for (const id of ['0'.repeat(32), 'x', '..', '%2e%2e', '%2e%2e%2fetc', 'a'.repeat(500)]) {
      const answer = await lab.send('PATCH', `/v2/repo/blobs/uploads/${id}`, {}, BYTES);
      assertError(answer, 404, 'BLOB_UPLOAD_UNKNOWN');
    }
  });
});

describe('limits of uploads', () => {
  it('open uploads, in one repository and in all', async () => {
    await using small = await RegistryLab.start({ limits: { openUploads: 5, openUploadsPerRepository: 3 } });
    const post = (name: string): Promise<Answer> => small.send('POST', `/v2/${name}/blobs/uploads/`);
    const opened: string[] = [];
    for (let i = 0; i < 3; i++) opened.push((await post('a')).headers.location!);
    const refused = await post('a');
    assertError(refused, 429, 'TOOMANYREQUESTS');
    assert.ok(Number(refused.headers['retry-after']) > 0);
    assert.equal((await post('b')).status, 202);
    assert.equal((await post('b')).status, 202);
    assertError(await post('c'), 429, 'TOOMANYREQUESTS');
    assert.equal((await small.send('DELETE', opened[0]!)).status, 204);
    assert.equal((await post('a')).status, 202);
    const { uploads } = await small.storage.listUploads();
    assert.equal(uploads.length, 5);
  });

  it('uploads that were open before the registry started count', async () => {
    await using first = await RegistryLab.start();
    for (let i = 0; i < 3; i++) await first.send('POST', '/v2/a/blobs/uploads/');
    await using second = await RegistryLab.start({ storage: first.storage, limits: { openUploads: 3 } });
    assertError(await second.send('POST', '/v2/b/blobs/uploads/'), 429, 'TOOMANYREQUESTS');
  });

  it('bytes of a blob, announced or not', async () => {
    await using small = await RegistryLab.start({ limits: { blobBytes: 100 } });
    const bytes = randomBytes(101);
    const query = `?digest=${digestOf(bytes)}`;
    assertError(await small.send('POST', `/v2/a/blobs/uploads/${query}`, {}, bytes), 413, 'SIZE_INVALID');
    const { location } = (await small.send('POST', '/v2/a/blobs/uploads/')).headers;
    assert.equal((await small.send('PATCH', location!, {}, bytes.subarray(0, 60))).status, 202);
    assertError(await small.send('PATCH', location!, {}, bytes.subarray(60)), 413, 'SIZE_INVALID');
    async function* chunked(): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(60, 80);
      yield bytes.subarray(80);
    }
    assertError(await small.send('PATCH', location!, {}, chunked()), 413, 'SIZE_INVALID');
  });
});
