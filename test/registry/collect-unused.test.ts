import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { collectRegistry } from '../../src/engine/registry-gc.ts';
import { type CollectEvent, type CollectOptions, collectGarbage } from '../../src/registry/server/collect.ts';
import { collectInterval, collectSettings } from '../../src/registry/server/collector.ts';
import { parseServeConfig, type ServeConfig } from '../../src/registry/server/config.ts';
import { condemnedKey } from '../../src/registry/server/keys.ts';
import { Log } from '../../src/registry/server/log.ts';
import { createProxy } from '../../src/registry/server/proxy.ts';
import { openStorage } from '../../src/registry/storage/open.ts';
import type { RegistryStorage } from '../../src/registry/storage/storage.ts';
import { FakeUpstream, type UpstreamImage } from './fake-upstream.ts';
import { s3SkipReason, startS3 } from './rgw.ts';
import { assertError, RegistryLab } from './server/lab.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Long past: what this process writes now is never taken for what a killed one left. */
const START = Date.UTC(2020, 0, 1);

/** A cache in front of an upstream in memory, whose time goes on only as the test says. */
class CacheLab implements AsyncDisposable {
  readonly upstream = new FakeUpstream();
  readonly #t: TestContext;
  readonly directory: string = mkdtempSync(join(tmpdir(), 'imago-unused-'));
  storage!: RegistryStorage;
  lab!: RegistryLab;

  constructor(t: TestContext) {
    this.#t = t;
  }

  static async start(t: TestContext): Promise<CacheLab> {
    t.mock.timers.enable({ apis: ['Date'], now: START });
    const cache = new CacheLab(t);
    await cache.open();
    return cache;
  }

  /** Again, as a process that was restarted. */
  async open(location: string = join(this.directory, 'storage')): Promise<void> {
    await this.lab?.[Symbol.asyncDispose]();
    this.storage = await openStorage(location);
    await this.serve(this.storage);
  }

  /** The same through `storage`. */
  async serve(storage: RegistryStorage): Promise<void> {
    await this.lab?.[Symbol.asyncDispose]();
    const { upstream, directory } = this;
    const log = new Log({ format: 'json', write: () => {} });
    const proxy = createProxy({ storage, upstream, log, ttl: 30 * DAY, spool: directory, blobBytes: 1 << 30 });
    this.lab = await RegistryLab.start({ storage, proxy, readOnly: true });
  }

  later(milliseconds: number): void {
    this.#t.mock.timers.tick(milliseconds);
  }

  /** Pulls an image as clients do, and waits until it is kept. */
  async pull(tag: string, image: UpstreamImage, repository = 'app'): Promise<void> {
    const manifest = await this.lab.get(`/v2/${repository}/manifests/${tag}`);
    assert.equal(manifest.status, 200, manifest.body.toString());
    assert.deepEqual(manifest.body, image.manifest);
    const byDigest = await this.lab.get(`/v2/${repository}/manifests/${image.manifestDigest}`);
    assert.equal(byDigest.status, 200, byDigest.body.toString());
    const layer = await this.lab.get(`/v2/${repository}/blobs/${image.digest}`);
    assert.equal(layer.status, 200);
    assert.ok(layer.body.equals(image.layer));
    const link = `repositories/${repository}/_blobs/${image.digest.replace(':', '/')}`;
    while ((await this.storage.readDocument(link)) === undefined) await new Promise((resolve) => setImmediate(resolve));
  }

  collect(cache: CollectOptions['cache'], options: Partial<CollectOptions> = {}): ReturnType<typeof collectGarbage> {
    return collectGarbage({ storage: this.storage, cache, ...options });
  }

  /** The tags that are here. */
  async tags(): Promise<string[]> {
    const { keys } = await this.storage.listDocuments('repositories/app/_tags/');
    return keys.map(({ key }) => key.slice('repositories/app/_tags/'.length));
  }

  async has({ manifestDigest, digest }: UpstreamImage): Promise<boolean> {
    const link = await this.storage.readDocument(`repositories/app/_manifests/${manifestDigest.replace(':', '/')}`);
    const blobs = await Promise.all([manifestDigest, digest].map((blob) => this.storage.statBlob(blob)));
    const here = [link, ...blobs].map((found) => found !== undefined);
    assert.equal(new Set(here).size, 1, `half of an image is here: ${here}`);
    return here[0]!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lab[Symbol.asyncDispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

const WEEK = { keep: 7 * DAY };

describe('what a pull-through cache keeps', () => {
  it('what is used stays, what nobody pulled goes with its tags and blobs, and is fetched anew', async (t) => {
    await using cache = await CacheLab.start(t);
    const { upstream } = cache;
    const [used, unused] = [upstream.add('used', 1000), upstream.add('unused', 2000)];
    upstream.tags.set('same', unused.manifestDigest);
    await cache.pull('used', used);
    await cache.pull('unused', unused);
    await cache.pull('same', unused);
    cache.later(4 * DAY);
    await cache.pull('used', used);
    cache.later(3 * DAY - 1);
    assert.equal((await cache.collect(WEEK)).removedManifests, 0);
    cache.later(2);
    const outcome = await cache.collect(WEEK);
    // Its manifest and its layer: configs were never asked for.
    assert.deepEqual([outcome.removedManifests, outcome.removedBlobs, outcome.manifests], [1, 2, 1]);
    assert.deepEqual([await cache.has(used), await cache.has(unused)], [true, false]);
    assert.deepEqual(await cache.tags(), ['used']);
    const before = { ...upstream.asked };
    await cache.pull('unused', unused);
    await cache.pull('used', used);
    const { manifest, blob } = upstream.asked;
    assert.deepEqual([manifest, blob], [before.manifest + 1, before.blob + 1]);
    assert.equal(await cache.has(unused), true);
  });

  it('a HEAD of the tag is a use, as a GET by digest is', async (t) => {
    await using cache = await CacheLab.start(t);
    const image = cache.upstream.add('v1', 100);
    await cache.pull('v1', image);
    for (const [method, reference] of [
      ['HEAD', 'v1'],
      ['GET', image.manifestDigest],
      ['HEAD', image.manifestDigest],
    ] as const) {
      cache.later(6 * DAY);
      assert.equal((await cache.lab.send(method, `/v2/app/manifests/${reference}`)).status, 200);
      cache.later(6 * DAY);
      assert.equal((await cache.collect(WEEK)).removedManifests, 0, `${method} ${reference}`);
    }
  });

  it('the time of use is written at most once an hour, and outlives a restart', async (t) => {
    await using cache = await CacheLab.start(t);
    const image = cache.upstream.add('v1', 100);
    await cache.pull('v1', image);
    let writes = 0;
    await cache.serve({
      ...cache.storage,
      writeDocument(key, bytes, options) {
        if (key.includes('/_manifests/')) writes++;
        return cache.storage.writeDocument(key, bytes, options);
      },
    });
    for (let minutes = 0; minutes < 5 * 60; minutes += 10) {
      cache.later(HOUR / 6);
      await cache.pull('v1', image);
    }
    assert.equal(writes, 4);
    await cache.open();
    cache.later(7 * DAY - HOUR);
    assert.equal((await cache.collect(WEEK)).removedManifests, 0);
    await cache.open();
    cache.later(2 * HOUR);
    assert.equal((await cache.collect(WEEK)).removedManifests, 1);
  });

  it('the least recently used goes until the rest fits; what images share counts once', async (t) => {
    await using cache = await CacheLab.start(t);
    const { upstream } = cache;
    const shared = upstream.add('a', 50_000);
    const images = [shared, upstream.add('b', 40_000), upstream.add('c', shared.layer), upstream.add('d', 40_000)];
    for (const [index, image] of images.entries()) {
      await cache.pull('abcd'[index]!, image);
      cache.later(2 * HOUR);
    }
    await cache.pull('b', images[1]!);
    cache.later(2 * DAY);
    const here = async (): Promise<string> => (await cache.tags()).join('');
    const collect = (size: number) => cache.collect({ keep: 0, size });
    // b and d are 80 kB; c, older, brings 50 kB that a, older still, has as well.
    const all = images.reduce((sum, { manifest }) => sum + manifest.length, 130_000);
    assert.equal((await collect(all)).removedManifests, 0);
    assert.equal((await collect(all - 1)).removedManifests, 1);
    assert.equal(await here(), 'bcd');
    const outcome = await collect(90_000);
    assert.equal(outcome.removedManifests, 1);
    assert.ok(outcome.removedBytes > 50_000);
    assert.equal(await here(), 'bd');
    await collect(50_000);
    assert.equal(await here(), 'b');
    await cache.pull('a', shared);
    assert.equal(await here(), 'ab');
  });

  it('what was pulled within the grace period stays, whatever the size; and within two hours, whatever the grace', async (t) => {
    await using cache = await CacheLab.start(t);
    const image = cache.upstream.add('v1', 1000);
    await cache.pull('v1', image);
    cache.later(DAY - HOUR);
    assert.equal((await cache.collect({ keep: HOUR, size: 1 })).removedManifests, 0);
    await cache.pull('v1', image);
    cache.later(2 * HOUR - 1);
    assert.equal((await cache.collect({ keep: HOUR, size: 1 }, { graceMs: 0 })).removedManifests, 0);
    cache.later(2);
    assert.equal((await cache.collect({ keep: HOUR, size: 1 }, { graceMs: 0 })).removedManifests, 1);
  });

  it('an ordinary registry, and a cache without bounds, lose nothing', async (t) => {
    await using cache = await CacheLab.start(t);
    const image = cache.upstream.add('v1', 1000);
    await cache.pull('v1', image);
    cache.later(1000 * DAY);
    for (const bounds of [undefined, { keep: 0 }]) assert.equal((await cache.collect(bounds)).removedManifests, 0);
    assert.equal(await cache.has(image), true);
  });

  it('a dry run tells what would go', async (t) => {
    await using cache = await CacheLab.start(t);
    for (const tag of ['v1', 'v2', 'v3']) {
      await cache.pull(tag, cache.upstream.add(tag, 10_000));
      cache.later(3 * DAY);
    }
    // An image whose tag moved away is removed for that, and counts no more.
    cache.upstream.add('v3', 10);
    await cache.storage.deleteDocument('repositories/app/_tags/v3');
    const told = async (dryRun: boolean): Promise<unknown> => {
      const events: string[] = [];
      const onEvent = (event: CollectEvent): unknown => events.push(JSON.stringify(event));
      const bounds = { keep: 7 * DAY, size: 11_000 };
      const outcome = await cache.collect(bounds, { dryRun, onEvent, removeUntagged: true });
      return { ...outcome, milliseconds: 0, events: events.sort() };
    };
    const dry = await told(true);
    assert.equal((dry as { removedManifests: number }).removedManifests, 2);
    assert.deepEqual(await told(false), dry);
    assert.deepEqual(await cache.tags(), ['v2']);
  });

  it('registry gc takes the bounds from the settings', async (t) => {
    await using cache = await CacheLab.start(t);
    await cache.pull('v1', cache.upstream.add('v1', 10));
    cache.later(8 * DAY);
    const config = join(cache.directory, 'registry.yaml');
    writeFileSync(config, 'storage: storage\nproxy: { url: "https://upstream.example" }\n');
    assert.equal((await collectRegistry({ config, dryRun: true })).removedManifests, 1);
    const storage = join(cache.directory, 'storage');
    assert.equal((await collectRegistry({ storage, dryRun: true })).removedManifests, 0, 'no settings, no cache');
    assert.equal((await collectRegistry({ config })).removedManifests, 1);
  });

  it('in a bucket, too', { skip: s3SkipReason() }, async (t) => {
    await using s3 = await startS3();
    await using cache = new CacheLab(t);
    await cache.open(s3.url());
    const image = cache.upstream.add('v1', 100_000);
    await cache.pull('v1', image);
    assert.equal((await cache.collect(WEEK)).removedManifests, 0);
    // A bucket has a clock of its own: now it is behind.
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 8 * DAY });
    const outcome = await cache.collect(WEEK);
    assert.deepEqual([outcome.removedManifests, outcome.removedBlobs], [1, 2]);
    assert.deepEqual([await cache.has(image), await cache.tags()], [false, []]);
    t.mock.timers.reset();
    // The SDK has set its clock after the bucket's.
    await cache.storage.close();
    await cache.open(s3.url());
    await cache.pull('v1', image);
    assert.equal(await cache.has(image), true);
    await cache.storage.close();
  });

  it('with upstream dead, an image that went is told to be unavailable', async (t) => {
    await using cache = await CacheLab.start(t);
    const image = cache.upstream.add('v1', 10);
    await cache.pull('v1', image);
    const tag = (await cache.storage.readDocument('repositories/app/_tags/v1'))!;
    cache.later(8 * DAY);
    await cache.collect(WEEK);
    cache.upstream.dead = true;
    assertError(await cache.lab.get('/v2/app/manifests/v1'), 503, 'UNAVAILABLE');
    // As a collector leaves it that was killed between the manifest and its tags.
    await cache.storage.writeDocument('repositories/app/_tags/v1', tag.bytes);
    assertError(await cache.lab.get('/v2/app/manifests/v1'), 503, 'UNAVAILABLE');
    cache.upstream.dead = false;
    await cache.pull('v1', image);
  });

  it('a disk that takes nothing more: what is here is answered', async (t) => {
    await using cache = await CacheLab.start(t);
    const image = cache.upstream.add('v1', 10);
    await cache.pull('v1', image);
    cache.later(2 * HOUR);
    await cache.serve({ ...cache.storage, writeDocument: () => Promise.reject(new Error('no space left')) });
    await cache.pull('v1', image);
  });
});

describe('a pull beside the eviction', () => {
  it('that comes before the link is removed keeps the image', async (t) => {
    await using cache = await CacheLab.start(t);
    const image = cache.upstream.add('v1', 1000);
    await cache.pull('v1', image);
    cache.later(8 * DAY);
    let pulls = 0;
    const storage: RegistryStorage = {
      ...cache.storage,
      async deleteDocument(key, options) {
        if (key.includes('/_manifests/') && pulls++ === 0) await cache.pull('v1', image);
        return cache.storage.deleteDocument(key, options);
      },
    };
    const outcome = await collectGarbage({ storage, cache: WEEK });
    assert.deepEqual([pulls, outcome.removedManifests, outcome.removedBlobs], [1, 0, 0]);
    assert.deepEqual(await cache.tags(), ['v1']);
    assert.equal(cache.upstream.asked.manifest, 1);
  });

  it('that comes after that fetches it anew, with its tag, and keeps the blobs', async (t) => {
    await using cache = await CacheLab.start(t);
    const image = cache.upstream.add('v1', 1000);
    await cache.pull('v1', image);
    cache.later(8 * DAY);
    const storage: RegistryStorage = {
      ...cache.storage,
      async deleteDocument(key, options) {
        const deleted = await cache.storage.deleteDocument(key, options);
        if (key.includes('/_manifests/')) await cache.pull('v1', image);
        return deleted;
      },
    };
    const outcome = await collectGarbage({ storage, cache: WEEK });
    assert.deepEqual([outcome.removedManifests, outcome.removedBlobs], [1, 0]);
    assert.deepEqual(await cache.tags(), ['v1']);
    assert.deepEqual({ ...cache.upstream.asked, stat: 0 }, { head: 2, manifest: 2, stat: 0, blob: 1 });
    assert.equal(await cache.has(image), true);
  });

  it('that comes while the blobs are removed waits for it, and fetches them anew', async (t) => {
    await using cache = await CacheLab.start(t);
    const image = cache.upstream.add('v1', 1000);
    await cache.pull('v1', image);
    cache.later(8 * DAY);
    const asksForVerdict = Promise.withResolvers<void>();
    await cache.serve({
      ...cache.storage,
      readDocument(key) {
        if (key === condemnedKey(image.digest)) asksForVerdict.resolve();
        return cache.storage.readDocument(key);
      },
    });
    let pulling: Promise<string> | undefined;
    const storage: RegistryStorage = {
      ...cache.storage,
      async removeBlob(digest, version) {
        if (digest === image.digest) {
          pulling = cache.pull('v1', image).then(() => 'pulled');
          assert.equal(await Promise.race([asksForVerdict.promise, pulling]), undefined);
        }
        return cache.storage.removeBlob(digest, version);
      },
    };
    await collectGarbage({ storage, cache: WEEK });
    assert.equal(await pulling, 'pulled');
    assert.equal(cache.upstream.asked.blob, 2);
    assert.equal(await cache.has(image), true);
  });

  it('never fails, whenever it comes', async (t) => {
    await using cache = await CacheLab.start(t);
    const images = Array.from({ length: 6 }, (_, i) => cache.upstream.add(`v${i}`, 1000 * i + 1));
    let [removed, stayed] = [0, 0];
    for (let round = 0; round < 15; round++) {
      // The first before the collection, the last after it, each of the others a little later in it than the one before.
      await cache.pull('v0', images[0]!);
      const collecting = cache.collect(WEEK);
      const pulls = images.slice(1, -1).map(async (image, i) => {
        for (let turn = 0; turn < 3 * i * round; turn++) await new Promise((resolve) => setImmediate(resolve));
        await cache.pull(`v${i + 1}`, image);
      });
      await Promise.all(pulls);
      const outcome = await collecting;
      removed += outcome.removedManifests;
      stayed += outcome.manifests;
      for (const [i, image] of images.entries()) await cache.pull(`v${i}`, image);
      cache.later(8 * DAY);
    }
    t.diagnostic(`${removed} images went, ${stayed} stayed or came again`);
  });
});

describe('a cache keeps to its bounds by itself', () => {
  const parse = (text: string): ServeConfig => parseServeConfig(text, undefined, '/');
  const url = 'url: "https://x"';
  for (const [settings, interval] of [
    ['', undefined],
    ['gc: { interval: 2h }', 2 * HOUR],
    ['readOnly: true\ngc: { interval: 2h }', undefined],
    [`proxy: { ${url} }`, HOUR],
    [`proxy: { ${url} }\nreadOnly: true`, HOUR],
    [`proxy: { ${url} }\ngc: { interval: 2h }`, 2 * HOUR],
    [`proxy: { ${url}, keep: 0 }`, undefined],
    [`proxy: { ${url}, keep: 0, size: 50GB }`, HOUR],
  ] as const) {
    it(settings.replaceAll('\n', '⏎') || 'by default', () => assert.equal(collectInterval(parse(settings)), interval));
  }

  it('which the settings say', () => {
    assert.equal(collectSettings(parse('')).cache, undefined);
    const { cache } = collectSettings(parse(`proxy: { ${url}, size: 50GB }`));
    assert.deepEqual([cache?.keep, cache?.size], [7 * DAY, 50e9]);
  });
});
