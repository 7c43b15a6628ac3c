import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { describe, test } from 'node:test';
import { openTransport } from '../../../src/registry/client/transport.ts';
import type { RegistryRequest, RetryEvent } from '../../../src/registry/client/types.ts';
import { listen, quickOptions, startRegistry } from './lying-registry.ts';

const GET: RegistryRequest = { method: 'GET', target: '/v2/a/blobs/x', answers: [200] };

describe('requests', { timeout: 240_000 }, () => {
  test('an answer: status, headers, URL, body', async () => {
    await using registry = await startRegistry((_, response) => response.end('hello'));
    using transport = openTransport(registry.name, quickOptions());
    const response = await transport.request({ ...GET, target: '/v2/a/blobs/x?digest=sha256:1&_state=secret' });
    assert.equal(response.status, 200);
    assert.equal(response.headers['content-length'], '5');
    assert.equal(response.url, `http://${registry.name}/v2/a/blobs/x?digest=sha256:1`);
    assert.equal((await transport.read(response, 5)).toString(), 'hello');
    const { method, url } = registry.requests.at(-1)!;
    assert.deepEqual([method, url], ['GET', '/v2/a/blobs/x?digest=sha256:1&_state=secret']);
  });

  test('connections are kept', async () => {
    const sockets = new Set<Socket>();
    await using registry = await startRegistry((request, response) => {
      sockets.add(request.socket);
      response.end('hello');
    });
    using transport = openTransport(registry.name, quickOptions());
    for (let i = 0; i < 5; i++) await transport.read(await transport.request(GET), 100);
    assert.equal(sockets.size, 1);
  });

  test('bodies: bytes, and a stream that is made again for each try', async () => {
    let calls = 0;
    await using registry = await startRegistry((_, response) => {
      response.writeHead(++calls === 2 ? 503 : 201).end();
    });
    using transport = openTransport(registry.name, quickOptions());
    const request: RegistryRequest = { method: 'PUT', target: '/v2/a/manifests/x', answers: [201] };
    await transport.request({ ...request, body: Buffer.from('bytes') });
    let made = 0;
    await transport.request({
      ...request,
      headers: { 'Content-Length': '6' },
      async *body() {
        made++;
        yield Buffer.from('str');
        yield Buffer.from('eam');
      },
    });
    assert.equal(made, 2);
    assert.deepEqual(
      registry.requests.map(({ body }) => body),
      ['bytes', 'stream', 'stream'],
    );
  });

  test('without retries a body is made once', async () => {
    await using registry = await startRegistry((_, response) => {
      response.writeHead(503).end();
    });
    using transport = openTransport(registry.name, quickOptions());
    let made = 0;
    await assert.rejects(
      transport.request({
        method: 'PATCH',
        target: '/v2/a/blobs/uploads/1',
        answers: [202],
        retry: false,
        async *body() {
          made++;
          yield Buffer.from('x');
        },
      }),
      { code: 'REGISTRY_ERROR' },
    );
    assert.equal(made, 1);
  });

  test('an answer before the body was sent ends the sending', async () => {
    await using registry = await startRegistry(() => {});
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch'));
    });
    const port = await listen(server);
    try {
      using transport = openTransport(
        `localhost:${port}`,
        quickOptions({ insecure: true, timing: { connectMs: 200 } }),
      );
      let sent = 0;
      const failure = transport.request({
        method: 'PATCH',
        target: `http://localhost:${port}/v2/a/blobs/uploads/1`,
        answers: [202],
        async *body() {
          for (; sent < 1000; sent++) yield Buffer.alloc(1024 * 1024);
        },
      });
      await assert.rejects(failure, { message: /^localhost:\d+\/a: much: got 413/ });
      assert.ok(sent < 1000);
    } finally {
      server.close();
    }
    assert.equal(registry.requests.length, 0);
  });

  test('an error in the source of a body comes out as it is', async () => {
    await using registry = await startRegistry((_, response) => response.end());
    using transport = openTransport(registry.name, quickOptions());
    const failure = new Error('disk on fire');
    await assert.rejects(
      transport.request({
        method: 'PUT',
        target: '/v2/a/blobs/uploads/1',
        answers: [201],
        async *body() {
          yield Buffer.from('x');
          throw failure;
        },
      }),
      failure,
    );
  });

  test('a body larger than wanted is given up', async () => {
    let announced = true;
    await using registry = await startRegistry((_, response) => {
      if (announced) response.setHeader('Content-Length', 1e9);
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(65536)));
      };
      response.on('drain', more);
      more();
    });
    using transport = openTransport(registry.name, quickOptions());
    for (announced of [true, false]) {
      const response = await transport.request(GET);
      await assert.rejects(transport.read(response, 1000), { code: 'RESPONSE_TOO_LARGE' });
    }
  });

  test('the signal ends a request, its pauses and its body', async () => {
    let status = 200;
    await using registry = await startRegistry((request, response) => {
      if (request.url === '/v2/silent') return;
      response.writeHead(status);
      response.write('x');
      if (status !== 200) response.end();
    });
    const reason = new Error('stopped by SIGINT');
    using transport = openTransport(registry.name, quickOptions({ timing: { retryMs: 60_000 } }));
    for (const target of ['/v2/silent', '/v2/busy']) {
      status = 503;
      const controller = new AbortController();
      setTimeout(() => controller.abort(reason), 50);
      await assert.rejects(transport.request({ ...GET, target, signal: controller.signal }), reason);
    }
    status = 200;
    const controller = new AbortController();
    const response = await transport.request({ ...GET, signal: controller.signal });
    setTimeout(() => controller.abort(reason), 50);
    await assert.rejects(transport.read(response, 100), reason);
    await assert.rejects(transport.request({ ...GET, signal: controller.signal }), reason);
  });
});

describe('redirects', { timeout: 240_000 }, () => {
  const redirect =
    (to: string, status = 307) =>
    (request: IncomingMessage, response: ServerResponse) => {
      if (request.url!.startsWith('/end')) response.end('the end');
      else response.writeHead(status, { Location: to }).end();
    };

  test('to the same host', async () => {
    await using registry = await startRegistry(redirect('/end'));
    using transport = openTransport(registry.name, quickOptions());
    const response = await transport.request(GET);
    assert.equal(response.url, `http://${registry.name}/end`);
    assert.equal((await transport.read(response, 100)).toString(), 'the end');
  });

  for (const [title, make, message] of [
    ['in a circle', () => redirect('/v2/a/blobs/x'), /in a circle/],
    [
      'without an end',
      () => {
        let n = 0;
        return (_: IncomingMessage, response: ServerResponse) => {
          response.writeHead(302, { Location: `/${n++}` }).end();
        };
      },
      /more than 10 redirects/,
    ],
    ['to a file', () => redirect('file:///etc/passwd'), /another scheme \(file:\)/],
    ['to FTP', () => redirect('ftp://localhost/x'), /another scheme \(ftp:\)/],
    ['to nowhere', () => redirect('http://[::'), /a Location that is none/],
    [
      'without a Location',
      () => (_: IncomingMessage, response: ServerResponse) => {
        response.writeHead(302).end();
      },
      /Location that is none: missing/,
    ],
  ] as const) {
    test(`refused: ${title}`, async () => {
      await using registry = await startRegistry(make());
      using transport = openTransport(registry.name, quickOptions());
      await assert.rejects(transport.request(GET), { code: 'BAD_REDIRECT', message });
      assert.ok(registry.requests.length <= 12);
    });
  }

  test('of an upload: 307 takes the body along, 302 is an answer like any other', async () => {
    let status = 307;
    await using registry = await startRegistry((request, response) => redirect('/end', status)(request, response));
    using transport = openTransport(registry.name, quickOptions());
    const request: RegistryRequest = { method: 'PUT', target: '/v2/a/x', body: Buffer.from('bytes'), answers: [200] };
    await transport.request(request);
    assert.equal(registry.requests.at(-1)!.body, 'bytes');
    status = 302;
    await assert.rejects(transport.request(request), { code: 'REGISTRY_ERROR', message: /got 302 Found/ });
  });

  test('what is an answer to the caller is not followed', async () => {
    await using registry = await startRegistry(redirect('/end'));
    using transport = openTransport(registry.name, quickOptions());
    assert.equal((await transport.request({ ...GET, answers: [307] })).status, 307);
  });
});

const UPGRADE = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n';

describe('tries', { timeout: 240_000 }, () => {
  for (const status of [408, 429, 500, 502, 503, 504]) {
    test(`${status} is tried again, and told`, async () => {
      let left = 2;
      await using registry = await startRegistry((_, response) => {
        response.writeHead(left-- > 0 ? status : 200).end('ok');
      });
      const events: RetryEvent[] = [];
      using transport = openTransport(registry.name, quickOptions({ onRetry: (event) => events.push(event) }));
      assert.equal((await transport.read(await transport.request(GET), 10)).toString(), 'ok');
      assert.deepEqual(
        events.map(({ attempt, url }) => [attempt, url]),
        [
          [2, `http://${registry.name}/v2/a/blobs/x`],
          [3, `http://${registry.name}/v2/a/blobs/x`],
        ],
      );
      assert.match(events[0]!.reason, new RegExp(`^${status} `));
    });
  }

  test('five times, then the error', async () => {
    await using registry = await startRegistry((_, response) => {
      response.writeHead(503, { 'Content-Type': 'text/html' });
      response.end('<html><head><title>503 Busy\r\n\x1b[31m</title></head><body>much more</body></html>');
    });
    using transport = openTransport(registry.name, quickOptions());
    await assert.rejects(transport.request(GET), {
      code: 'REGISTRY_ERROR',
      message: `${registry.name}/a:x: 503 Busy [31m: got 503 Service Unavailable (GET http://${registry.name}/v2/a/blobs/x)`,
    });
    assert.equal(registry.requests.length, 5);
  });

  const at = (ms: number): string => new Date(Date.now() + ms).toUTCString();
  const HOUR = 3_600_000;
  for (const [title, header, least, most, clock] of [
    ['seconds', () => '1', 1000, 1005],
    ['a date', () => at(2500), 400, 2600],
    ['a date by a clock that is behind', () => at(1000 - HOUR), 1000, 2005, -HOUR],
    ['a date by a clock that is ahead', () => at(1000 + HOUR), 1000, 2005, HOUR],
    ['a date that has passed', () => at(-HOUR), 2, 5],
    ['no time: still a pause', () => '0', 2, 5],
    ['too long', () => '86400', 1500, 1500],
    ['nonsense', () => 'soon', 2, 5],
  ] as [string, () => string, number, number, number?][]) {
    test(`Retry-After: ${title}`, async () => {
      let left = 1;
      await using registry = await startRegistry((_, response) => {
        if (clock !== undefined) response.setHeader('Date', at(clock));
        response.writeHead(left-- > 0 ? 429 : 200, { 'Retry-After': header() }).end();
      });
      const delays: number[] = [];
      const timing = { maxRetryAfterMs: 1500 };
      const onRetry = ({ delayMs }: RetryEvent) => void delays.push(delayMs);
      using transport = openTransport(registry.name, quickOptions({ onRetry, timing }));
      await transport.request(GET);
      assert.equal(delays.length, 1);
      assert.ok(delays[0]! >= least && delays[0]! <= Math.min(most, 1500), `${delays[0]}`);
    });
  }

  test('broken connections, before and after the request', async () => {
    let left = 2;
    await using registry = await startRegistry((request, response) => {
      if (left-- > 0) request.socket.destroy();
      else response.end('ok');
    });
    using transport = openTransport(registry.name, quickOptions());
    assert.equal((await transport.read(await transport.request(GET), 10)).toString(), 'ok');
  });

  test('a connection that is always broken', async () => {
    await using registry = await startRegistry((request) => void request.socket.destroy());
    using transport = openTransport(registry.name, quickOptions());
    await assert.rejects(transport.request(GET), { code: 'CONNECTION_BROKEN' });
    assert.equal(registry.requests.length, 5);
  });

  test('a kept connection that the other end closed meanwhile costs no try', async () => {
    await using registry = await startRegistry((request, response) => {
      response.end('ok');
      response.once('finish', () => setTimeout(() => request.socket.resetAndDestroy(), 1));
    });
    const events: RetryEvent[] = [];
    using transport = openTransport(registry.name, quickOptions({ onRetry: (event) => events.push(event) }));
    for (let i = 0; i < 20; i++) {
      await transport.read(await transport.request(GET), 10);
      const until = performance.now() + 3;
      while (performance.now() < until);
    }
    assert.deepEqual(events, []);
  });

  test('nobody there', async () => {
    const server = createServer();
    const port = await listen(server);
    await new Promise((done) => server.close(done));
    using transport = openTransport(`localhost:${port}`, quickOptions());
    await assert.rejects(transport.request(GET), {
      code: 'REGISTRY_UNREACHABLE',
      message: new RegExp(`^localhost:${port}: connection refused .*check that the registry runs there$`),
    });
  });

  test('no such host', async () => {
    using transport = openTransport('registry.invalid', quickOptions({ timing: { tries: 1 } }));
    await assert.rejects(transport.request(GET), { code: 'REGISTRY_UNREACHABLE', message: /^no such host: / });
  });

  test('interim answers without an end, and another protocol', async () => {
    for (const text of ['HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(1000), UPGRADE]) {
      const server = createServer((socket) => {
        socket.on('error', () => {});
        socket.once('data', () => socket.write(text));
      });
      const port = await listen(server);
      using transport = openTransport(`localhost:${port}`, quickOptions({ timing: { tries: 2, stallMs: 2000 } }));

      await assert.rejects(transport.request(GET), { code: 'CONNECTION_BROKEN' });
      server.close();
    }
  });

  test('no HTTP at all', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.end('SSH-2.0-OpenSSH_9.2p1\r\n');
    });
    const port = await listen(server);
    using transport = openTransport(`localhost:${port}`, quickOptions());
    await assert.rejects(
      transport.request(GET),
      (error: Error & { code: string }) => /^[A-Z_]+$/.test(error.code) && error.name === 'ImagoError',
    );
    server.close();
  });
});

describe('stalls', { timeout: 240_000 }, () => {
  const timing = { stallMs: 200, tries: 2, connectMs: 1000 };

  test('no answer', async () => {
    await using registry = await startRegistry(() => {});
    using transport = openTransport(registry.name, quickOptions({ timing }));
    await assert.rejects(transport.request(GET), {
      code: 'STALLED',
      message: /^no byte came or went for 0.2 s from http:/,
    });
    assert.equal(registry.requests.length, 2);
  });

  test('in the middle of a body', async () => {
    await using registry = await startRegistry((_, response) => {
      response.writeHead(200, { 'Content-Length': 100 }).write('some');
    });
    using transport = openTransport(registry.name, quickOptions({ timing }));
    const response = await transport.request(GET);
    await assert.rejects(transport.read(response, 100), { code: 'STALLED' });
  });

  test('a body that comes slowly is none', async () => {
    await using registry = await startRegistry(async (_, response) => {
      for (let i = 0; i < 30; i++) {
        response.write('x');
        await new Promise((done) => setTimeout(done, 70));
      }
      response.end();
    });
    using transport = openTransport(registry.name, quickOptions({ timing: { ...timing, stallMs: 1500 } }));
    assert.equal((await transport.read(await transport.request(GET), 100)).length, 30);
  });

  test('a trickle is one all the same', async () => {
    await using registry = await startRegistry(async (_, response) => {
      while (!response.destroyed) {
        response.write('x');
        await new Promise((done) => setTimeout(done, 20));
      }
    });
    using transport = openTransport(registry.name, quickOptions({ timing: { ...timing, stallMs: 700 } }));
    const response = await transport.request(GET);
    await assert.rejects(transport.read(response, 1e6), {
      code: 'STALLED',
      message: /^next to nothing came for \d/,
    });
  });

  test('neither is a reader who takes its time', async () => {
    const size = 8 * 1024 * 1024;
    await using registry = await startRegistry((_, response) => response.end(Buffer.alloc(size)));
    using transport = openTransport(registry.name, quickOptions({ timing }));
    const { body } = await transport.request(GET);
    let got = 0;
    for await (const chunk of body) {
      if (got === 0) await new Promise((done) => setTimeout(done, 700));
      got += chunk.length;
    }
    assert.equal(got, size);
  });

  test('nor a source that takes its time', async () => {
    await using registry = await startRegistry((_, response) => response.end());
    using transport = openTransport(registry.name, quickOptions({ timing: { ...timing, stallMs: 100 } }));
    await transport.request({
      method: 'PATCH',
      target: '/v2/a',
      answers: [200],
      async *body() {
        yield Buffer.from('x');
        await new Promise((done) => setTimeout(done, 800));
        yield Buffer.from('y');
      },
    });
    assert.equal(registry.requests.at(-1)!.body, 'xy');
  });

  test('an upload that nobody takes', async () => {
    const server = createServer((socket) => void socket.on('error', () => {}).pause());
    const port = await listen(server);
    using transport = openTransport(`localhost:${port}`, quickOptions({ timing: { ...timing, connectMs: 100 } }));
    const upload = transport.request({
      method: 'PATCH',
      target: '/v2/a',
      answers: [200],
      async *body() {
        for (;;) yield Buffer.alloc(65536);
      },
    });
    await assert.rejects(upload, (error: Error & { code: string }) =>
      ['STALLED', 'REGISTRY_UNREACHABLE'].includes(error.code),
    );
    server.close();
  });
});

describe('errors', { timeout: 240_000 }, () => {
  for (const [title, request, status, body, code, message] of [
    [
      'an unknown manifest',
      { target: '/v2/library/busybox/manifests/nope' },
      404,
      '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}',
      'MANIFEST_UNKNOWN',
      /^manifest for \S+\/library\/busybox:nope not found: manifest unknown: got 404 Not Found \(GET http:\S+\/nope\)$/,
    ],
    [
      'a manifest, and a body that says nothing',
      { target: '/v2/a/manifests/sha256:00' },
      404,
      '',
      'MANIFEST_UNKNOWN',
      /^manifest for \S+\/a@sha256:00 not found: manifest unknown/,
    ],
    [
      'an unknown blob',
      {},
      404,
      '{"errors":[{"code":"BLOB_UNKNOWN","message":"gone"}]}',
      'BLOB_UNKNOWN',
      /: blob unknown: gone: got 404/,
    ],
    ['some 404', { target: '/v2/a/tags/list' }, 404, 'page not found', 'NOT_FOUND', /\/a: page not found: got 404/],
    [
      'a pull denied',
      { target: '/v2/a/b/manifests/x' },
      403,
      '{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}',
      'DENIED',
      /^pull access denied for \S+\/a\/b, repository does not exist or may require 'imago login': denied: requested access to the resource is denied: got 403/,
    ],
    [
      'a push denied',
      { method: 'POST', target: '/v2/a/b/blobs/uploads/' },
      403,
      '{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}',
      'DENIED',
      /^\S+\/a\/b: denied: requested access to the resource is denied: got 403/,
    ],
    [
      'what a push asks, denied',
      { method: 'HEAD', target: '/v2/a/b/manifests/x', scopes: ['repository:a/b:pull,push'] },
      403,
      '{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}',
      'DENIED',
      /^localhost:\d+\/a\/b: denied: .*: got 403/,
    ],
    [
      'an unknown code',
      {},
      400,
      '{"errors":[{"code":"../../evil","message":"x"}]}',
      'REGISTRY_ERROR',
      /evil: x: got 400 Bad Request/,
    ],
    ['an empty answer', {}, 418, '', 'REGISTRY_ERROR', /localhost:\d+ answered with an error: got 418/],
    ['JSON of another kind', {}, 400, '{"error":"x"}', 'REGISTRY_ERROR', /\{"error":"x"\}: got 400/],
    ['a reference that the caller names', { reference: 'debian:12' }, 400, 'no', 'REGISTRY_ERROR', /^debian:12: no/],
  ] as const) {
    test(title, async () => {
      await using registry = await startRegistry((_, response) => {
        response.writeHead(status).end(body);
      });
      using transport = openTransport(registry.name, quickOptions());
      await assert.rejects(transport.request({ ...GET, ...request }), { code, message });
    });
  }

  test('an endless error is read as far as it is told', async () => {
    await using registry = await startRegistry((_, response) => {
      response.writeHead(400);
      const more = (): void => {
        while (!response.destroyed && response.write('<script><style>'.repeat(1000)));
      };
      response.on('drain', more);
      more();
    });
    using transport = openTransport(registry.name, quickOptions());
    await assert.rejects(transport.request(GET), (error: Error) => error.message.length < 1000);
  });

  for (const name of ['', 'a/b', 'http://a', 'a?b', 'a#b', 'user@host', 'a b', 'host:99999']) {
    test(`no registry: ${JSON.stringify(name)}`, () => {
      assert.throws(() => openTransport(name, quickOptions()), { code: 'BAD_REGISTRY' });
    });
  }
});
