import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { type Answer, ask, codeOf, pushImage, type Rig, ServeLab, sendRaw, sha256 } from '../registry/serve-lab.ts';
import { PATIENCE_MS } from '../until.ts';

/**
 * Clients that lie, over real sockets: each ends with a status and an error that says what was wrong, nothing wrong is
 * stored, and memory stays bounded.
 */
let lab: ServeLab;
let rig: Rig;
before(async () => {
  lab = new ServeLab();
  rig = await lab.serve(`
limits: { manifestBytes: 4MiB, blobBytes: 64MiB, openUploads: 500, openUploadsPerRepository: 300, connections: 600 }
timeouts: { headers: 1s, idle: 3s, bodyGrace: 1s, bodyRate: 1000B }
`);
});
after(() => lab[Symbol.asyncDispose]());

const HEX = 'a'.repeat(64);
const MiB = 1 << 20;

interface Raw {
  status: number;
  body: string;
  code: string | undefined;
}

/** The last answer of what came back. */
function parseRaw(text: string): Raw {
  const at = text.lastIndexOf('HTTP/1.1 ');
  const [head = '', body = ''] = text.slice(at).split('\r\n\r\n', 2);
  const code = body.startsWith('{"errors"') ? codeOf({ body }) : undefined;
  return { status: Number(head.split(' ')[1]), body, code };
}

async function raw(text: string | Buffer): Promise<Raw> {
  return parseRaw(await sendRaw(rig.port, text));
}

async function openUpload(repository = 'a/b'): Promise<string> {
  const answer = await ask(`${rig.url}/v2/${repository}/blobs/uploads/`, { method: 'POST' });
  assert.equal(answer.status, 202, answer.body.toString());
  return `${rig.url}${answer.headers.location}`;
}

const OCTETS = { 'content-type': 'application/octet-stream' };
const patch = (url: string, body: Buffer, range?: string): Promise<Answer> =>
  ask(url, {
    method: 'PATCH',
    body,
    headers: { ...OCTETS, ...(range === undefined ? {} : { 'content-range': range }) },
  });

const withDigest = (url: string, digest: string): string => `${url}${url.includes('?') ? '&' : '?'}digest=${digest}`;

async function uploads(): Promise<number> {
  return (await rig.storage.listUploads()).uploads.length;
}

/** Runs while looking at how much memory is taken; the growth in bytes. */
async function measure(work: () => Promise<void>): Promise<number> {
  const start = process.memoryUsage().rss;
  let most = start;
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryUsage().rss);
  }, 10);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  return most - start;
}

describe('names that lead elsewhere', () => {
  for (const [path, code] of [
    ['/v2/../../etc/passwd/manifests/x', 'NAME_INVALID'],
    ['/v2/a/../b/manifests/x', 'NAME_INVALID'],
    ['/v2/a/%2e%2e/%2e%2e/manifests/x', 'NAME_INVALID'],
    ['/v2/a%2fb/manifests/x', 'NAME_INVALID'],
    ['/v2/a/..%2f..%2fetc/manifests/x', 'NAME_INVALID'],
    ['/v2/a//b/manifests/x', 'NAME_INVALID'],
    ['/v2/./manifests/x', 'NAME_INVALID'],
    ['/v2/_catalog/manifests/x', 'NAME_INVALID'],
    ['/v2/a/_manifests/manifests/x', 'NAME_INVALID'],
    ['/v2/a/b/manifests/..', 'MANIFEST_UNKNOWN'],
    ['/v2/a/b/manifests/..%2f..%2fx', 'MANIFEST_UNKNOWN'],
    ['/v2/a/b/manifests/%00', 'MANIFEST_UNKNOWN'],
    ['/v2/a/b/manifests/%zz', 'MANIFEST_UNKNOWN'],
    [`/v2/a/b/manifests/sha256:${'../'.repeat(20)}`, undefined],
    ['/v2/a/b/manifests/sha256:..%2f..%2f', 'DIGEST_INVALID'],
    [`/v2/a/b/blobs/sha256:${HEX}%2f..`, 'DIGEST_INVALID'],
    ['/v2/a/b/blobs/md5:d41d8cd98f00b204e9800998ecf8427e', 'DIGEST_INVALID'],
    [`/v2/a/b/blobs/sha256:${HEX.toUpperCase()}`, 'DIGEST_INVALID'],
    [`/v2/${'a'.repeat(300)}/manifests/x`, 'NAME_INVALID'],
    [`/v2/${'a/'.repeat(2000)}manifests/x`, undefined],
    [`/v2/a/b/manifests/${'t'.repeat(129)}`, 'MANIFEST_UNKNOWN'],
    ['/v2/a/b/blobs/uploads/..', undefined],
    ['/v2/a/b/blobs/uploads/%2e%2e%2f%2e%2e', undefined],
    ['http://elsewhere.example/v2/', undefined],
    ['//elsewhere.example/v2/', undefined],
  ] as const) {
    for (const method of ['GET', 'PUT', 'DELETE']) {
      test(`${method} ${path.length > 60 ? `${path.slice(0, 60)}…` : path}`, async () => {
        const answer = await raw(
          `${method} ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
        );
        assert.ok(answer.status >= 400 && answer.status < 500, String(answer.status));
        if (code !== undefined && method === 'GET') assert.equal(answer.code, code);
        else assert.notEqual(answer.code, undefined, answer.body);
      });
    }
  }

  test('nothing was made of all that', async () => {
    assert.equal((await rig.storage.listDocuments('repositories/')).keys.length, 0);
    assert.ok(!existsSync(`${rig.directory}/../etc`));
  });
});

describe('requests that are two things', () => {
  const start = 'POST /v2/a/b/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n';
  for (const [name, headers] of [
    ['Content-Length and Transfer-Encoding', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n'],
    ['Transfer-Encoding and Content-Length', 'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n'],
    ['two lengths', 'Content-Length: 5\r\nContent-Length: 6\r\n'],
    ['a list of lengths', 'Content-Length: 5, 6\r\n'],
    ['a negative length', 'Content-Length: -1\r\n'],
    ['a length that is no number', 'Content-Length: 0x10\r\n'],
    ['an endless length', 'Content-Length: 99999999999999999999999\r\n'],
    ['chunked, but not last', 'Transfer-Encoding: chunked, identity\r\n'],
    ['an unknown encoding', 'Transfer-Encoding: xchunked\r\n'],
    ['a space before the colon', 'Transfer-Encoding : chunked\r\n'],
    ['a folded header', 'Transfer-Encoding:\r\n chunked\r\n'],
    ['a bare line feed', 'X: y\nTransfer-Encoding: chunked\r\n'],
    ['a NUL', 'X: a\0b\r\n'],
  ] as const) {
    test(name, async () => {
      const text = await sendRaw(rig.port, `${start}${headers}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n`, {
        wait: 5000,
      });
      assert.ok(!text.includes('smuggled') && !text.includes('404'), text);
      const { status, code } = parseRaw(text);
      assert.equal(status, 400);
      assert.equal(code, 'BAD_REQUEST');
      assert.ok(!rig.log.some(({ path }) => path === '/smuggled'));
    });
  }

  for (const [name, text] of [
    ['no HTTP', 'hello\r\n\r\n'],
    ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['no Host', 'GET /v2/ HTTP/1.1\r\n\r\n'],
    ['chunks that are none', `${start}Transfer-Encoding: chunked\r\n\r\nzz\r\n`],
  ] as const) {
    test(name, async () => {
      assert.equal((await raw(text)).status, 400);
    });
  }
});

describe('time', () => {
  test('headers that come a byte at a time', async () => {
    const text = await trickle('GET /v2/ HTTP/1.1\r\nHost: x\r\n', 'X: y\r\n');
    assert.deepEqual(pick(text), { status: 408, code: 'REQUEST_TIMEOUT' });
  });

  test('a body that comes a byte at a time', async () => {
    const before = await uploads();
    const text = await trickle(
      `POST /v2/a/b/blobs/uploads/?digest=sha256:${HEX} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 100000\r\n\r\n`,
      'x',
    );
    assert.deepEqual(pick(text), { status: 408, code: 'REQUEST_TIMEOUT' });
    await settle(async () => (await uploads()) === before);
  });

  test('a body that stops', async () => {
    const text = await sendRaw(
      rig.port,
      `PUT /v2/a/b/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\nContent-Length: 1000\r\n\r\n{`,
    );
    assert.deepEqual(pick(text), { status: 408, code: 'REQUEST_TIMEOUT' });
  });

  test('a connection that says nothing', async () => {
    const start = performance.now();
    await sendRaw(rig.port, '');
    assert.ok(performance.now() - start < PATIENCE_MS);
  });

  test('a client that asks and does not read', async () => {
    const { digest } = await pushImage(rig.url, 'time/app', 'v1', { size: 32 * MiB });
    const socket = connect(rig.port, '127.0.0.1');
    const start = performance.now();
    const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
    socket.on('error', () => {});
    socket.write(`GET /v2/time/app/blobs/${digest} HTTP/1.1\r\nHost: x\r\n\r\n`);
    socket.pause();
    await settle(() => rig.log.some(({ route, aborted, method }) => route === 'blob' && aborted && method === 'GET'));
    assert.ok(performance.now() - start < PATIENCE_MS);
    socket.destroy();
    await closed;
  });

  test('hundreds that are slow do not keep the others waiting', async () => {
    const slow: Socket[] = [];
    for (let i = 0; i < 400; i++) {
      const socket = connect(rig.port, '127.0.0.1');
      socket.on('error', () => {});
      socket.resume();
      socket.write('GET /v2/ HTTP/1.1\r\nX: ');
      slow.push(socket);
    }
    const start = performance.now();
    assert.equal((await ask(`${rig.url}/v2/`)).status, 200);
    assert.ok(performance.now() - start < PATIENCE_MS);
    await settle(() => slow.every((socket) => socket.closed));
    for (const socket of slow) socket.destroy();
  });

  function pick(text: string): { status: number; code: string | undefined } {
    const { status, code } = parseRaw(text);
    return { status, code };
  }

  /** Sends `head`, and `drop` again and again, until the server has had enough. */
  function trickle(head: string, drop: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(rig.port, '127.0.0.1');
      let text = '';
      socket.write(head);
      const timer = setInterval(() => socket.writable && socket.write(drop), 50);
      const late = setTimeout(() => reject(new Error('the server is patient')), PATIENCE_MS);
      socket.on('data', (chunk) => (text += chunk));
      socket.on('error', () => {});
      socket.on('close', () => {
        clearInterval(timer);
        clearTimeout(late);
        resolve(text);
      });
    });
  }
});

describe('sizes', () => {
  test('headers without end', async () => {
    const { status, code } = await raw(
      `GET /v2/ HTTP/1.1\r\nHost: x\r\n${'X-Filler: yyyyyyyyyyyyyyyyyyyyyyy\r\n'.repeat(10_000)}\r\n`,
    );
    assert.equal(status, 431);
    assert.equal(code, 'HEADERS_TOO_LARGE');
  });

  test('a path of a megabyte', async () => {
    const { status } = await raw(`GET /v2/${'a'.repeat(MiB)} HTTP/1.1\r\nHost: x\r\n\r\n`);
    assert.equal(status, 431);
  });

  for (const announced of [true, false]) {
    test(`a manifest of 1 GB, ${announced ? 'announced' : 'in chunks'}`, async () => {
      const body = Buffer.alloc(MiB, ' ');
      const head = announced ? `Content-Length: ${1024 * MiB}\r\n` : 'Transfer-Encoding: chunked\r\n';
      let answer: Raw | undefined;
      const grown = await measure(async () => {
        answer = parseRaw(
          await pour(
            `PUT /v2/a/b/manifests/huge HTTP/1.1\r\nHost: x\r\nContent-Type: application/vnd.oci.image.manifest.v1+json\r\n${head}\r\n`,
            announced ? body : Buffer.concat([Buffer.from('100000\r\n'), body, Buffer.from('\r\n')]),
            1024,
          ),
        );
      });
      assert.equal(answer!.status, 413);
      assert.equal(answer!.code, 'SIZE_INVALID');
      assert.ok(grown < 100 * MiB, `${grown / MiB} MiB`);
      assert.equal((await ask(`${rig.url}/v2/a/b/manifests/huge`)).status, 404);
    });

    test(`a blob over the limit, ${announced ? 'announced' : 'in chunks'}`, async () => {
      const url = new URL(await openUpload());
      const body = Buffer.alloc(MiB, 'x');
      const head = announced ? `Content-Length: ${256 * MiB}\r\n` : 'Transfer-Encoding: chunked\r\n';
      let answer: Raw | undefined;
      const grown = await measure(async () => {
        answer = parseRaw(
          await pour(
            `PATCH ${url.pathname}${url.search} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n${head}\r\n`,
            announced ? body : Buffer.concat([Buffer.from('100000\r\n'), body, Buffer.from('\r\n')]),
            256,
          ),
        );
      });
      assert.equal(answer!.status, 413);
      assert.ok(grown < 100 * MiB, `${grown / MiB} MiB`);
      await ask(url.href, { method: 'DELETE' });
    });
  }

  test('a blob over the limit in many small chunks', async () => {
    let url = await openUpload();
    const chunk = Buffer.alloc(16 * MiB);
    let status = 0;
    for (let at = 0; at < 10 && status < 400; at++) {
      const answer = await patch(url, chunk, `${at * chunk.length}-${(at + 1) * chunk.length - 1}`);
      status = answer.status;
      if (status === 202) url = `${rig.url}${answer.headers.location}`;
      else assert.equal(codeOf(answer), 'SIZE_INVALID');
    }
    assert.equal(status, 413);
    await ask(url, { method: 'DELETE' });
  });

  test('pushes of 100 MB in all: memory stays flat', async () => {
    const grown = await measure(async () => {
      await Promise.all(
        Array.from({ length: 4 }, (_, i) => pushImage(rig.url, `flat/app${i}`, 'v1', { size: 25 * MiB })),
      );
    });
    // The four clients hold their 25 MiB in this very process.
    assert.ok(grown < 4 * 25 * MiB + 150 * MiB, `${grown / MiB} MiB`);
  });

  /** Writes `part` up to `times` times, and resolves with what came back; goes on where the server hangs up. */
  function pour(head: string, part: Buffer, times: number): Promise<string> {
    return new Promise((resolve) => {
      const socket = connect(rig.port, '127.0.0.1');
      let text = '';
      let left = times;
      socket.on('data', (chunk) => (text += chunk));
      socket.on('error', () => {});
      socket.on('close', () => resolve(text));
      const more = (): void => {
        while (left-- > 0 && !socket.destroyed) if (!socket.write(part)) return void socket.once('drain', more);
        if (!socket.destroyed) socket.end();
      };
      socket.write(head, more);
    });
  }
});

describe('lengths and digests that are not so', () => {
  const blob = randomBytes(1000);

  test('fewer bytes than announced, then the end of the connection', async () => {
    const text = await new Promise<string>((resolve) => {
      const socket = connect({ port: rig.port, host: '127.0.0.1', allowHalfOpen: true });
      let got = '';
      socket.on('data', (chunk) => (got += chunk));
      socket.on('error', () => {});
      socket.on('close', () => resolve(got));
      socket.on('end', () => socket.destroy());
      socket.end(
        `POST /v2/a/b/blobs/uploads/?digest=${sha256(blob)} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 1000\r\n\r\nxxxx`,
      );
    });
    assert.ok(text === '' || parseRaw(text).status === 400, text);
    assert.equal(await rig.storage.statBlob(sha256(blob)), undefined);
  });

  test('more bytes than announced are another request, and none', async () => {
    const text = await sendRaw(
      rig.port,
      Buffer.concat([
        Buffer.from(
          `POST /v2/a/b/blobs/uploads/?digest=${sha256(blob)} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: 10\r\n\r\n`,
        ),
        blob,
      ]),
      { wait: 4000 },
    );
    assert.ok(/^HTTP\/1\.1 400/.test(text), text.slice(0, 100));
    assert.equal(await rig.storage.statBlob(sha256(blob)), undefined);
  });

  test('a digest of other bytes', async () => {
    for (const digest of [sha256('other'), `sha512:${'0'.repeat(128)}`]) {
      const url = await openUpload();
      const first = await patch(url, blob);
      const answer = await ask(withDigest(`${rig.url}${first.headers.location}`, digest), { method: 'PUT' });
      assert.equal(answer.status, 400);
      assert.equal(codeOf(answer), 'DIGEST_INVALID');
      assert.equal(await rig.storage.statBlob(digest as `sha256:${string}`), undefined);
    }
    assert.equal(await rig.storage.statBlob(sha256(blob)), undefined);
  });

  for (const digest of [
    '',
    'sha256',
    'sha256:',
    'sha256:xyz',
    `md5:${HEX}`,
    '../../x',
    '%00',
    `sha256:${HEX.toUpperCase()}`,
  ]) {
    test(`the digest ${JSON.stringify(digest)}`, async () => {
      const url = await openUpload();
      const answer = await ask(withDigest(url, digest), { method: 'PUT', body: blob, headers: OCTETS });
      assert.equal(answer.status, 400);
      assert.equal(codeOf(answer), 'DIGEST_INVALID');
      await ask(url, { method: 'DELETE' });
    });
  }

  test('a manifest under the digest of another', async () => {
    const body = '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}';
    const answer = await ask(`${rig.url}/v2/a/b/manifests/sha256:${HEX}`, {
      method: 'PUT',
      body,
      headers: { 'content-type': 'application/vnd.oci.image.index.v1+json' },
    });
    assert.equal(answer.status, 400);
    assert.equal(codeOf(answer), 'DIGEST_INVALID');
    assert.equal(await rig.storage.statBlob(`sha256:${HEX}`), undefined);
  });

  for (const [name, body] of [
    ['no JSON', 'hello'],
    ['an array', '[]'],
    ['deep nesting', '['.repeat(1_000_000)],
    ['a NUL', '{"schemaVersion":2,\0}'],
    ['a size below zero', manifestWith({ size: -1 })],
    ['a size that is text', manifestWith({ size: '1' })],
    ['a digest that is a path', manifestWith({ digest: 'sha256:../../etc/passwd' })],
    ['layers that are not there', manifestWith({})],
  ] as const) {
    test(`a manifest: ${name}`, async () => {
      const answer = await ask(`${rig.url}/v2/a/b/manifests/bad`, {
        method: 'PUT',
        body,
        headers: { 'content-type': 'application/vnd.oci.image.manifest.v1+json' },
      });
      assert.ok(answer.status === 400 || answer.status === 404, String(answer.status));
      assert.match(codeOf(answer)!, /^(?:MANIFEST_INVALID|MANIFEST_BLOB_UNKNOWN)$/);
      assert.equal((await ask(`${rig.url}/v2/a/b/manifests/bad`)).status, 404);
    });
  }

  function manifestWith(layer: object): string {
    return JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: `sha256:${HEX}`, size: 2 },
      layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: `sha256:${HEX}`, size: 1, ...layer }],
    });
  }
});

describe('chunks', () => {
  const bytes = randomBytes(3000);
  const part = (from: number, to: number): Buffer => bytes.subarray(from, to);

  for (const [name, range] of [
    ['a gap', '2000-2999'],
    ['a repetition', '0-999'],
    ['an overlap', '500-1499'],
    ['a range of another length', '1000-1005'],
    ['a range backwards', '1999-1000'],
    ['a range that is none', 'one-two'],
    ['a huge range', '99999999999999999999-99999999999999999999'],
  ] as const) {
    test(`${name} is 416 or 400, and the upload goes on where it was`, async () => {
      const first = await patch(await openUpload(), part(0, 1000), '0-999');
      assert.equal(first.status, 202);
      const url = `${rig.url}${first.headers.location}`;
      const wrong = await patch(url, part(1000, 2000), range);
      assert.ok(wrong.status === 416 || wrong.status === 400, String(wrong.status));
      const status = await ask(url);
      assert.equal(status.status, 204);
      assert.equal(status.headers.range, '0-999');
      const second = await patch(url, part(1000, 3000), '1000-2999');
      assert.equal(second.status, 202);
      const put = await ask(withDigest(`${rig.url}${second.headers.location}`, sha256(bytes)), { method: 'PUT' });
      assert.equal(put.status, 201);
    });
  }

  test('two chunks at once: one is taken, and no byte of the other', async () => {
    for (let round = 0; round < 5; round++) {
      const url = await openUpload('race/app');
      const [one, two] = [Buffer.alloc(2 * MiB, 1), Buffer.alloc(2 * MiB, 2)];
      const answers = await Promise.all([
        patch(url, one, `0-${one.length - 1}`),
        patch(url, two, `0-${two.length - 1}`),
      ]);
      const taken = answers.filter(({ status }) => status === 202);
      assert.equal(taken.length, 1, answers.map(({ status }) => status).join());
      const which = answers[0]!.status === 202 ? one : two;
      const put = await ask(withDigest(`${rig.url}${taken[0]!.headers.location}`, sha256(which)), { method: 'PUT' });
      assert.equal(put.status, 201);
    }
  });

  test('two ends at once', async () => {
    const first = await patch(await openUpload(), bytes);
    const url = withDigest(`${rig.url}${first.headers.location}`, sha256(bytes));
    const answers = await Promise.all([ask(url, { method: 'PUT' }), ask(url, { method: 'PUT' })]);
    assert.ok(answers.some(({ status }) => status === 201));
    assert.ok(answers.every(({ status }) => status < 500));
  });

  test('an upload of another repository, or of nobody', async () => {
    const url = await openUpload('mine/app');
    const stolen = url.replace('/mine/app/', '/other/app/');
    for (const method of ['GET', 'PATCH', 'PUT', 'DELETE']) {
      const answer = await ask(method === 'PUT' ? withDigest(stolen, sha256('')) : stolen, { method, headers: OCTETS });
      assert.equal(answer.status, 404, method);
      assert.equal(codeOf(answer), 'BLOB_UPLOAD_UNKNOWN');
    }
    assert.equal((await ask(url, { method: 'DELETE' })).status, 204);
    assert.equal((await ask(url)).status, 404);
  });
});

describe('going away', () => {
  test('in the middle of a chunk: the upload can go on from what is durable', async () => {
    const bytes = randomBytes(4 * MiB);
    const url = new URL(await openUpload('away/app'));
    await new Promise<void>((resolve) => {
      const socket = connect(rig.port, '127.0.0.1');
      socket.on('error', () => {});
      socket.on('close', () => resolve());
      socket.write(
        `PATCH ${url.pathname} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nContent-Length: ${bytes.length}\r\n\r\n`,
      );
      socket.write(bytes.subarray(0, 2 * MiB), () => setTimeout(() => socket.destroy(), 100));
    });
    await settle(() => rig.log.some(({ method, repository }) => method === 'PATCH' && repository === 'away/app'));
    const status = await ask(url.href);
    const range = /^0-(\d+)$/.exec(status.headers.range as string);
    const at = range === null || status.headers.range === '0-0' ? 0 : Number(range[1]) + 1;
    assert.ok(at <= 2 * MiB);
    const answer = await patch(url.href, bytes.subarray(at), `${at}-${bytes.length - 1}`);
    assert.equal(answer.status, 202, answer.body.toString());
    const put = await ask(withDigest(`${rig.url}${answer.headers.location}`, sha256(bytes)), { method: 'PUT' });
    assert.equal(put.status, 201, put.body.toString());
    assert.ok((await ask(`${rig.url}/v2/away/app/blobs/${sha256(bytes)}`)).body.equals(bytes));
  });

  test('in the middle of a push in one request, and of a manifest: nothing is stored', async () => {
    const bytes = randomBytes(MiB);
    for (const head of [
      `POST /v2/away/gone/blobs/uploads/?digest=${sha256(bytes)} HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream`,
      'PUT /v2/away/gone/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Type: application/vnd.oci.image.manifest.v1+json',
    ]) {
      await new Promise<void>((resolve) => {
        const socket = connect(rig.port, '127.0.0.1');
        socket.on('error', () => {});
        socket.on('close', () => resolve());
        socket.write(`${head}\r\nContent-Length: ${bytes.length}\r\n\r\n`);
        socket.write(bytes.subarray(0, 500_000), () => setTimeout(() => socket.resetAndDestroy(), 50));
      });
    }
    await settle(async () => (await ask(`${rig.url}/metrics`)).body.toString().includes('in_flight 1'));
    assert.equal(await rig.storage.statBlob(sha256(bytes)), undefined);
    const { keys } = await rig.storage.listDocuments('repositories/away/gone/');
    assert.deepEqual(keys, []);
  });

  test('hundreds of downloads that are broken off leave no descriptor open', async () => {
    const { digest } = await pushImage(rig.url, 'away/app', 'v1', { size: 8 * MiB });
    const before = readdirSync('/proc/self/fd').length;
    for (let i = 0; i < 10; i++) {
      await Promise.all(
        Array.from({ length: 20 }, async () => {
          const socket = connect(rig.port, '127.0.0.1');
          socket.on('error', () => {});
          socket.write(`GET /v2/away/app/blobs/${digest} HTTP/1.1\r\nHost: x\r\n\r\n`);
          await new Promise((resolve) => socket.once('data', resolve));
          socket.resetAndDestroy();
        }),
      );
    }
    await settle(() => readdirSync('/proc/self/fd').length <= before + 5);
  });
});

test('10,000 uploads left open: beyond the limit 429, and others can still push', async () => {
  const own = await lab.serve('limits: { openUploads: 500, openUploadsPerRepository: 300 }');
  const statuses = new Map<number, number>();
  const open = async (repository: string): Promise<Answer> => {
    const answer = await ask(`${own.url}/v2/${repository}/blobs/uploads/`, { method: 'POST' });
    statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
    return answer;
  };
  const grown = await measure(async () => {
    for (let i = 0; i < 10_000; i += 50) await Promise.all(Array.from({ length: 50 }, () => open('flood/app')));
  });
  assert.deepEqual(Object.fromEntries(statuses), { 202: 300, 429: 9700 });
  assert.ok(grown < 200 * MiB, `${grown / MiB} MiB`);
  const refused = await open('flood/app');
  assert.equal(codeOf(refused), 'TOOMANYREQUESTS');
  assert.ok(Number(refused.headers['retry-after']) > 0);
  assert.equal((await open('calm/app')).status, 202);
});

test('after all that the registry serves, and everything in it is what it says', async () => {
  const { layer, digest, manifest } = await pushImage(rig.url, 'last/app', 'v1', { size: MiB });
  assert.ok((await ask(`${rig.url}/v2/last/app/blobs/${digest}`)).body.equals(layer));
  assert.ok((await ask(`${rig.url}/v2/last/app/manifests/v1`)).body.equals(manifest));
  let after: string | undefined;
  do {
    const page = await rig.storage.listBlobs(after === undefined ? {} : { after });
    for (const name of page.digests) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of (await rig.storage.openBlob(name))!.stream) chunks.push(chunk);
      assert.equal(sha256(Buffer.concat(chunks)), name);
    }
    after = page.next;
  } while (after !== undefined);
  assert.ok(
    !rig.log.some(({ level }) => level === 'error'),
    JSON.stringify(rig.log.find(({ level }) => level === 'error')),
  );
});

async function settle(what: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  while (!(await what())) {
    if (Date.now() > end) throw new Error(`not so: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}
