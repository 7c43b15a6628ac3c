import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { findProxy } from '../../../src/registry/client/proxy.ts';
import { openTransport } from '../../../src/registry/client/transport.ts';
import type { RegistryRequest } from '../../../src/registry/client/types.ts';
import { Authority, listen, makeTemporaryDirectory, quickOptions, startRegistry } from './lying-registry.ts';

const GET: RegistryRequest = { method: 'GET', target: '/v2/', answers: [200] };

/** A proxy that connects to a port of loopback, whatever name it is asked for. */
async function startProxy(port: number): Promise<AsyncDisposable & { port: number; asked: string[] }> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer();
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    asked.push(`${request.url} ${request.headers['proxy-authorization']}`);
    const target = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      socket.pipe(target).pipe(socket);
    });
    for (const end of [socket, target]) {
      sockets.add(end);
      end.on('error', () => {});
    }
  });
  return {
    port: await listen(server),
    asked,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

describe('proxies', { timeout: 120_000 }, () => {
  const proxies = { HTTPS_PROXY: 'http://secure:1', http_proxy: 'plain:2', HTTP_PROXY: 'http://not-this' };
  for (const [url, no, wanted] of [
    ['https://quay.io/', undefined, 'http://secure:1'],
    ['http://quay.io/', undefined, 'http://plain:2'],
    ['https://localhost/', undefined, undefined],
    ['https://127.0.0.5:5000/', undefined, undefined],
    ['https://[::1]:5000/', undefined, undefined],
    ['https://quay.io/', '*', undefined],
    ['https://quay.io/', 'a.b, quay.io', undefined],
    ['https://cdn.quay.io/', 'quay.io', undefined],
    ['https://cdn.quay.io/', '.quay.io', undefined],
    ['https://cdn.quay.io/', '*.quay.io', undefined],
    ['https://quay.io/', '.quay.io', 'http://secure:1'],
    ['https://notquay.io/', 'quay.io', 'http://secure:1'],
    ['https://quay.io/', 'QUAY.io:443', undefined],
    ['https://quay.io/', 'quay.io:5000', 'http://secure:1'],
    ['https://quay.io:5000/', 'quay.io:5000', undefined],
    ['https://10.1.2.3/', '10.0.0.0/8', undefined],
    ['https://11.1.2.3/', '10.0.0.0/8', 'http://secure:1'],
    ['https://11.1.2.3/', '10.0.0.0/99,/,1/x', 'http://secure:1'],
    ['https://10.1.2.3:5000/', '10.1.2.3', undefined],
    ['https://10.1.2.3/', '2.3', 'http://secure:1'],
    ['https://[fd00::1]/', 'fd00::/8', undefined],
    ['https://[fd00::1]/', '[fd00::1]:443', undefined],
    ['https://[fd00::1]/', 'fd00::1', undefined],
  ] as const) {
    test(`${url} with NO_PROXY=${no ?? ''}`, () => {
      assert.equal(findProxy(new URL(url), { ...proxies, NO_PROXY: no }), wanted);
    });
  }

  for (const proxy of ['socks5://user:s3cret@host', 'http://user:s3cret@:::', 'user:s3cret@a b']) {
    test(`a proxy that is none: ${proxy}`, async () => {
      using transport = openTransport('registry.example.com', quickOptions({ environment: { HTTPS_PROXY: proxy } }));
      await assert.rejects(transport.request(GET), (error: Error & { code: string }) => {
        assert.equal(error.code, 'BAD_PROXY');
        assert.doesNotMatch(error.message, /s3cret/);
        return true;
      });
    });
  }

  test('plain HTTP through a proxy', async () => {
    await using proxy = await startRegistry((request, response) => response.end(request.url));
    const environment = { http_proxy: `http://us%40er:pw@${proxy.name}` };
    using transport = openTransport('registry.example.com:80', quickOptions({ environment, insecure: true }));
    const response = await transport.request(GET);
    assert.equal((await transport.read(response, 100)).toString(), 'http://registry.example.com/v2/');
  });

  const skip = spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not there to make certificates';
  test('TLS through a proxy that asks for a password', { skip }, async () => {
    using temporary = makeTemporaryDirectory();
    const authority = new Authority(temporary.path);
    const { cert, key } = authority.issue('far', 'DNS:registry.example.com');
    for (const name of ['registry.example.com:8443', 'other.example.com:443']) {
      mkdirSync(join(temporary.path, 'certs.d', name), { recursive: true });
      copyFileSync(authority.certificate, join(temporary.path, 'certs.d', name, 'ca.crt'));
    }
    const tls = { cert: readFileSync(cert), key: readFileSync(key) };
    await using registry = await startRegistry((_, response) => response.end('far away'), tls);
    await using proxy = await startProxy(registry.port);
    const environment = { HTTPS_PROXY: `http://us%40er:pw@localhost:${proxy.port}` };
    const certificates = [join(temporary.path, 'certs.d')];
    using transport = openTransport('registry.example.com:8443', quickOptions({ environment, certificates }));
    for (let i = 0; i < 3; i++) {
      assert.equal((await transport.read(await transport.request(GET), 100)).toString(), 'far away');
    }
    assert.deepEqual(proxy.asked, [`registry.example.com:8443 Basic ${Buffer.from('us@er:pw').toString('base64')}`]);
    using stranger = openTransport(
      'other.example.com',
      quickOptions({ environment, certificates, timing: { tries: 1 } }),
    );
    await assert.rejects(stranger.request(GET), { code: 'TLS_WRONG_HOST' });
  });

  test('a proxy that refuses, and one that is not there: no word of its password', async () => {
    await using proxy = await startRegistry(() => {});
    for (const place of [`localhost:${proxy.port}`, 'localhost:1']) {
      const environment = { HTTPS_PROXY: `http://user:s3cret@${place}` };
      using transport = openTransport('registry.example.com', quickOptions({ environment, timing: { tries: 1 } }));
      await assert.rejects(transport.request(GET), (error: Error & { code: string }) => {
        assert.equal(error.code, 'PROXY_FAILED');
        assert.doesNotMatch(JSON.stringify([error.message, error, error.cause]), /s3cret/);
        return true;
      });
    }
  });
});
