import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { request } from 'node:http';
import { after, before, beforeEach, describe, test } from 'node:test';
import type { Digest } from '../../src/core/digest.ts';
import { serveRegistry } from '../../src/engine/registry-serve.ts';
import { MEDIA_TYPES } from '../../src/oci/media-types.ts';
import { Log } from '../../src/registry/server/log.ts';
import { createProxy } from '../../src/registry/server/proxy.ts';
import type { RunningRegistry } from '../../src/registry/server/serve.ts';
import { openFileStorage } from '../../src/registry/storage/files.ts';
import type { RegistryStorage } from '../../src/registry/storage/storage.ts';
import { until } from '../until.ts';
import { FakeUpstream } from './fake-upstream.ts';
import { ask, codeOf, pushImage, type Rig, ServeLab, sha256 } from './serve-lab.ts';

let lab: ServeLab;
before(() => {
  lab = new ServeLab();
});
after(() => lab[Symbol.asyncDispose]());

/** Its link is written last. */
async function isKept(storage: RegistryStorage, repository: string, digest: string): Promise<boolean> {
  return (await storage.readDocument(`repositories/${repository}/_blobs/${digest.replace(':', '/')}`)) !== undefined;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('a pull-through cache', () => {
  let upstream: FakeUpstream;
  let log: string[];
  let storage: RegistryStorage;
  let rig: Rig;
  let count = 0;

  async function serve(ttl = 0): Promise<void> {
    upstream = new FakeUpstream();
    storage = await openFileStorage(`${lab.directory}/cache-${count++}`);
    log = [];
    const proxy = createProxy({
      storage,
      upstream,
      log: new Log({ format: 'json', write: (line) => log.push(line) }),
      ttl,
      spool: lab.directory,
      blobBytes: 1 << 30,
    });
    rig = await lab.serve('readOnly: true', { storage, proxy });
  }
  beforeEach(() => serve());
  const get = (path: string): ReturnType<typeof ask> => ask(`${rig.url}/v2/library/app/${path}`);
  /** Keeping a blob goes on behind the answer. */
  async function untilKept(digest: Digest): Promise<void> {
    await until('the blob is kept', () => isKept(storage, 'library/app', digest));
  }

  test('manifest and blobs come from upstream once', async () => {
    const { layer, digest, manifest, manifestDigest } = upstream.add('v1', 1_000_000);
    for (let i = 0; i < 3; i++) {
      const answer = await get('manifests/v1');
      assert.equal(answer.status, 200);
      assert.deepEqual(answer.body, manifest);
      assert.equal(answer.headers['docker-content-digest'], manifestDigest);
      assert.equal(answer.headers['content-type'], MEDIA_TYPES.manifest);
      assert.deepEqual((await get(`blobs/${digest}`)).body, layer);
      await untilKept(digest);
    }
    assert.deepEqual(upstream.asked, { head: 3, manifest: 1, stat: 1, blob: 1 });
    assert.equal((await ask(`${rig.url}/v2/_catalog`)).body.toString().trim(), '{"repositories":["library/app"]}');
  });

  test('within the TTL a tag is not asked again', async () => {
    await serve(60_000);
    upstream.add('v1', 10);
    for (let i = 0; i < 3; i++) assert.equal((await get('manifests/v1')).status, 200);
    assert.equal(upstream.asked.head, 1);
  });

  test('a tag that moved upstream moves here', async () => {
    upstream.add('v1', 10);
    await get('manifests/v1');
    const { manifest } = upstream.add('v1', 20);
    assert.deepEqual((await get('manifests/v1')).body, manifest);
    upstream.tags.delete('v1');
    assert.equal((await get('manifests/v1')).status, 404);
  });

  test('a dead upstream: what is here is answered, what is not is 503 with the reason', async () => {
    const { manifest, digest } = upstream.add('v1', 10);
    const other = upstream.add('v2', 10);
    await get('manifests/v1');
    await get(`blobs/${digest}`);
    await untilKept(digest);
    upstream.dead = true;
    assert.deepEqual((await get('manifests/v1')).body, manifest);
    assert.equal((await get(`blobs/${digest}`)).status, 200);
    const { head } = upstream.asked;
    assert.equal((await get('manifests/v1')).status, 200);
    assert.equal(upstream.asked.head, head, 'not asked again at once');
    for (const path of ['manifests/v2', `manifests/${other.manifestDigest}`, `blobs/${other.digest}`]) {
      const answer = await get(path);
      assert.equal(answer.status, 503);
      assert.equal(codeOf(answer), 'UNAVAILABLE');
      assert.match(answer.body.toString(), /upstream\.example/);
    }
  });

  test('what upstream does not have is 404', async () => {
    for (const [path, code] of [
      ['manifests/none', 'MANIFEST_UNKNOWN'],
      [`manifests/${sha256('none')}`, 'MANIFEST_UNKNOWN'],
      [`blobs/${sha256('none')}`, 'BLOB_UNKNOWN'],
    ] as const) {
      const answer = await get(path);
      assert.equal(answer.status, 404);
      assert.equal(codeOf(answer), code);
    }
  });

  test('many clients, quick and slow ones, share one download', async () => {
    const { layer, digest } = upstream.add('v1', 3_000_000);
    upstream.pause = 5;
    const bodies = await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        await sleep(i * 10);
        return (await get(`blobs/${digest}`)).body;
      }),
    );
    for (const body of bodies) assert.ok(body.equals(layer));
    assert.equal(upstream.asked.blob, 1);
    await untilKept(digest);
  });

  test('the download goes on when its client goes away', async () => {
    const { digest } = upstream.add('v1', 3_000_000);
    upstream.pause = 5;
    await new Promise<void>((resolve) => {
      const req = request(`${rig.url}/v2/library/app/blobs/${digest}`, { agent: false }, (res) => {
        res.once('data', () => {
          res.destroy();
          resolve();
        });
        res.on('error', () => {});
      });
      req.on('error', () => {});
      req.end();
    });
    await untilKept(digest);
    assert.equal((await get(`blobs/${digest}`)).status, 200);
    assert.equal(upstream.asked.blob, 1);
  });

  for (const [name, lie] of [
    ['other bytes', (blob: Buffer) => Buffer.alloc(blob.length)],
    ['too few bytes', (blob: Buffer) => blob.subarray(0, -1)],
    ['too many bytes', (blob: Buffer) => Buffer.concat([blob, Buffer.alloc(1)])],
    ['nothing', () => Buffer.alloc(0)],
  ] as const) {
    test(`an upstream that sends ${name}: no client sees a whole blob, and nothing is kept`, async () => {
      const { digest, layer } = upstream.add('v1', 200_000);
      upstream.lie = lie;
      const answer = await get(`blobs/${digest}`).catch((error: NodeJS.ErrnoException) => error.code);
      assert.ok(answer === 'ECONNRESET' || (typeof answer === 'object' && answer.status >= 500), String(answer));
      await until('it was given up', () => log.some((line) => line.includes('was not kept')));
      assert.equal(await storage.statBlob(digest), undefined);
      assert.deepEqual((await storage.listUploads()).uploads, []);
      upstream.lie = undefined;
      assert.ok((await get(`blobs/${digest}`)).body.equals(layer), 'the next try is a new one');
      await untilKept(digest);
    });
  }

  test('a storage that takes nothing: the client gets the blob all the same, and no descriptor is left open', async () => {
    const { digest, layer } = upstream.add('v1', 500_000);
    const before = readdirSync('/proc/self/fd').length;
    for (const fault of ['createUpload', 'appendUpload', 'publishUpload'] as const) {
      const working = storage[fault];
      Object.assign(storage, { [fault]: () => Promise.reject(new Error('the disk is full')) });
      assert.ok((await get(`blobs/${digest}`)).body.equals(layer), fault);
      await until('it was given up', () => log.splice(0).some((line) => line.includes('was not kept')));
      Object.assign(storage, { [fault]: working });
      assert.equal(await storage.statBlob(digest), undefined);
      assert.deepEqual((await storage.listUploads()).uploads, []);
    }
    await until('no descriptor is left open', () => readdirSync('/proc/self/fd').length <= before + 2);
  });

  test('a blob larger than the limit is refused', async () => {
    upstream.statBlob = async () => 2 ** 40;
    const answer = await get(`blobs/${sha256('large')}`);
    assert.equal(answer.status, 403);
    assert.equal(upstream.asked.blob, 0);
  });

  test('pushes are refused in words', async () => {
    const answer = await ask(`${rig.url}/v2/library/app/blobs/uploads/`, { method: 'POST' });
    assert.equal(answer.status, 405);
    assert.equal(codeOf(answer), 'UNSUPPORTED');
  });

  test('nothing stays in the spool', async () => {
    const { digest } = upstream.add('v1', 1_000_000);
    await get(`blobs/${digest}`);
    await untilKept(digest);
    assert.deepEqual(
      readdirSync(lab.directory).filter((name) => name.startsWith('imago-spool')),
      [],
    );
  });
});

describe('--proxy, over sockets and with the real client', () => {
  let origin: Rig;
  let cache: RunningRegistry;
  before(async () => {
    lab.htpasswd({ cache: 'secret' }, 'upstream-users');
    lab.file('password', 'secret\n');
    origin = await lab.serve('auth: { htpasswd: upstream-users }');
    const settings = `proxy: { url: "${origin.url}", username: cache, passwordFile: password, ttl: 0s, spool: . }`;
    cache = await serveRegistry({
      config: lab.file('proxy.yaml', settings),
      storage: `${lab.directory}/proxied`,
      address: '127.0.0.1:0',
      write: () => {},
    });
  });
  after(() => cache?.stop());

  test('an image is pulled through, with the credentials of the settings, and stays when upstream is gone', async () => {
    const image = await pushImage(origin.url, 'team/app', 'v1', { size: 5_000_000, user: 'cache:secret' });
    const get = (path: string): ReturnType<typeof ask> => ask(`${cache.url}/v2/team/app/${path}`);
    const pull = async (): Promise<void> => {
      assert.ok((await get('manifests/v1')).body.equals(image.manifest));
      assert.ok((await get(`manifests/${image.manifestDigest}`)).body.equals(image.manifest));
      assert.ok((await get(`blobs/${image.digest}`)).body.equals(image.layer));
    };
    await pull();
    assert.equal((await get('manifests/none')).status, 404);
    assert.equal((await get(`manifests/${sha256('none')}`)).status, 404);
    assert.equal((await get(`blobs/${sha256('none')}`)).status, 404);
    const kept = await openFileStorage(`${lab.directory}/proxied`);
    await until('the blob is kept', () => isKept(kept, 'team/app', image.digest));
    await origin.running.stop();
    await pull();
    assert.equal((await get('manifests/v2')).status, 503);
  });
});
