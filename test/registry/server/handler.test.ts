import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { MEDIA_TYPES } from '../../../src/oci/media-types.ts';
import type { Access } from '../../../src/registry/server/authorize.ts';
import { until } from '../../until.ts';
import { assertError, digestOf, indexOf, RegistryLab } from './lab.ts';

let lab: RegistryLab;
before(async () => {
  lab = await RegistryLab.start();
  await lab.pushImage('some/repo', 'v1');
});
after(() => lab[Symbol.asyncDispose]());

const DIGEST = digestOf('anything');

describe('end points', () => {
  it('the root says which API this is', async () => {
    for (const target of ['/v2/', '/v2']) {
      const answer = await lab.get(target);
      assert.equal(answer.status, 200);
      assert.equal(answer.body.toString(), '{}\n');
      assert.equal(answer.headers['docker-distribution-api-version'], 'registry/2.0');
    }
    assert.equal((await lab.send('HEAD', '/v2/')).status, 200);
  });

  for (const target of ['/', '/v1/', '/v2/a', '/v2//', '/v2/a/tags', '/v2/a/tags/other', '/v3/a/tags/list', '*']) {
    it(`${target} is none`, async () => assertError(await lab.get(target), 404, 'NOT_FOUND'));
  }

  const methods: [target: string, method: string, allow: string][] = [
    ['/v2/', 'POST', 'GET, HEAD'],
    ['/v2/_catalog', 'DELETE', 'GET, HEAD'],
    ['/v2/a/tags/list', 'PUT', 'GET, HEAD'],
    [`/v2/a/referrers/${DIGEST}`, 'POST', 'GET, HEAD'],
    ['/v2/a/manifests/v1', 'PATCH', 'GET, HEAD, PUT, DELETE'],
    [`/v2/a/blobs/${DIGEST}`, 'PUT', 'GET, HEAD, DELETE'],
    ['/v2/a/blobs/uploads/', 'GET', 'POST'],
    ['/v2/a/blobs/uploads/x', 'POST', 'GET, PATCH, PUT, DELETE'],
    ['/v2/a/manifests/v1', 'OPTIONS', 'GET, HEAD, PUT, DELETE'],
  ];
  for (const [target, method, allow] of methods) {
    it(`${method} ${target.slice(0, 30)} is not supported`, async () => {
      const answer = await lab.send(method, target);
      assertError(answer, 405, 'UNSUPPORTED');
      assert.equal(answer.headers.allow, allow);
    });
  }

  it('repositories may be named like parts of paths', async () => {
    for (const name of ['blobs/uploads', 'a/manifests', 'manifests/tags/list', 'tags/list', 'x/blobs', 'referrers']) {
      const digest = await lab.pushImage(name, 'v1');
      assert.equal((await lab.get(`/v2/${name}/manifests/v1`)).headers['docker-content-digest'], digest);
      assert.deepEqual(JSON.parse((await lab.get(`/v2/${name}/tags/list`)).body.toString()), { name, tags: ['v1'] });
      assert.equal((await lab.get(`/v2/${name}/referrers/${DIGEST}`)).status, 200);
    }
  });
});

describe('names that are none', () => {
  const names = [
    '..',
    '../..',
    'a/../b',
    'a//b',
    './a',
    'A',
    'a_',
    '-a',
    'a/_tags',
    '_manifests',
    '%2e%2e',
    '%2e%2e%2f%2e%2e%2fetc',
    'a%2fb',
    'a%00b',
    'a\\b',
    'ä',
    'x'.repeat(201),
    'x/'.repeat(200),
    '%',
  ];
  for (const name of names) {
    it(JSON.stringify(name.slice(0, 30)), async () => {
      const path = name.replaceAll('ä', '%C3%A4').replace(/\/$/, '');
      for (const [method, target, body] of [
        ['GET', 'manifests/v1', undefined],
        ['PUT', 'manifests/v1', '{}'],
        ['GET', 'tags/list', undefined],
        ['HEAD', `blobs/${DIGEST}`, undefined],
        ['POST', 'blobs/uploads/', ''],
        ['GET', `referrers/${DIGEST}`, undefined],
      ] as const) {
        const answer = await lab.send(method, `/v2/${path}/${target}`, {}, body);
        assert.equal(answer.status, 400, `${method} ${target}`);
        if (method !== 'HEAD') assertError(answer, 400, 'NAME_INVALID');
      }
    });
  }

  it('tags and digests that are none', async () => {
    for (const tag of ['..', '.a', '-a', 'a%2f..%2fb', '%2e%2e', 'x'.repeat(129), '%']) {
      assertError(await lab.get(`/v2/some/repo/manifests/${tag}`), 404, 'MANIFEST_UNKNOWN');
      assertError(await lab.send('PUT', `/v2/some/repo/manifests/${tag}`, {}, '{}'), 400, 'TAG_INVALID');
      assertError(await lab.get(`/v2/some/repo/blobs/${tag}`), 400, 'DIGEST_INVALID');
    }
    assertError(await lab.get(`/v2/some/repo/manifests/sha256:${'A'.repeat(64)}`), 400, 'DIGEST_INVALID');
  });
});

describe('modes', () => {
  it('read-only: pulls work, nothing else', async () => {
    await using readOnly = await RegistryLab.start({ storage: lab.storage, readOnly: true });
    const digest = (await readOnly.get('/v2/some/repo/manifests/v1')).headers['docker-content-digest'];
    assert.ok(digest);
    assert.equal((await readOnly.send('HEAD', `/v2/some/repo/blobs/${digestOf('layer of some/repo')}`)).status, 200);
    for (const [method, target] of [
      ['PUT', '/v2/some/repo/manifests/v2'],
      ['DELETE', '/v2/some/repo/manifests/v1'],
      ['POST', '/v2/some/repo/blobs/uploads/'],
      ['DELETE', `/v2/some/repo/blobs/${DIGEST}`],
    ] as const) {
      const answer = await readOnly.send(method, target);
      assertError(answer, 405, 'UNSUPPORTED');
      assert.doesNotMatch(String(answer.headers.allow), /PUT|POST|DELETE/);
    }
  });

  it('without deletes: pushes and cancels work', async () => {
    await using kept = await RegistryLab.start({ deletes: false });
    await kept.pushImage('a', 'v1');
    assertError(await kept.send('DELETE', '/v2/a/manifests/v1'), 405, 'UNSUPPORTED');
    assertError(await kept.send('DELETE', `/v2/a/blobs/${DIGEST}`), 405, 'UNSUPPORTED');
    const { location } = (await kept.send('POST', '/v2/a/blobs/uploads/')).headers;
    assert.equal((await kept.send('DELETE', location!)).status, 204);
  });

  it('a pull-through cache is asked for what is missing', async () => {
    const asked: unknown[] = [];
    await using proxied = await RegistryLab.start({
      proxy: {
        findManifest: async (repository, reference) => void asked.push([repository, reference]),
        findBlob: async (_, digest) =>
          digest === digestOf('upstream')
            ? { size: 8, open: async () => ReadableStream.from([Buffer.from('up'), Buffer.from('stream')]) }
            : undefined,
      },
    });
    assertError(await proxied.get('/v2/a/manifests/v1'), 404, 'MANIFEST_UNKNOWN');
    assert.deepEqual(asked, [['a', { tag: 'v1' }]]);
    const blob = `/v2/a/blobs/${digestOf('upstream')}`;
    assert.equal((await proxied.send('HEAD', blob)).headers['content-length'], '8');
    assert.equal((await proxied.get(blob)).body.toString(), 'upstream');
    assertError(await proxied.get(`/v2/a/blobs/${DIGEST}`), 404, 'BLOB_UNKNOWN');
  });
});

describe('authorization', () => {
  it('is asked for each end point, before anything else is read', async () => {
    const asked: Access[] = [];
    await using closed = await RegistryLab.start({
      authorize: async (_, access) => {
        asked.push(access);
        return { ok: false, status: 401, challenges: ['Basic realm="x"', 'Bearer realm="y"'], message: 'log in' };
      },
    });
    const cases: [method: string, target: string, access: Access][] = [
      ['GET', '/v2/', { action: 'pull' }],
      ['GET', '/v2/_catalog', { action: 'catalog' }],
      ['GET', '/v2/a/tags/list', { action: 'pull', repository: 'a' }],
      ['HEAD', '/v2/a/b/manifests/v1', { action: 'pull', repository: 'a/b' }],
      ['PUT', '/v2/a/b/manifests/v1', { action: 'push', repository: 'a/b' }],
      ['DELETE', '/v2/a/b/manifests/v1', { action: 'delete', repository: 'a/b' }],
      ['GET', `/v2/a/blobs/${DIGEST}`, { action: 'pull', repository: 'a' }],
      ['DELETE', `/v2/a/blobs/${DIGEST}`, { action: 'delete', repository: 'a' }],
      ['POST', '/v2/a/blobs/uploads/', { action: 'push', repository: 'a' }],
      ['PATCH', '/v2/a/blobs/uploads/x', { action: 'push', repository: 'a' }],
      ['GET', `/v2/a/referrers/${DIGEST}`, { action: 'pull', repository: 'a' }],
    ];
    for (const [method, target, access] of cases) {
      const answer = await closed.send(method, target, {}, method === 'PATCH' ? 'x' : undefined);
      assert.equal(answer.status, 401);
      assert.equal(answer.headers['www-authenticate'], 'Basic realm="x", Bearer realm="y"');
      assert.deepEqual(asked.pop(), access);
    }
    assert.deepEqual((await closed.storage.listUploads()).uploads, []);
  });

  it('refusals of all kinds', async () => {
    await using closed = await RegistryLab.start({
      authorize: async (_, { repository }) =>
        repository === 'busy'
          ? { ok: false, status: 429, challenges: [], message: 'later', retryAfter: 7 }
          : { ok: false, status: 403, challenges: [], message: 'not you' },
    });
    assertError(await closed.get('/v2/a/tags/list'), 403, 'DENIED');
    const busy = await closed.get('/v2/busy/tags/list');
    assertError(busy, 429, 'TOOMANYREQUESTS');
    assert.equal(busy.headers['retry-after'], '7');
  });
});

describe('requests in the log', () => {
  it('say what was asked and how it ended, without secrets', async () => {
    await using quiet = await RegistryLab.start({ authorize: async () => ({ ok: true, user: 'alice' }) });
    const digest = await quiet.pushManifest('a/b', indexOf([]), 'v1', MEDIA_TYPES.index);
    await quiet.get(`/v2/a/b/manifests/${digest}?token=secret`, {
      'User-Agent': 'test/1',
      Authorization: 'Basic eDp5',
    });
    await quiet.get('/v2/a/b/manifests/v2');
    await until('all is logged', () => quiet.events.length >= 3);
    const [push, pull, missing] = quiet.events;
    assert.equal(push!.route, 'manifest');
    assert.equal(push!.bytesIn, JSON.stringify(indexOf([])).length);
    assert.deepEqual(
      { ...pull, id: '', milliseconds: 0 },
      {
        id: '',
        method: 'GET',
        path: `/v2/a/b/manifests/${digest}`,
        route: 'manifest',
        repository: 'a/b',
        reference: digest,
        user: 'alice',
        remote: '127.0.0.1',
        userAgent: 'test/1',
        status: 200,
        bytesIn: 0,
        bytesOut: JSON.stringify(indexOf([])).length,
        milliseconds: 0,
        aborted: false,
      },
    );
    assert.equal(missing!.error!.code, 'MANIFEST_UNKNOWN');
    assert.doesNotMatch(JSON.stringify(quiet.events), /secret|eDp5/);
  });

  it('failures of our side are told to nobody but the log', async () => {
    await using broken = await RegistryLab.start({
      storage: { ...lab.storage, readDocument: () => Promise.reject(new Error('cannot read /private/path')) },
    });
    const answer = await broken.get('/v2/some/repo/manifests/v1');
    assertError(answer, 500, 'UNKNOWN');
    assert.ok(!answer.body.includes('private'));
    await until('it is logged', () => broken.events.length > 0);
    assert.match(String(broken.events[0]!.cause), /private/);
    assert.equal(answer.headers['x-request-id'], broken.events[0]!.id);
  });
});

describe('clients that do not behave', () => {
  it('that go away in the middle of a blob cost nothing', async () => {
    const bytes = Buffer.alloc(32 * 2 ** 20, 7);
    const digest = await lab.pushBlob('large', bytes);
    lab.events.length = 0;
    for (let i = 0; i < 5; i++) {
      const socket = connect(lab.port, '127.0.0.1');
      socket.write(`GET /v2/large/blobs/${digest} HTTP/1.1\r\nHost: x\r\n\r\n`);
      await new Promise((resolve) => socket.once('data', resolve));
      socket.destroy();
    }
    await until('all are logged', () => lab.events.length >= 5);
    assert.equal(lab.events.length, 5);
    assert.ok(lab.events.every(({ aborted, bytesOut }) => aborted && bytesOut < bytes.length));
    assert.deepEqual((await lab.get(`/v2/large/blobs/${digest}`)).body, bytes);
  });

  it('that send a large body where none is wanted get their answer', async () => {
    async function* large(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 32; i++) yield Buffer.alloc(2 ** 20);
    }
    assertError(await lab.send('PUT', '/v2/UPPER/manifests/v1', {}, large()), 400, 'NAME_INVALID');
    assertError(await lab.send('PATCH', '/v2/a/blobs/uploads/x', {}, large()), 404, 'BLOB_UPLOAD_UNKNOWN');
    assert.equal((await lab.get('/v2/')).status, 200);
  });

  it('that send nonsense are hung up on', async () => {
    const socket = connect(lab.port, '127.0.0.1');
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString();
    });
    socket.write('NONSENSE\r\n\r\n');
    await new Promise((resolve) => socket.once('close', resolve));
    assert.match(text, /^HTTP\/1\.1 400 /);
    assert.equal((await lab.get('/v2/')).status, 200);
  });
});
