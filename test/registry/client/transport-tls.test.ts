import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { openTransport } from '../../../src/registry/client/transport.ts';
import type { ClientOptions, RegistryRequest } from '../../../src/registry/client/types.ts';
import { Authority, type FakeRegistry, makeTemporaryDirectory, quickOptions, startRegistry } from './lying-registry.ts';

const GET: RegistryRequest = { method: 'GET', target: '/v2/', answers: [200] };
const skip = spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not there to make certificates';

describe('TLS', { skip, timeout: 60_000 }, () => {
  const temporary = makeTemporaryDirectory();
  after(() => temporary[Symbol.dispose]());
  const authority = skip ? undefined! : new Authority(temporary.path);
  const pem = (name: string, hosts: string, from?: string, to?: string) => {
    const { cert, key } = authority.issue(name, hosts, from, to);
    return { cert: readFileSync(cert), key: readFileSync(key) };
  };
  const good = skip ? undefined! : pem('good', 'DNS:localhost');
  const start = (tls: object = good): Promise<FakeRegistry> =>
    startRegistry((request, response) => {
      const { authorized } = request.socket as { authorized?: boolean };
      response.end(request.url === '/v2/' ? `${authorized}` : 'other');
    }, tls);

  let directories = 0;
  /** A certs.d with the authority for a registry, and whatever else. */
  const certsFor = (name: string, files: Record<string, string> = { 'ca.crt': authority.certificate }): string => {
    const directory = join(temporary.path, `certs.d-${directories++}`);
    mkdirSync(join(directory, name), { recursive: true });
    for (const [file, source] of Object.entries(files)) copyFileSync(source, join(directory, name, file));
    return directory;
  };
  const get = async (registry: FakeRegistry, options: ClientOptions): Promise<string> => {
    using transport = openTransport(registry.name, quickOptions(options));
    return (await transport.read(await transport.request(GET), 100)).toString();
  };

  test('an authority of certs.d', async () => {
    await using registry = await start();
    await get(registry, { certificates: ['/nonexistent', certsFor(registry.name)] });
    await assert.rejects(get(registry, { certificates: [certsFor('localhost:1')] }), {
      code: 'TLS_UNTRUSTED',
      message: new RegExp(
        `^the certificate of ${registry.name} is signed by an unknown authority \\(GET https://${registry.name}/v2/\\): put the CA's certificate into /etc/imago/certs.d/${registry.name}/ca.crt, or use --insecure`,
      ),
    });
  });

  test('the places of the user', async () => {
    await using registry = await start();
    const directory = join(certsFor(`imago/certs.d/${registry.name}`));
    const environment = { HOME: '/nonexistent', XDG_CONFIG_HOME: directory };
    await get(registry, { environment, certificates: undefined });
  });

  for (const variable of ['SSL_CERT_FILE', 'NODE_EXTRA_CA_CERTS']) {
    test(`the authorities of the machine: ${variable}`, async () => {
      await using registry = await start();
      const script = `
        import { openTransport } from ${JSON.stringify(new URL('../../../src/registry/client/transport.ts', import.meta.url))};
        using transport = openTransport('${registry.name}', { certificates: [], registries: '/nonexistent', timing: { tries: 1 } });
        const ask = async () => transport.read(await transport.request(${JSON.stringify(GET)}), 100);
        await Promise.all([ask(), ask(), ask()]);
        await ask();`;
      const env = { ...process.env, [variable]: authority.certificate };
      await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { env });
      await assert.rejects(get(registry, {}), { code: 'TLS_UNTRUSTED' });
    });
  }

  test('insecure takes any', async () => {
    await using registry = await start(pem('other', 'DNS:example.com'));
    await get(registry, { insecure: true });
  });

  for (const [title, make, code, message] of [
    [
      'expired',
      () => pem('expired', 'DNS:localhost', '20200101000000Z', '20200201000000Z'),
      'TLS_EXPIRED',
      /has expired .*: check this machine's clock/,
    ],
    [
      'not valid yet',
      () => pem('early', 'DNS:localhost', '20900101000000Z', '20900201000000Z'),
      'TLS_NOT_YET_VALID',
      /not valid yet .*: check this machine's clock/,
    ],
    [
      'of another host',
      () => pem('foreign', 'DNS:example.com'),
      'TLS_WRONG_HOST',
      /is not for localhost:\d+ .*: use the name/,
    ],
  ] as const) {
    test(`a certificate that is ${title}`, async () => {
      await using registry = await start(make());
      const options: ClientOptions = { certificates: [certsFor(registry.name)] };
      await assert.rejects(get(registry, options), { code, message });
      assert.equal(registry.requests.length, 0);
    });
  }

  test('a certificate signed by itself', async () => {
    const files = ['-keyout', join(temporary.path, 'self.key'), '-out', join(temporary.path, 'self.crt')];
    const key = ['-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
    spawnSync('openssl', ['req', '-x509', ...files, ...key]);
    const self = join(temporary.path, 'self.crt');
    await using registry = await start({ cert: readFileSync(self), key: readFileSync(files[1]!) });
    await assert.rejects(get(registry, {}), { code: 'TLS_UNTRUSTED', message: /is signed by itself/ });
    await get(registry, { certificates: [certsFor(registry.name, { 'self.crt': self })] });
  });

  test('a client certificate', async () => {
    const { cert, key } = authority.issue('client', 'DNS:client');
    const ca = readFileSync(authority.certificate);
    await using registry = await start({ ...good, ca, requestCert: true, rejectUnauthorized: true });
    const files = { 'ca.crt': authority.certificate, 'client.cert': cert, 'client.key': key };
    assert.equal(await get(registry, { certificates: [certsFor(registry.name, files)] }), 'true');
    await assert.rejects(
      get(registry, { certificates: [certsFor(registry.name)], timing: { tries: 1 } }),
      (error: Error & { code: string }) => ['TLS_FAILED', 'CONNECTION_BROKEN'].includes(error.code),
    );
  });

  test('certs.d with parts missing or broken', async () => {
    await using registry = await start();
    const { cert, key } = authority.issue('half', 'DNS:client');
    const broken = join(temporary.path, 'broken.crt');
    writeFileSync(broken, 'no PEM');
    for (const [files, message] of [
      [
        { 'a.cert': cert },
        /missing key a.key for client certificate a.cert.*: CA certificates must use the extension .crt$/,
      ],
      [{ 'a.key': key }, /missing client certificate a.cert for key a.key/],
      [{ 'a.cert': broken, 'a.key': key }, /cannot be used/],
    ] as const) {
      const certificates = [certsFor(registry.name, files as unknown as Record<string, string>)];
      await assert.rejects(get(registry, { certificates }), { code: 'BAD_CERTIFICATES', message });
    }
  });

  test('from TLS to plain HTTP: refused but on loopback', async () => {
    let to = 'http://registry.example.com/x';
    await using plain = await startRegistry((_, response) => response.end('plain'));
    await using registry = await startRegistry((_, response) => response.writeHead(307, { Location: to }).end(), good);
    const certificates = [certsFor(registry.name)];
    await assert.rejects(get(registry, { certificates }), {
      code: 'BAD_REDIRECT',
      message: /from TLS to plain HTTP \(http:\/\/registry.example.com\/x\)/,
    });
    to = `http://${plain.name}/`;
    assert.equal(await get(registry, { certificates }), 'plain');
  });

  test('plain HTTP to a host that is not loopback is not even tried', async () => {
    await using registry = await startRegistry((_, response) => response.end());
    // A name that is no loopback name, by way of a proxy that answers for it.
    await using proxy = await startRegistry((_, response) => response.end('over the proxy'));
    const environment = { http_proxy: `http://${proxy.name}`, https_proxy: `http://${registry.name}` };
    using transport = openTransport('registry.example.com', quickOptions({ environment, timing: { tries: 1 } }));
    await assert.rejects(transport.request(GET), { code: 'PROXY_FAILED' });
    assert.equal(proxy.requests.length, 0);
    using insecure = openTransport('registry.example.com:80', quickOptions({ environment, insecure: true }));
    assert.equal((await insecure.read(await insecure.request(GET), 100)).toString(), 'over the proxy');
  });
});
