import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, it, describe as suite } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { isImagoError } from '../../src/core/errors.ts';
import { type ImportOptions, importImage } from '../../src/engine/import.ts';
import type { Image } from '../../src/image/image.ts';
import { resolveImage } from '../../src/image/resolve.ts';
import type { Store } from '../../src/store/store.ts';
import { chunks, inFlight, Lab, noise, sha256 } from './lab.ts';

let lab: Lab;
let tar: Buffer;
before(() => {
  lab = new Lab();
  tar = lab.tar(lab.tree('root', { 'etc/os-release': 'ID=sample\n', 'usr/noise': noise(1 << 20) }));
});
after(() => lab[Symbol.dispose]());

async function bring(
  source: string | AsyncIterable<Uint8Array>,
  options?: ImportOptions,
): Promise<{ store: Store; image: Image }> {
  const store = lab.store();
  const { id } = await importImage(store, source, options);
  assert.deepEqual(inFlight(store), []);
  return { store, image: resolveImage(store, id) };
}

suite('any compression, from a file or a stream: the same layer', () => {
  const tools: Record<string, (input: Buffer) => Buffer> = {
    plain: (b) => b,
    gzip: (b) => gzipSync(b),
    zstd: (b) => zstdCompressSync(b),
    xz: (input) => execFileSync('xz', ['-c'], { input, maxBuffer: 1 << 28 }),
    bzip2: (input) => execFileSync('bzip2', ['-c'], { input, maxBuffer: 1 << 28 }),
  };
  for (const [name, pack] of Object.entries(tools)) {
    const external = name === 'xz' || name === 'bzip2';
    const skip = external && spawnSync(name, ['--version']).error ? `${name} is not installed` : undefined;
    it(name, { skip }, async () => {
      const packed = pack(tar);
      writeFileSync(lab.path('packed'), packed);
      for (const source of [lab.path('packed'), chunks(packed), chunks(packed, 1000)]) {
        const { store, image } = await bring(source, { reference: 'sample:1' });
        assert.deepEqual(image.diffIds, [sha256(tar)]);
        assert.deepEqual(image.manifest.layers, [
          { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: sha256(tar), size: tar.length },
        ]);
        assert.deepEqual(
          store.listRefs().map((r) => r.reference),
          ['docker.io/library/sample:1'],
        );
      }
    });
  }
});

suite('the image', () => {
  it('has what --change says, and one line of history', async () => {
    const changes = [
      'ENV A=1 B="two words"',
      'ENV C=$A-$B',
      'ENTRYPOINT ["/bin/app"]',
      'CMD echo hi',
      'EXPOSE 80 53/udp',
      'USER nobody:nogroup',
      'WORKDIR /srv',
      'WORKDIR sub',
      'LABEL org.example="x y"',
      'VOLUME /data',
      'STOPSIGNAL SIGQUIT',
      'ONBUILD RUN make',
    ];
    const { image } = await bring(chunks(tar), { changes, message: 'a base' });
    assert.deepEqual(image.config.config, {
      Env: ['A=1', 'B=two words', 'C=1-two words'],
      Entrypoint: ['/bin/app'],
      Cmd: ['/bin/sh', '-c', 'echo hi'],
      ExposedPorts: { '80/tcp': {}, '53/udp': {} },
      User: 'nobody:nogroup',
      WorkingDir: '/srv/sub',
      Labels: { 'org.example': 'x y' },
      Volumes: { '/data': {} },
      StopSignal: 'SIGQUIT',
      OnBuild: ['RUN make'],
    });
    assert.equal(image.config.history?.length, 1);
    assert.equal(image.config.history?.[0]?.comment, 'a base');
  });

  it('says where it came from, and for which platform', async () => {
    const { store, image } = await bring(chunks(tar), {
      platform: { os: 'linux', architecture: 'arm', variant: 'v7' },
    });
    assert.deepEqual(image.platform, { os: 'linux', architecture: 'arm', variant: 'v7' });
    assert.equal(image.config.history?.[0]?.comment, 'Imported from -');
    assert.deepEqual(image.references, [], 'no name, and no garbage');
    assert.equal(store.listRefs().length, 1);
  });

  it('is the same each time with SOURCE_DATE_EPOCH', async () => {
    process.env.SOURCE_DATE_EPOCH = '1700000000';
    try {
      const { image } = await bring(chunks(tar));
      assert.equal(image.config.created, '2023-11-14T22:13:20.000Z');
      assert.equal((await bring(chunks(gzipSync(tar)))).image.id, image.id);
    } finally {
      delete process.env.SOURCE_DATE_EPOCH;
    }
  });
});

it('an import from a URL, and what a server may answer', async () => {
  const server = createServer((request, response) => {
    if (request.url === '/root.tar.gz') response.end(gzipSync(tar));
    else response.writeHead(404).end('no');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    const { image } = await bring(`${url}/root.tar.gz`);
    assert.deepEqual(image.diffIds, [sha256(tar)]);
    assert.equal(image.config.history?.[0]?.comment, `Imported from ${url}/root.tar.gz`);
    await assert.rejects(importImage(lab.store(), `${url}/none`), (e) => {
      assert.ok(isImagoError(e, 'DOWNLOAD_FAILED'));
      assert.match(e.message, /404/);
      return true;
    });
  } finally {
    server.closeAllConnections();
    server.close();
  }
  await assert.rejects(importImage(lab.store(), `${url}/root.tar.gz`), (e) => isImagoError(e, 'DOWNLOAD_FAILED'));
});

suite('what is wrong is told, and leaves nothing', () => {
  const cases: [string, string, () => [string | AsyncIterable<Uint8Array>, ImportOptions?]][] = [
    ['a name that is none', 'BAD_REFERENCE', () => [chunks(tar), { reference: 'No Name' }]],
    ['a name with a digest', 'BAD_REFERENCE', () => [chunks(tar), { reference: `a@${sha256(tar)}` }]],
    ['a change that is none', 'BAD_CHANGE', () => [chunks(tar), { changes: ['CMDD x'] }]],
    ['a change that makes a layer', 'BAD_CHANGE', () => [chunks(tar), { changes: ['RUN true'] }]],
    ['a FROM as a change', 'BAD_CHANGE', () => [chunks(tar), { changes: ['FROM x'] }]],
    ['a port that is none', 'BAD_CHANGE', () => [chunks(tar), { changes: ['EXPOSE http'] }]],
    ['a file that is not there', 'NO_SUCH_FILE', () => [lab.path('none')]],
    ['a directory', 'NOT_AN_ARCHIVE', () => [lab.dir]],
    ['no tar', 'TAR_BAD_CHECKSUM', () => [chunks(noise(600_000))]],
    ['nothing', 'TAR_TRUNCATED', () => [chunks(new Uint8Array(0))]],
    ['a tar cut short', 'TAR_TRUNCATED', () => [chunks(tar.subarray(0, 600_000))]],
    ['a gzip cut short', 'TRUNCATED_COMPRESSED', () => [chunks(gzipSync(tar).subarray(0, 600_000))]],
  ];
  for (const [name, code, make] of cases) {
    it(name, async () => {
      const store = lab.store();
      const [source, options] = make();
      await assert.rejects(importImage(store, source, { reference: 'x:1', ...options }), (e) => {
        assert.ok(isImagoError(e, code), String(e));
        return true;
      });
      assert.deepEqual([store.listRefs(), inFlight(store)], [[], []]);
    });
  }

  it('a signal in the middle', async () => {
    const store = lab.store();
    const stop = new AbortController();
    async function* stopping(): AsyncGenerator<Uint8Array> {
      yield tar.subarray(0, 900_000);
      stop.abort(new Error('stopped'));
      await new Promise((resolve) => setImmediate(resolve));
      yield tar.subarray(900_000);
    }
    await assert.rejects(importImage(store, stopping(), { signal: stop.signal, reference: 'x:1' }), /stopped/);
    assert.deepEqual([store.listRefs(), inFlight(store)], [[], []]);
  });

  it('an xz archive where xz is missing: names the package', async () => {
    mkdirSync(lab.path('no-tools'));
    const path = process.env.PATH;
    process.env.PATH = lab.path('no-tools');
    try {
      const xz = Buffer.concat([Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]), noise(100)]);
      await assert.rejects(importImage(lab.store(), chunks(xz)), (e) => {
        assert.ok(isImagoError(e, 'TOOL_MISSING'), String(e));
        assert.match(e.message, /apt-get install xz-utils/);
        return true;
      });
    } finally {
      process.env.PATH = path;
    }
  });
});
