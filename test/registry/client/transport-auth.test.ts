import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, test } from 'node:test';
import { openTransport } from '../../../src/registry/client/transport.ts';
import type { ClientOptions, RegistryRequest } from '../../../src/registry/client/types.ts';
import { until } from '../../until.ts';
import { type FakeRegistry, quickOptions, startRegistry } from './lying-registry.ts';

const PULL: RegistryRequest = {
  method: 'GET',
  target: '/v2/a/blobs/x',
  answers: [200],
  scopes: ['repository:a:pull'],
};
const CREDENTIALS = { username: 'user', password: 'pass-word:1' };
const BASIC = `Basic ${Buffer.from('user:pass-word:1').toString('base64')}`;
const SECRETS = /pass-word|dXNlcj|s3cret|t0ken/;

function withCredentials(options: ClientOptions = {}): ClientOptions {
  return quickOptions({ credentials: CREDENTIALS, ...options });
}

interface TokenServer extends FakeRegistry {
  /** What a token request is answered with; by default a token that names its scopes. */
  answer: (request: IncomingMessage, response: ServerResponse, body: string) => unknown;
  given: number;
  /** Tokens that the registry takes. */
  good: Set<string>;
}

/** A registry with a token server of its own on another port. */
async function startBoth(realm?: string): Promise<{ registry: FakeRegistry; tokens: TokenServer } & AsyncDisposable> {
  const server = await startRegistry((request, response, body) => tokens.answer(request, response, body));
  const tokens: TokenServer = Object.assign(server, {
    given: 0,
    good: new Set<string>(),
    answer: (_: IncomingMessage, response: ServerResponse) => {
      const token = `t0ken${++tokens.given}`;
      tokens.good.add(token);
      response.end(JSON.stringify({ token, expires_in: 300 }));
    },
  });
  const registry = await startRegistry((request, response) => {
    if (tokens.good.has(String(request.headers.authorization).replace('Bearer ', ''))) return response.end('ok');
    const where = realm ?? `http://localhost:${tokens.port}/token`;
    response.setHeader('WWW-Authenticate', `Bearer realm="${where}",service="registry"`);
    return response.writeHead(401).end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}');
  });
  return {
    registry,
    tokens,
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** Fails, and says nothing of what is secret. */
async function rejectsSafely(promise: Promise<unknown>, code: string, message = /./): Promise<void> {
  await assert.rejects(promise, (error: Error & { code: string }) => {
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    assert.doesNotMatch(`${error.message} ${JSON.stringify(error)}`, SECRETS);
    return true;
  });
}

describe('Basic', { timeout: 120_000 }, () => {
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    if (request.headers.authorization === BASIC) return response.end('ok');
    response.setHeader('WWW-Authenticate', 'Basic realm="r"');
    return response
      .writeHead(401)
      .end(`{"errors":[{"code":"UNAUTHORIZED","message":"you said ${request.headers.authorization}"}]}`);
  };

  test('shown after it was asked for, and from then on', async () => {
    await using registry = await startRegistry(answer);
    using transport = openTransport(registry.name, withCredentials());
    await transport.request(PULL);
    await transport.request(PULL);
    assert.deepEqual(
      registry.requests.map(({ authorization }) => authorization),
      [undefined, BASIC, BASIC],
    );
  });
  test('wrong: once, and the registry repeats it in vain', async () => {
    await using registry = await startRegistry(answer);
    const credentials = { username: 'user', password: 's3cret' };
    using transport = openTransport(registry.name, quickOptions({ credentials }));
    await rejectsSafely(
      transport.request(PULL),
      'UNAUTHORIZED',
      /pull access denied for .* you said Basic \*\*\*: got 401/,
    );
    assert.equal(registry.requests.length, 2);
  });
  test('none: the error says what to do', async () => {
    await using registry = await startRegistry(answer);
    using transport = openTransport(registry.name, quickOptions());
    const remedy = /log in with 'imago login localhost:\d+' as somebody who may$/;
    await rejectsSafely(transport.request(PULL), 'UNAUTHORIZED', remedy);
    assert.equal(registry.requests.length, 1);
  });
  test('a 401 without a challenge', async () => {
    await using registry = await startRegistry((_, response) => response.writeHead(401).end());
    using transport = openTransport(registry.name, withCredentials());
    await rejectsSafely(transport.request(PULL), 'UNAUTHORIZED');
    assert.deepEqual(
      registry.requests.map(({ authorization }) => authorization),
      [undefined],
    );
  });
});

describe('Bearer', { timeout: 120_000 }, () => {
  test('anonymous: service, scope and no password', async () => {
    await using both = await startBoth();
    using transport = openTransport(both.registry.name, quickOptions());
    assert.equal((await transport.read(await transport.request(PULL), 10)).toString(), 'ok');
    const [request] = both.tokens.requests;
    assert.equal(request!.url, '/token?service=registry&scope=repository%3Aa%3Apull&client_id=imago');
    assert.equal(request!.authorization, undefined);
  });

  test('a token that breaks in its middle is asked for again', async () => {
    await using both = await startBoth();
    const { answer } = both.tokens;
    both.tokens.answer = (request, response, body) => {
      if (both.tokens.requests.length > 2) return answer(request, response, body);
      response.writeHead(200, { 'Content-Length': '100' }).write('{"token":"');
      setTimeout(() => response.destroy(), 10);
    };
    using transport = openTransport(both.registry.name, quickOptions());
    await transport.request(PULL);
    assert.equal(both.tokens.requests.length, 3);
  });

  test('with a password: Basic to the realm, the token to the registry', async () => {
    await using both = await startBoth();
    using transport = openTransport(both.registry.name, withCredentials());
    await transport.request({ ...PULL, scopes: ['repository:b:pull', 'repository:a:push,pull'] });
    const [request] = both.tokens.requests;
    const query = new URLSearchParams(request!.url.split('?')[1]);
    assert.deepEqual(query.getAll('scope'), ['repository:a:pull,push', 'repository:b:pull']);
    assert.equal(query.get('account'), 'user');
    assert.equal(request!.authorization, BASIC);
    assert.deepEqual(
      both.registry.requests.map(({ authorization }) => authorization),
      [undefined, 'Bearer t0ken1'],
    );
  });

  test('a refresh token is posted, as OAuth2 has it', async () => {
    await using both = await startBoth();
    const credentials = { username: 'user', password: '', identityToken: 's3cret' };
    using transport = openTransport(both.registry.name, quickOptions({ credentials }));
    await transport.request(PULL);
    const [{ method, authorization, body }] = both.tokens.requests as [FakeRegistry['requests'][0]];
    assert.deepEqual([method, authorization], ['POST', undefined]);
    assert.deepEqual(Object.fromEntries(new URLSearchParams(body)), {
      service: 'registry',
      grant_type: 'refresh_token',
      refresh_token: 's3cret',
      client_id: 'imago',
      scope: 'repository:a:pull',
    });
  });

  test('a registry token is shown as it is', async () => {
    await using both = await startBoth();
    both.tokens.good.add('s3cret');
    const credentials = { username: '', password: '', registryToken: 's3cret' };
    using transport = openTransport(both.registry.name, quickOptions({ credentials }));
    await transport.request(PULL);
    assert.equal(both.tokens.requests.length, 0);
    both.tokens.good.clear();
    await rejectsSafely(transport.request(PULL), 'UNAUTHORIZED');
  });

  test('many requests at once share one token; narrower scopes use it, others do not', async () => {
    await using both = await startBoth();
    using transport = openTransport(both.registry.name, quickOptions());
    const scopes = ['repository:a:pull,push'];
    await Promise.all(Array.from({ length: 20 }, () => transport.request({ ...PULL, scopes })));
    await transport.request(PULL);
    assert.equal(both.tokens.requests.length, 1);
    await transport.request({ ...PULL, scopes: ['repository:b:pull'] });
    assert.equal(both.tokens.requests.length, 2);
  });

  test('asked for again before it runs out', async (t) => {
    await using both = await startBoth();
    const { answer } = both.tokens;
    both.tokens.answer = (request, response, body) => {
      const end = response.end.bind(response) as (text: string) => ServerResponse;
      response.end = ((text: string) => end(text.replace('300', '40'))) as typeof response.end;
      return answer(request, response, body);
    };
    using transport = openTransport(both.registry.name, quickOptions());
    for (let i = 0; i < 3; i++) await transport.request(PULL);
    assert.equal(both.tokens.requests.length, 1);
    const now = performance.now.bind(performance);
    t.mock.method(performance, 'now', () => now() + 36_000);
    await transport.request(PULL);
    assert.equal(both.tokens.requests.length, 2);
    // Never shown when it was out of date: one refusal, of the very first request.
    assert.equal(both.registry.requests.filter(({ authorization }) => authorization === undefined).length, 1);
  });

  test('a token that was taken back is replaced, also under many requests', async () => {
    await using both = await startBoth();
    using transport = openTransport(both.registry.name, quickOptions());
    await transport.request(PULL);
    both.tokens.good.clear();
    await Promise.all(Array.from({ length: 10 }, () => transport.request(PULL)));
    assert.equal(both.tokens.given, 2);
  });

  test('scopes that the registry misses are asked for, too', async () => {
    await using tokens = await startRegistry((_, response) => response.end('{"access_token":"t0ken"}'));
    await using registry = await startRegistry((_, response) => {
      if (tokens.requests.length > 1) return response.end('ok');
      const challenge = `Bearer realm="http://localhost:${tokens.port}/",scope="repository:a:push repository:b:pull",error="insufficient_scope"`;
      return response.writeHead(401, { 'WWW-Authenticate': challenge }).end();
    });
    using transport = openTransport(registry.name, quickOptions());
    await transport.request({ ...PULL, scopes: ['repository:a:pull'] });
    const asked = tokens.requests.map(({ url }) => new URLSearchParams(url.slice(2)).getAll('scope'));
    assert.deepEqual(asked.at(-1), ['repository:a:pull,push', 'repository:b:pull']);
  });

  test('401 for ever', async () => {
    await using both = await startBoth();
    both.tokens.answer = (_, response) => response.end('{"token":"t0ken-for-elsewhere"}');
    using transport = openTransport(both.registry.name, withCredentials());
    await rejectsSafely(
      transport.request(PULL),
      'UNAUTHORIZED',
      /pull access denied for localhost:\d+\/a, .*: unauthorized: authentication required/,
    );
    assert.ok(both.registry.requests.length <= 3);
  });

  for (const [title, answer, code, message] of [
    ['HTML', (r) => r.end('<html>log in</html>'), 'BAD_TOKEN', /wanted JSON with a token, got no JSON/],
    ['JSON of another kind', (r) => r.end('[1]'), 'BAD_TOKEN', /got no token/],
    ['null', (r) => r.end('null'), 'BAD_TOKEN', /got no token/],
    ['a number', (r) => r.end('{"token":5}'), 'BAD_TOKEN', /got no token/],
    ['a header of its own', (r) => r.end('{"token":"a\\r\\nX-Evil: 1"}'), 'BAD_TOKEN', /got no token/],
    [
      'a huge body',
      (r) => r.end(`{"token":"${'x'.repeat(2_000_000)}"}`),
      'RESPONSE_TOO_LARGE',
      /at most 1048576 bytes/,
    ],
    [
      '401',
      (r) => r.writeHead(401).end('{"details":"incorrect username or password"}'),
      'UNAUTHORIZED',
      /pull access denied for .*incorrect username or password/,
    ],
    ['500', (r) => r.writeHead(500).end(), 'REGISTRY_ERROR', /got 500/],
    [
      'a redirect elsewhere',
      (r) => r.writeHead(307, { Location: 'http://127.0.0.1:1/token' }).end(),
      'BAD_REDIRECT',
      /127.0.0.1:1, which gets no credentials/,
    ],
  ] as [string, (response: ServerResponse) => unknown, string, RegExp][]) {
    test(`the token server answers with ${title}`, async () => {
      await using both = await startBoth();
      both.tokens.answer = (_, response) => answer(response);
      using transport = openTransport(both.registry.name, withCredentials());
      await rejectsSafely(transport.request(PULL), code, message);
    });
  }

  test('the token server is busy for a moment', async () => {
    await using both = await startBoth();
    const { answer } = both.tokens;
    both.tokens.answer = (request, response, body) =>
      both.tokens.requests.length < 3 ? response.writeHead(503).end() : answer(request, response, body);
    using transport = openTransport(both.registry.name, quickOptions());
    await transport.request(PULL);
  });

  for (const realm of ['http://registry.example.com/token', 'ftp://localhost/token', 'token', '']) {
    test(`a realm that cannot be trusted: '${realm}'`, async () => {
      await using both = await startBoth(realm);
      using transport = openTransport(both.registry.name, withCredentials());
      await rejectsSafely(transport.request(PULL), realm === '' ? 'UNAUTHORIZED' : 'BAD_TOKEN_REALM');
    });
  }

  test('one request that is given up leaves the token to the others', async () => {
    await using both = await startBoth();
    const { answer } = both.tokens;
    const asked = Promise.withResolvers<void>();
    const given = Promise.withResolvers<void>();
    both.tokens.answer = async (...rest) => {
      asked.resolve();
      await given.promise;
      return answer(...rest);
    };
    using transport = openTransport(both.registry.name, quickOptions());
    const controller = new AbortController();
    const reason = new Error('not wanted');
    const first = assert.rejects(transport.request({ ...PULL, signal: controller.signal }), reason);
    const second = transport.request(PULL);
    await asked.promise;
    await until('the second one is refused', () => both.registry.requests.length === 2);
    // Its answer is on its way in this very process.
    await new Promise((done) => setTimeout(done, 100));
    controller.abort(reason);
    await first;
    given.resolve();
    await second;
    assert.equal(both.tokens.requests.length, 1);
  });
});

describe('credentials stay at home', { timeout: 120_000 }, () => {
  /** A registry that asks for Basic, and then redirects to `to`. */
  const leading = (to: () => string) => (request: IncomingMessage, response: ServerResponse) => {
    if (request.headers.authorization !== undefined) return response.writeHead(307, { Location: to() }).end();
    return response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="r"' }).end();
  };

  for (const host of ['localhost', '127.0.0.1']) {
    test(`a redirect to another port of ${host}`, async () => {
      await using elsewhere = await startRegistry((_, response) => response.end('ok'));
      await using registry = await startRegistry(
        leading(() => `http://u:p@${host}:${elsewhere.port}/x?X-Amz-Signature=s3cret`),
      );
      using transport = openTransport(registry.name, withCredentials());
      const response = await transport.request(PULL);
      assert.equal(response.url, `http://${host}:${elsewhere.port}/x`);
      assert.deepEqual(
        elsewhere.requests.map(({ authorization }) => authorization),
        [undefined],
      );
    });
  }

  test('a redirect to another name of the same port', async () => {
    await using registry = await startRegistry((request, response) =>
      request.url === '/end'
        ? response.end('ok')
        : leading(() => `http://127.0.0.1:${registry.port}/end`)(request, response),
    );
    using transport = openTransport(registry.name, withCredentials());
    await transport.request(PULL);
    assert.equal(registry.requests.at(-1)!.url, '/end');
    assert.equal(registry.requests.at(-1)!.authorization, undefined);
  });

  test('what comes home by way of another host is a stranger', async () => {
    await using elsewhere = await startRegistry((_, response) =>
      response.writeHead(307, { Location: `http://${registry.name}/end` }).end(),
    );
    const registry = await startRegistry((request, response) =>
      request.url === '/end' ? response.end('ok') : leading(() => `http://${elsewhere.name}/`)(request, response),
    );
    await using _ = registry;
    using transport = openTransport(registry.name, withCredentials());
    await transport.request(PULL);
    assert.equal(registry.requests.at(-1)!.authorization, undefined);
  });

  test('a redirect within the registry keeps them', async () => {
    await using registry = await startRegistry((request, response) =>
      request.url === '/end' ? response.end('ok') : leading(() => '/end')(request, response),
    );
    using transport = openTransport(registry.name, withCredentials());
    await transport.request(PULL);
    assert.equal(registry.requests.at(-1)!.authorization, BASIC);
  });

  test("another host's 401 gets nothing, and teaches nothing", async () => {
    const challenge = { 'WWW-Authenticate': 'Basic realm="give me that"' };
    await using elsewhere = await startRegistry((_, response) => response.writeHead(401, challenge).end());
    await using registry = await startRegistry((_, response) =>
      response.writeHead(307, { Location: `http://${elsewhere.name}/x?X-Amz-Signature=s3cret` }).end(),
    );
    using transport = openTransport(registry.name, withCredentials());
    await rejectsSafely(transport.request(PULL), 'UNAUTHORIZED');
    await rejectsSafely(transport.request(PULL), 'UNAUTHORIZED');
    for (const { authorization } of [...elsewhere.requests, ...registry.requests])
      assert.equal(authorization, undefined);
  });

  test('an upload whose Location is elsewhere', async () => {
    await using elsewhere = await startRegistry((_, response) =>
      response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="r"' }).end(),
    );
    await using registry = await startRegistry(leading(() => '/'));
    using transport = openTransport(registry.name, withCredentials());
    const target = `http://${elsewhere.name}/v2/a/blobs/uploads/1?_state=s3cret`;
    const put: RegistryRequest = { method: 'PUT', target, body: Buffer.from('x'), answers: [201] };
    await rejectsSafely(transport.request(put), 'UNAUTHORIZED');
    assert.deepEqual(
      elsewhere.requests.map(({ authorization }) => authorization),
      [undefined],
    );
  });

  test("retries' events name no secret", async () => {
    const events: string[] = [];
    await using elsewhere = await startRegistry((_, response) => response.writeHead(503).end());
    await using registry = await startRegistry(leading(() => `http://${elsewhere.name}/x?sig=s3cret`));
    const onRetry = (event: object) => void events.push(JSON.stringify(event));
    using transport = openTransport(registry.name, withCredentials({ onRetry }));
    await rejectsSafely(transport.request(PULL), 'REGISTRY_ERROR');
    assert.equal(events.length, 4);
    for (const event of events) assert.doesNotMatch(event, SECRETS);
  });
});
