import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { openTransport } from '../../../src/registry/client/transport.ts';
import type { ClientOptions, RegistryRequest, Transport } from '../../../src/registry/client/types.ts';
import { type FakeRegistry, makeTemporaryDirectory, quickOptions, startRegistry } from './lying-registry.ts';

const PULL: RegistryRequest = {
  method: 'GET',
  target: '/v2/library/a/blobs/x',
  answers: [200],
  scopes: ['repository:library/a:pull'],
};
const DEAD = 'localhost:1';

function openMirrored(registry: string, mirrors: unknown[], options: ClientOptions = {}): Transport {
  using temporary = makeTemporaryDirectory();
  const registries = join(temporary.path, 'registries.json');
  writeFileSync(registries, JSON.stringify({ registries: { [registry]: { mirrors } } }));
  return openTransport(registry, quickOptions({ registries, ...options }));
}

const says = (text: string, status = 200): Promise<FakeRegistry> =>
  startRegistry((_, response) => response.writeHead(status).end(text));

async function pull(transport: Transport, request = PULL): Promise<string> {
  return (await transport.read(await transport.request(request), 100)).toString();
}

describe('mirrors', { timeout: 120_000 }, () => {
  test('asked first, in their order', async () => {
    await using first = await says('first');
    await using second = await says('second');
    await using registry = await says('itself');
    using transport = openMirrored(registry.name, [first.name, `http://${second.name}/`]);
    assert.equal(await pull(transport), 'first');
    assert.deepEqual(
      [first, second, registry].map(({ requests }) => requests.length),
      [1, 0, 0],
    );
  });

  for (const [title, status] of [
    ['does not have it', 404],
    ['is broken', 500],
    ['is busy', 429],
    ['wants a password', 401],
    ['forbids', 403],
  ] as const) {
    test(`a mirror that ${title}: the next one`, async () => {
      await using mirror = await says('no', status);
      await using registry = await says('itself');
      using transport = openMirrored(registry.name, [DEAD, mirror.name]);
      assert.equal(await pull(transport), 'itself');
      assert.equal(mirror.requests.length, 1);
      // Even where the caller takes the status for an answer.
      assert.equal(await pull(transport, { ...PULL, answers: [200, status] }), 'itself');
    });
  }

  test('takes over from a registry that is not there', async () => {
    await using mirror = await says('mirror');
    using transport = openMirrored(DEAD, [mirror.name]);
    assert.equal(await pull(transport), 'mirror');
  });

  test('a mirror that broke a body rests, and still serves where all else fails', async () => {
    let broken = true;
    await using mirror = await startRegistry((request, response) => {
      if (!broken) return response.end('mirror');
      response.writeHead(200, { 'Content-Length': 10 }).write('x');
      return setTimeout(() => request.socket.destroy(), 20);
    });
    const registry = await says('itself');
    using transport = openMirrored(registry.name, [mirror.name]);
    await assert.rejects(pull(transport), { code: 'CONNECTION_BROKEN' });
    broken = false;
    assert.equal(await pull(transport), 'itself');
    await registry[Symbol.asyncDispose]();
    assert.equal(await pull(transport), 'mirror');
  });

  test('not for pushes, lists and uploads', async () => {
    await using mirror = await says('mirror');
    await using registry = await says('itself');
    using transport = openMirrored(registry.name, [mirror.name]);
    const scopes = ['repository:library/a:pull,push'];
    for (const request of [
      { ...PULL, scopes },
      { ...PULL, scopes: [] },
      { ...PULL, target: '/v2/library/a/blobs/uploads/' },
      { ...PULL, method: 'DELETE' },
      { ...PULL, method: 'PUT', target: '/v2/library/a/manifests/x' },
      { ...PULL, target: '/v2/library/a/tags/list' },
      { ...PULL, target: '/v2/library/a/blobs/uploads/1' },
      { ...PULL, target: `http://${registry.name}/v2/library/a/blobs/x` },
    ] as RegistryRequest[]) {
      assert.equal(await pull(transport, request), 'itself');
    }
    for (const [target, asked] of [
      ['/v2/library/a/blobs/x', 0],
      ['/v2/library/a/manifests/x', 1],
    ] as const) {
      await transport.request({ ...PULL, method: 'HEAD', target });
      assert.equal(mirror.requests.length, asked);
    }
  });

  test('below a prefix, with the scopes to match; credentials are not shared', async () => {
    await using mirror = await startRegistry((request, response) => {
      if (request.url!.startsWith('/token')) return response.end('{"token":"t"}');
      if (request.headers.authorization === 'Bearer t') return response.end(request.url);
      const challenge = `Bearer realm="http://${request.headers.host}/token"`;
      return response.writeHead(401, { 'WWW-Authenticate': challenge }).end();
    });
    const credentials = { username: 'user', password: 's3cret' };
    using transport = openMirrored(DEAD, [`${mirror.name}/proxy/hub/`], { credentials });
    assert.equal(await pull(transport), '/v2/proxy/hub/library/a/blobs/x');
    const token = mirror.requests.find(({ url }) => url.startsWith('/token'))!;
    assert.match(decodeURIComponent(token.url), /scope=repository:proxy\/hub\/library\/a:pull&/);
    assert.equal(token.authorization, undefined);
  });

  test("what the registry itself says is the error, also after the mirrors'", async () => {
    await using mirror = await says('mirror down', 500);
    await using registry = await says('no such thing', 404);
    using transport = openMirrored(registry.name, [mirror.name, DEAD]);
    await assert.rejects(pull(transport), { code: 'NOT_FOUND', message: /no such thing/ });
    using dead = openMirrored('localhost:2', [mirror.name, DEAD]);
    await assert.rejects(pull(dead), { code: 'REGISTRY_UNREACHABLE', message: /^localhost:2: connection refused/ });
  });

  for (const content of [
    '',
    '[]',
    '{"registries": []}',
    '{"registries": {"localhost:1": {"mirrors": [5]}}}',
    '{"registries": {"localhost:1": {"insecure": "yes"}}}',
  ]) {
    test(`registries.json that is wrong: ${content}`, () => {
      using temporary = makeTemporaryDirectory();
      const registries = join(temporary.path, 'registries.json');
      writeFileSync(registries, content);
      const message = new RegExp(`^${registries}`);
      assert.throws(() => openTransport(DEAD, quickOptions({ registries })), { code: 'BAD_REGISTRIES_FILE', message });
    });
  }
  for (const mirror of ['ftp://a', 'a b', 'user:pw@host', 'host?x']) {
    test(`a mirror that is none: ${mirror}`, () => {
      assert.throws(() => openMirrored(DEAD, [mirror]), { code: 'BAD_REGISTRY' });
    });
  }
});
