import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, existsSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { connect as netConnect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import type { CollectOutcome } from '../../src/registry/server/collect.ts';
import { PATIENCE_MS } from '../until.ts';
import { type Answer, ask, codeOf, pushImage, ServeLab, sha256 } from './serve-lab.ts';

const MAIN = join(import.meta.dirname, '../../src/cli/main.ts');

let lab: ServeLab;
before(() => {
  lab = new ServeLab();
});
after(() => lab[Symbol.asyncDispose]());

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  while (!(await what())) {
    if (Date.now() > end) throw new Error(`still not: ${what}`);
    await sleep(20);
  }
}

describe('what operators look at', () => {
  test('/healthz and /readyz', async () => {
    const rig = await lab.serve();
    assert.equal((await ask(`${rig.url}/healthz`)).status, 200);
    assert.equal((await ask(`${rig.url}/readyz`)).status, 200);
    assert.equal((await ask(`${rig.url}/readyz`, { method: 'POST' })).status, 405);
    const broken = await lab.serve('', {
      storage: { ...rig.storage, check: () => Promise.reject(new Error('disk on fire')) },
    });
    const answer = await ask(`${broken.url}/readyz`);
    assert.equal(answer.status, 503);
    assert.ok(!answer.body.toString().includes('fire'), 'the reason is for the log');
    assert.ok(broken.log.some(({ cause }) => cause === 'disk on fire'));
    assert.equal((await ask(`${broken.url}/healthz`)).status, 200);
  });

  test('readiness does not wait for a storage that hangs', async () => {
    const rig = await lab.serve();
    const hung = await lab.serve('', { storage: { ...rig.storage, check: () => new Promise(() => {}) } });
    const start = performance.now();
    assert.equal((await ask(`${hung.url}/readyz`)).status, 503);
    assert.ok(performance.now() - start < PATIENCE_MS);
  });

  test('metrics count by route, and nothing that a client makes up is a label', async () => {
    const rig = await lab.serve();
    await pushImage(rig.url, 'very/special-name', 'v1');
    await rig.storage.createUpload('very/special-name');
    for (let i = 0; i < 50; i++) await ask(`${rig.url}/v2/r${i}/manifests/x`);
    await ask(`${rig.url}/made/up`);
    const text = (await ask(`${rig.url}/metrics`)).body.toString();
    assert.match(text, /^imago_registry_requests_total\{method="PUT",route="manifest",status="201"\} 1$/m);
    assert.match(text, /^imago_registry_requests_total\{method="GET",route="manifest",status="404"\} 50$/m);
    assert.match(text, /^imago_registry_uploads_open 1$/m);
    assert.match(text, /^imago_registry_received_bytes_total\{route="uploads"\} 1002$/m);
    assert.match(text, /^process_resident_memory_bytes \d+/m);
    assert.ok(!text.includes('special-name') && !text.includes('made'));
  });

  test('metrics are named as Prometheus wants them: counters end in _total, nothing else does', async () => {
    const rig = await lab.serve();
    const text = (await ask(`${rig.url}/metrics`)).body.toString();
    const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)];
    assert.ok(types.length > 20);
    const wrong = types.filter(([, name, type]) => name!.endsWith('_total') !== (type === 'counter'));
    assert.deepEqual(
      wrong.map(([line]) => line),
      [],
    );
  });

  test('metrics on an address of their own are not on the other', async () => {
    const rig = await lab.serve('metrics: { address: "127.0.0.1:0" }');
    assert.equal((await ask(`${rig.url}/metrics`)).status, 404);
    assert.equal((await ask(`http://${rig.running.metricsAddress}/metrics`)).status, 200);
    assert.equal((await ask(`http://${rig.running.metricsAddress}/readyz`)).status, 200);
    assert.equal((await ask(`http://${rig.running.metricsAddress}/v2/`)).status, 404);
  });

  test('the log has a line for each request, and no query', async () => {
    const rig = await lab.serve();
    await ask(`${rig.url}/v2/a/b/tags/list?n=5&password=secret`, {
      headers: { 'user-agent': 'x\ny'.replace('\n', ' ') },
    });
    await until(() => rig.log.some(({ msg }) => msg === 'request'));
    const line = rig.log.find(({ msg }) => msg === 'request')!;
    assert.equal(line.level, 'info');
    assert.equal(line.path, '/v2/a/b/tags/list');
    assert.equal(line.route, 'tags');
    assert.equal(line.repository, 'a/b');
    assert.equal(line.status, 404);
    assert.equal(line.remote, '127.0.0.1');
    assert.ok(typeof line.ms === 'number' && typeof line.bytesOut === 'number');
    assert.ok(!JSON.stringify(rig.log).includes('secret'));
  });

  test('garbage is collected now and then, and told', async () => {
    let runs = 0;
    const collect = async (): Promise<CollectOutcome> => {
      if (++runs === 2) throw new Error('no');
      const nothing = { manifests: 0, removedManifests: 0, removedLinks: 0, discardedUploads: 0, discardedBytes: 0 };
      return { ...nothing, busy: false, removedBlobs: 3, removedBytes: 100, milliseconds: 5 };
    };
    // Settings ask for a minute at least: here it is less.
    const { collectPeriodically } = await import('../../src/registry/server/collector.ts');
    const { Metrics } = await import('../../src/registry/server/metrics.ts');
    const { Log } = await import('../../src/registry/server/log.ts');
    const rig = await lab.serve();
    const metrics = new Metrics({ storage: rig.storage, connections: () => 0, inFlight: () => 0 });
    let log = '';
    const collecting = collectPeriodically(20, collect, {
      log: new Log({ format: 'text', write: (text) => (log += text) }),
      metrics,
    });
    await until(() => runs >= 3);
    await collecting.stop();
    const after = runs;
    await sleep(60);
    assert.equal(runs, after);
    const { text } = await metrics.format();
    assert.match(text, /gc_runs_total\{result="failed"\} 1/);
    assert.match(text, /gc_removed_blobs_total [69]/);
    assert.match(log, /garbage collection failed cause=no/);
  });
});

test('read-only: pulls go on, pushes and deletes are refused in words', async () => {
  const open = await lab.serve();
  const { manifestDigest } = await pushImage(open.url, 'a/b', 'v1');
  const rig = await lab.serve('readOnly: true', { directory: open.directory });
  assert.equal((await ask(`${rig.url}/v2/a/b/manifests/v1`)).status, 200);
  for (const [method, path] of [
    ['POST', 'blobs/uploads/'],
    ['PUT', 'manifests/v2'],
    ['DELETE', `manifests/${manifestDigest}`],
  ] as const) {
    const answer = await ask(`${rig.url}/v2/a/b/${path}`, { method });
    assert.equal(answer.status, 405);
    assert.equal(codeOf(answer), 'UNSUPPORTED');
  }
});

describe('the end', () => {
  test('a running answer is finished, an idle connection is closed, new ones are refused', async () => {
    const rig = await lab.serve('shutdown: { delay: 2s, timeout: 60s }');
    const { digest } = await pushImage(rig.url, 'a/b', 'v1', { size: 8 << 20 });
    const idle = new Agent({ keepAlive: true });
    await new Promise((resolve) =>
      request(`${rig.url}/v2/`, { agent: idle }, (res) => res.resume().on('end', resolve)).end(),
    );
    const slow = await new Promise<import('node:http').IncomingMessage>((resolve) =>
      request(`${rig.url}/v2/a/b/blobs/${digest}`, { agent: false }, resolve).end(),
    );
    const stopped = rig.running.stop();
    assert.equal((await ask(`${rig.url}/readyz`)).status, 503, 'not ready before anything is refused');
    assert.equal((await ask(`${rig.url}/v2/`)).status, 200);
    const refused = ({ code }: NodeJS.ErrnoException): boolean => code === 'ECONNREFUSED';
    await until(() => ask(`${rig.url}/v2/`).then(() => false, refused));
    let size = 0;
    for await (const chunk of slow) size += chunk.length;
    assert.equal(size, 8 << 20);
    await stopped;
    idle.destroy();
  });

  test('an upload in chunks is brought to its end over its connection', async () => {
    const rig = await lab.serve('shutdown: { timeout: 20s }');
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const send = (method: string, url: string, body?: Buffer): Promise<Answer> =>
      new Promise((resolve, reject) => {
        const headers = { 'content-length': String(body?.length ?? 0), 'content-type': 'application/octet-stream' };
        const req = request(new URL(url, rig.url), { method, agent, headers }, (res) => {
          const chunks: Buffer[] = [];
          res.on('data', (chunk) => chunks.push(chunk));
          res.on('end', () => resolve({ status: res.statusCode!, headers: res.headers, body: Buffer.concat(chunks) }));
        });
        req.on('error', reject);
        req.end(body);
      });
    const bytes = randomBytes(300_000);
    const opened = await send('POST', '/v2/a/b/blobs/uploads/');
    const first = await send('PATCH', opened.headers.location!, bytes.subarray(0, 100_000));
    assert.equal(first.status, 202);
    let over = false;
    const stopped = rig.running.stop().then(() => {
      over = true;
    });
    await sleep(200);
    assert.equal(over, false);
    const second = await send('PATCH', first.headers.location!, bytes.subarray(100_000));
    assert.equal(second.status, 202);
    const location = new URL(second.headers.location!, rig.url);
    location.searchParams.set('digest', sha256(bytes));
    const put = await send('PUT', location.href);
    assert.equal(put.status, 201);
    await stopped;
    assert.equal((await rig.storage.statBlob(sha256(bytes)))!.size, bytes.length);
    assert.equal(rig.log.at(-1)!.cutOff, 0);
    agent.destroy();
  });

  test('an upload that ended on another connection keeps none open', async () => {
    const rig = await lab.serve('shutdown: { timeout: 20s }');
    const agent = new Agent({ keepAlive: true });
    const opened = await new Promise<string>((resolve) => {
      const req = request(`${rig.url}/v2/a/b/blobs/uploads/`, { method: 'POST', agent }, (res) => {
        res.resume().on('end', () => resolve(res.headers.location!));
      });
      req.end();
    });
    const put = await ask(`${rig.url}${opened}?digest=${sha256('x')}`, { method: 'PUT', body: 'x' });
    assert.equal(put.status, 201);
    const start = performance.now();
    await rig.running.stop();
    assert.ok(performance.now() - start < 15_000);
    agent.destroy();
  });

  test('what takes longer than the limit is cut off', async () => {
    const rig = await lab.serve('shutdown: { timeout: 300ms }');
    const req = request(`${rig.url}/v2/a/b/blobs/uploads/?digest=${sha256('x')}`, {
      method: 'POST',
      agent: false,
      headers: { 'content-length': '10' },
    });
    req.on('error', () => {});
    req.write('x');
    await until(async () => (await ask(`${rig.url}/metrics`)).body.toString().includes('in_flight 2'));
    const start = performance.now();
    await rig.running.stop();
    assert.ok(performance.now() - start < 15_000);
    assert.equal(rig.log.at(-1)!.cutOff, 1);
    assert.equal(await rig.storage.statBlob(sha256('x')), undefined);
  });
});

describe('TLS', () => {
  const has = (tool: string): boolean => {
    try {
      execFileSync(tool, ['version'], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  };
  const skip = has('openssl') ? false : 'openssl is not installed';

  function makeCertificate(name: string, subject: string, issuer?: string): void {
    const path = (suffix: string): string => join(lab.directory, `${name}${suffix}`);
    const signed =
      issuer === undefined
        ? []
        : ['-CA', join(lab.directory, `${issuer}.pem`), '-CAkey', join(lab.directory, `${issuer}.key`)];
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-days',
        '2',
        '-subj',
        `/CN=${subject}`,
      ]
        .concat(['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', path('.key'), '-out', path('.pem')])
        .concat(signed),
      { stdio: 'ignore' },
    );
  }

  const get = (url: string, options: object = {}): Promise<{ status: number; subject: string }> =>
    new Promise((resolve, reject) => {
      const req = tlsRequest(url, { agent: false, rejectUnauthorized: false, ...options }, (res) => {
        const { subject } = (res.socket as import('node:tls').TLSSocket).getPeerCertificate();
        res.resume().on('end', () => resolve({ status: res.statusCode!, subject: String(subject.CN) }));
      });
      req.on('error', reject);
      req.end();
    });

  test('a certificate is served, replaced files are taken, half of a replacement is not', { skip }, async () => {
    makeCertificate('first', 'first');
    makeCertificate('second', 'second');
    const use = (part: string, name: string): void =>
      copyFileSync(join(lab.directory, `${name}.${part}`), join(lab.directory, `used.${part}`));
    use('pem', 'first');
    use('key', 'first');
    const rig = await lab.serve('tls: { cert: used.pem, key: used.key }');
    assert.deepEqual(await get(`${rig.url}/v2/`), { status: 200, subject: 'first' });
    use('pem', 'second');
    await until(() => rig.log.some(({ causeCode }) => causeCode === 'BAD_TLS_FILES'));
    assert.equal((await get(`${rig.url}/v2/`)).subject, 'first');
    use('key', 'second');
    await until(() => rig.log.some(({ msg }) => msg === 'the TLS certificate was replaced'));
    assert.equal((await get(`${rig.url}/v2/`)).subject, 'second');
  });

  test('plain HTTP is told that this is TLS', { skip }, async () => {
    makeCertificate('plain', 'plain');
    const rig = await lab.serve('tls: { cert: plain.pem, key: plain.key }');
    const answer = await ask(`http://127.0.0.1:${rig.port}/v2/`);
    assert.equal(answer.status, 400);
    assert.match(answer.body.toString(), /this port speaks TLS: ask with https/);
    const other = netConnect(rig.port, '127.0.0.1').end('SSH-2.0-x\r\n');
    other.resume();
    await once(other, 'close');
    assert.equal((await get(`${rig.url}/v2/`)).status, 200);
  });

  test('TLS 1.1 is refused', { skip }, async () => {
    makeCertificate('old', 'old');
    const rig = await lab.serve('tls: { cert: old.pem, key: old.key }');
    const socket = tlsConnect({
      port: rig.port,
      rejectUnauthorized: false,
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
    });
    const [error] = await once(socket, 'error');
    assert.match(String(error.code), /SSL|PROTOCOL|ECONNRESET/);
  });

  test('clients show a certificate of the CA', { skip }, async () => {
    makeCertificate('ca', 'ca');
    makeCertificate('client', 'client', 'ca');
    makeCertificate('server', 'server');
    const rig = await lab.serve('tls: { cert: server.pem, key: server.key, clientCa: ca.pem }');
    const { readFileSync } = await import('node:fs');
    const pem = (name: string): object => ({
      cert: readFileSync(join(lab.directory, `${name}.pem`)),
      key: readFileSync(join(lab.directory, `${name}.key`)),
    });
    assert.equal((await get(`${rig.url}/v2/`, pem('client'))).status, 200);
    await assert.rejects(get(`${rig.url}/v2/`));
    await assert.rejects(get(`${rig.url}/v2/`, pem('server')));
  });

  test('a slow body is told from a steady one', { skip }, async () => {
    makeCertificate('slow', 'slow');
    const rig = await lab.serve(
      'tls: { cert: slow.pem, key: slow.key }\ntimeouts: { bodyGrace: 400ms, bodyRate: 4000B, idle: 10s }',
    );
    const upload = (pieces: Buffer[]): Promise<number> =>
      new Promise((resolve, reject) => {
        const body = Buffer.concat(pieces);
        const req = tlsRequest(
          `${rig.url}/v2/a/b/blobs/uploads/?digest=${sha256(body)}`,
          {
            method: 'POST',
            agent: false,
            rejectUnauthorized: false,
            headers: { 'content-type': 'application/octet-stream', 'content-length': String(body.length) },
          },
          (res) => res.resume().on('end', () => resolve(res.statusCode!)),
        );
        req.on('error', reject);
        const send = async (): Promise<void> => {
          for (const piece of pieces) {
            req.write(piece);
            await sleep(50);
          }
          req.end();
        };
        void send();
      });
    const pieces = (size: number): Buffer[] => Array.from({ length: 40 }, () => randomBytes(size));
    assert.equal(await upload(pieces(1000)), 201);
    assert.equal(await upload(pieces(10)), 408);
  });

  test('files that do not belong together are told at the start', { skip }, async () => {
    makeCertificate('a', 'a');
    makeCertificate('b', 'b');
    await assert.rejects(lab.serve('tls: { cert: a.pem, key: b.key }'), { code: 'BAD_TLS_FILES' });
  });
});

describe('imago registry serve', () => {
  const start = async (
    ...flags: string[]
  ): Promise<{ url: string; child: import('node:child_process').ChildProcess }> => {
    const words = ['registry', 'serve', '--address', '127.0.0.1:0', '--storage', join(lab.directory, 'cli'), ...flags];
    const child = spawn(process.execPath, [MAIN, ...words], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout!.on('data', (chunk) => (text += chunk));
    await until(() => text.includes('\n'));
    const { msg, url } = JSON.parse(text.split('\n')[0]!);
    assert.equal(msg, 'listening');
    return { url, child };
  };

  for (const signal of ['SIGTERM', 'SIGHUP'] as const) {
    test(`says where it listens, serves, and ends with 0 on ${signal}`, async () => {
      const { url, child } = await start();
      await pushImage(url, 'a/b', 'v1');
      assert.equal((await ask(`${url}/v2/a/b/manifests/v1`)).status, 200);
      child.kill(signal);
      assert.deepEqual(await once(child, 'exit'), [0, null]);
    });
  }

  test('a second signal ends it at once', async () => {
    const { url, child } = await start();
    const req = request(`${url}/v2/a/b/blobs/uploads/?digest=${sha256('x')}`, {
      method: 'POST',
      headers: { 'content-length': '5' },
    });
    req.on('error', () => {});
    req.write('x');
    await until(async () => (await ask(`${url}/metrics`)).body.toString().includes('in_flight 2'));
    child.kill('SIGINT');
    await until(() =>
      ask(`${url}/readyz`).then(
        ({ status }) => status === 503,
        () => true,
      ),
    );
    assert.equal(child.exitCode, null);
    child.kill('SIGINT');
    assert.deepEqual(await once(child, 'exit'), [130, null]);
  });

  for (const [name, flags, words] of [
    ['a bad flag', ['--address', 'nowhere'], /HOST:PORT/],
    [
      'a config file with a mistake',
      ['--config', 'bad.yaml'],
      /bad\.yaml:2:1: unknown setting 'adress': did you mean 'address'/,
    ],
    ['a config file that is not there', ['--config', 'none.yaml'], /none\.yaml/],
    ['an htpasswd file with MD5 in it', ['--htpasswd', 'md5'], /htpasswd -B/],
  ] as const) {
    test(`${name} is told, and nothing is served`, async () => {
      writeFileSync(join(lab.directory, 'bad.yaml'), 'storage: x\nadress: y\n');
      writeFileSync(join(lab.directory, 'md5'), 'ann:$apr1$x$y\n');
      const child = spawn(process.execPath, [MAIN, 'registry', 'serve', '--storage', 'x', ...flags], {
        cwd: lab.directory,
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      let text = '';
      child.stderr.on('data', (chunk) => (text += chunk));
      const [status] = await once(child, 'close');
      assert.equal(status, 1);
      assert.match(text, words);
    });
  }

  test('an address that is taken is told', async () => {
    const rig = await lab.serve();
    await assert.rejects(lab.serve(`metrics: { address: "127.0.0.1:${rig.port}" }`), {
      code: 'ADDRESS_IN_USE',
    });
  });
});

describe('imago registry gc', () => {
  const collect = async (...flags: string[]): Promise<{ status: number; out: string }> => {
    const child = spawn(process.execPath, [MAIN, 'registry', 'gc', ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    child.stdout.on('data', (chunk) => (out += chunk));
    child.stderr.on('data', (chunk) => (out += chunk));
    const [status] = await once(child, 'close');
    return { status, out };
  };

  test('removes what nothing needs while the registry serves; a dry run only tells', async () => {
    const rig = await lab.serve();
    const kept = await pushImage(rig.url, 'a/b', 'v1');
    const gone = await pushImage(rig.url, 'a/b', 'v2');
    await ask(`${rig.url}/v2/a/b/manifests/${gone.manifestDigest}`, { method: 'DELETE' });
    const flags = ['--storage', rig.directory, '--grace', '0'];
    assert.match(
      (await collect('--storage', rig.directory)).out,
      /^Removed manifests: 0, blobs: 0,/m,
      'the grace period',
    );
    await sleep(20);
    const dry = await collect(...flags, '--dry-run');
    assert.equal(dry.status, 0, dry.out);
    assert.ok(dry.out.includes(`Would remove ${gone.digest} (1kB)\n`), dry.out);
    assert.equal((await rig.storage.statBlob(gone.digest as `sha256:${string}`))!.size, 1000);
    const real = await collect(...flags);
    assert.ok(real.out.includes(`Removed ${gone.digest} (1kB)\n`), real.out);
    assert.match(real.out, /Manifests that stay: 1\.\n$/);
    assert.equal(await rig.storage.statBlob(gone.digest as `sha256:${string}`), undefined);
    assert.equal((await ask(`${rig.url}/v2/a/b/blobs/${kept.digest}`)).status, 200);
    const again = await pushImage(rig.url, 'a/b', 'v1');
    assert.match((await collect(...flags, '--delete-untagged')).out, new RegExp(`Removed a/b@${kept.manifestDigest}`));
    assert.equal((await ask(`${rig.url}/v2/a/b/manifests/${again.manifestDigest}`)).status, 200);
  });

  test('makes no storage where there is none', async () => {
    const place = join(lab.directory, 'no-storage');
    const { status, out } = await collect('--storage', place);
    assert.equal(status, 1);
    assert.match(out, /no registry's storage is there \(.*no-storage\): give the directory/);
    assert.equal(existsSync(place), false);
  });

  test('a grace period that is none', async () => {
    const { status, out } = await collect('--storage', join(lab.directory, 'none'), '--grace', 'soon');
    assert.equal(status, 1);
    assert.match(out, /--grace soon is no time/);
  });
});
