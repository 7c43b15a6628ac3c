import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { Digest } from '../../src/core/digest.ts';
import { resolveImage } from '../../src/image/resolve.ts';
import { openRepository } from '../../src/registry/client/repository.ts';
import { hasLayer } from '../../src/store/layers.ts';
import { origins } from '../../src/store/origins.ts';
import { prune } from '../../src/store/prune.ts';
import type { Store } from '../../src/store/store.ts';
import { verify } from '../../src/store/verify.ts';
import { type PullOptions, pullAllTags, pullImage } from '../../src/transfer/pull.ts';
import type { PullEvent } from '../../src/transfer/pull-events.ts';
import {
  describe as describeImage,
  inFlight,
  json,
  Lab,
  noise,
  OCI,
  type SampleImage,
  sampleImage,
  sha256,
} from '../archive/lab.ts';
import { DockerRegistry, dockerRegistryMissing } from '../registry/docker-registry.ts';
import { FakeRegistry } from '../registry/fake-registry.ts';

const DOCKER = 'application/vnd.docker.';

let lab: Lab;
let registry: FakeRegistry;
let base: Buffer;
let middle: Buffer;
let top: Buffer;
let store: Store;

before(async () => {
  lab = new Lab();
  base = lab.tar(lab.tree('base', { 'etc/os-release': 'ID=test\n', 'bin/big': noise(3 * 2 ** 20) }));
  middle = lab.tar(lab.tree('middle', { 'usr/data': noise(2 * 2 ** 20 + 77) }));
  top = lab.tar(lab.tree('top', { 'etc/motd': 'hello\n' }));
});
after(() => lab[Symbol.dispose]());
beforeEach(async () => {
  store = lab.store();
  registry = await FakeRegistry.start();
});
afterEach(() => registry[Symbol.asyncDispose]());

function pull(name: string, options: PullOptions = {}): ReturnType<typeof pullImage> {
  return pullImage(store, `${registry.host}/${name}`, { timing: { retryMs: 5, stallMs: 3000 }, ...options });
}

/** A manifest over layers that are packed in any way. */
function put(
  name: string,
  tag: string | undefined,
  layers: { tar: Buffer; blob: Buffer; mediaType: string }[],
  docker = false,
): Digest {
  const { config } = sampleImage(layers.map((layer) => layer.tar));
  for (const { blob } of layers) registry.putBlob(name, blob);
  registry.putBlob(name, config);
  return registry.putManifest(name, tag, {
    schemaVersion: 2,
    mediaType: docker ? `${DOCKER}distribution.manifest.v2+json` : `${OCI}manifest.v1+json`,
    config: {
      mediaType: docker ? `${DOCKER}container.image.v1+json` : `${OCI}config.v1+json`,
      digest: sha256(config),
      size: config.length,
    },
    layers: layers.map(({ blob, mediaType }) => ({ mediaType, digest: sha256(blob), size: blob.length })),
  });
}

function putIndex(
  name: string,
  tag: string | undefined,
  manifests: object[],
  mediaType = `${OCI}index.v1+json`,
): Digest {
  return registry.putManifest(name, tag, { schemaVersion: 2, mediaType, manifests });
}

function child(image: SampleImage, platform?: object): object {
  return { ...describeImage(image), ...(platform && { platform }) };
}

async function assertWhole(reference: string): Promise<void> {
  const { diffIds } = resolveImage(store, reference);
  for (const diffId of diffIds) assert.ok(hasLayer(store, diffId), diffId);
  assert.deepEqual((await verify(store)).damaged, []);
  assert.deepEqual(inFlight(store), []);
}

describe('pullImage', () => {
  it('brings an image in whole, and remembers where its layers came from', async () => {
    const image = sampleImage([base, middle, top]);
    const digest = registry.putImage('team/app', 'v1', image);
    const result = await pull('team/app:v1');
    const reference = `${registry.host}/team/app:v1`;
    assert.deepEqual(result, { reference, descriptor: describeImage(image), id: sha256(image.config), changed: true });
    assert.equal(store.getRef(reference)?.digest, digest);
    await assertWhole(reference);
    assert.deepEqual(
      image.layers.map(({ tar }) => origins(store, sha256(tar))),
      image.layers.map(({ blob, mediaType }) => [
        { digest: sha256(blob), size: blob.length, mediaType, repositories: [`${registry.host}/team/app`] },
      ]),
    );
    assert.ok(!store.hasBlob(sha256(image.layers[0]!.blob)), 'the compressed bytes are not kept');
  });

  it('is told in order, in bytes as they travel', async () => {
    const image = sampleImage([base, top]);
    registry.putImage('app', 'latest', image);
    const events: PullEvent[] = [];
    await pull('app', { onEvent: (event) => events.push(event) });
    assert.deepEqual(events[0], { type: 'image', repository: 'app', tag: 'latest' });
    assert.deepEqual(events.at(-1), {
      type: 'done',
      reference: `${registry.host}/app:latest`,
      digest: sha256(image.manifest),
      changed: true,
    });
    for (const { blob } of image.layers) {
      const layer = events.filter((e) => e.type === 'layer' && e.digest === sha256(blob)) as Extract<
        PullEvent,
        { type: 'layer' }
      >[];
      const statuses = layer.map(({ status }) => status);
      assert.deepEqual([statuses[0], statuses.at(-1)], ['pulling', 'complete']);
      if (blob.length < 2 ** 20) continue;
      assert.deepEqual(layer.at(-2), {
        type: 'layer',
        digest: sha256(blob),
        status: 'downloaded',
        done: blob.length,
        total: blob.length,
      });
    }
  });

  it('asks with a HEAD alone where there is nothing newer, and takes what is', async () => {
    registry.putImage('app', 'latest', sampleImage([base]));
    await pull('app');
    const before = registry.log.length;
    assert.equal((await pull('app')).changed, false);
    assert.deepEqual(
      registry.log.slice(before).map(({ method }) => method),
      ['HEAD'],
    );
    const newer = sampleImage([base, top]);
    registry.putImage('app', 'latest', newer);
    const blobs = registry.count('GET', /blobs/);
    assert.deepEqual([(await pull('app')).changed, registry.count('GET', /blobs/) - blobs], [true, 2]);
    assert.equal(resolveImage(store, `${registry.host}/app`).id, sha256(newer.config));
  });

  it('by digest, whatever the tag says; again without any request', async () => {
    const image = sampleImage([top]);
    const digest = registry.putImage('app', undefined, image);
    const { reference } = await pull(`app:nothing@${digest}`);
    assert.equal(reference, `${registry.host}/app@${digest}`);
    await assertWhole(reference);
    const before = registry.log.length;
    assert.equal((await pull(`app@${digest}`)).changed, false);
    assert.equal(registry.log.length, before);
  });

  it('a layer that is here does not travel again, however the other image has it packed', async () => {
    registry.putImage('one', 'latest', sampleImage([base, middle]));
    await pull('one');
    const other = { tar: middle, blob: zstdCompressSync(middle), mediaType: `${OCI}layer.v1.tar+zstd` };
    const third = { tar: top, blob: gzipSync(top), mediaType: `${OCI}layer.v1.tar+gzip` };
    put('two', 'latest', [
      { tar: base, blob: gzipSync(base, { level: 9 }), mediaType: `${OCI}layer.v1.tar+gzip` },
      other,
      third,
    ]);
    const events: PullEvent[] = [];
    await pull('two', { onEvent: (event) => events.push(event) });
    assert.deepEqual(registry.requests('GET', /two\/blobs/).length, 2, 'the config and the third layer');
    assert.equal(events.filter((e) => e.type === 'layer' && e.status === 'exists').length, 2);
    assert.deepEqual(
      origins(store, sha256(middle)).map(({ digest, repositories }) => [digest, repositories]),
      [
        [sha256(gzipSync(middle, { level: 4 })), [`${registry.host}/one`]],
        [sha256(other.blob), [`${registry.host}/two`]],
      ],
    );
  });

  it('keeps the compressed bytes where they are wanted, also of layers that are here', async () => {
    const image = sampleImage([base, middle]);
    registry.putImage('app', 'latest', image);
    await pull('app');
    await pull('app', { keepBlobs: true });
    for (const { blob } of image.layers) assert.deepEqual(store.readBlob(sha256(blob), { limit: 2 ** 30 }), blob);
    await assertWhole(`${registry.host}/app:latest`);
  });

  const packings: [name: string, layer: (tar: Buffer) => { blob: Buffer; mediaType: string }, docker?: boolean][] = [
    ['zstd', (tar) => ({ blob: zstdCompressSync(tar), mediaType: `${OCI}layer.v1.tar+zstd` })],
    [
      'zstd in several frames',
      (tar) => ({
        blob: Buffer.concat([zstdCompressSync(tar.subarray(0, 100_000)), zstdCompressSync(tar.subarray(100_000))]),
        mediaType: `${OCI}layer.v1.tar+zstd`,
      }),
    ],
    [
      'gzip in several members',
      (tar) => ({
        blob: Buffer.concat([gzipSync(tar.subarray(0, 100_000)), gzipSync(tar.subarray(100_000))]),
        mediaType: `${OCI}layer.v1.tar+gzip`,
      }),
    ],
    ['no compression', (tar) => ({ blob: tar, mediaType: `${OCI}layer.v1.tar` })],
    ['Docker schema 2', (tar) => ({ blob: gzipSync(tar), mediaType: `${DOCKER}image.rootfs.diff.tar.gzip` }), true],
  ];
  for (const [name, pack, docker] of packings) {
    it(`layers in ${name}`, async () => {
      put(
        'app',
        'latest',
        [base, top].map((tar) => ({ tar, ...pack(tar) })),
        docker,
      );
      const { reference } = await pull('app');
      await assertWhole(reference);
      assert.deepEqual(resolveImage(store, reference).diffIds, [base, top].map(sha256));
    });
  }

  it('under sha512 digests', async () => {
    const image = sampleImage([top]);
    const blob = image.layers[0]!.blob;
    const digest = registry.putBlob('app', blob, 'sha512') as string;
    registry.putBlob('app', image.config);
    const manifest = JSON.parse(image.manifest.toString()) as { layers: { digest: string }[] };
    manifest.layers[0]!.digest = digest;
    registry.putManifest('app', 'latest', manifest);
    const { reference } = await pull('app', { keepBlobs: true });
    await assertWhole(reference);
    assert.ok(store.hasBlob(digest as Digest));
  });
});

describe('indexes', () => {
  const linux = (architecture: string, variant?: string): object => ({
    os: 'linux',
    architecture,
    ...(variant && { variant }),
  });

  it('give the image for the platform, and stay byte for byte', async () => {
    const [amd, arm] = [sampleImage([base], { architecture: 'amd64' }), sampleImage([top], { architecture: 'arm64' })];
    registry.putImage('app', undefined, amd);
    registry.putImage('app', undefined, arm);
    const attestation = { ...child(amd, { os: 'unknown', architecture: 'unknown' }) };
    const index = putIndex('app', 'latest', [
      attestation,
      child(arm, linux('arm64', 'v8')),
      child(amd, linux('amd64')),
    ]);
    const { id, reference } = await pull('app', { platform: 'linux/arm64/v8' });
    assert.equal(id, sha256(arm.config));
    assert.equal(store.getRef(reference)?.digest, index);
    assert.ok(!store.hasBlob(sha256(amd.manifest)), 'the other platform stays away');
    const both = await pull('app', { platform: 'linux/amd64' });
    assert.deepEqual([both.id, both.changed], [sha256(amd.config), true]);
    assert.equal(resolveImage(store, reference, { os: 'linux', architecture: 'arm64' }).id, sha256(arm.config));
  });

  it('choose the best variant', async () => {
    const images = (['v6', 'v7', 'v5'] as const).map((variant) => {
      const image = sampleImage([top], { architecture: 'arm', variant });
      registry.putImage('app', undefined, image);
      return child(image, linux('arm', variant));
    });
    putIndex('app', 'latest', images, `${DOCKER}distribution.manifest.list.v2+json`);
    const config = async (platform: string): Promise<string | undefined> =>
      resolveImage(store, (await pull('app', { platform })).id).platform.variant;
    assert.deepEqual([await config('linux/arm/v7'), await config('linux/arm/v6')], ['v7', 'v6']);
  });

  it('may lie in others', async () => {
    const image = sampleImage([top]);
    registry.putImage('app', undefined, image);
    const inner = putIndex('app', undefined, [child(image, linux('riscv64')), child(image)]);
    const size = registry.repository('app').manifests.get(inner)!.bytes.length;
    const outer = putIndex('app', 'latest', [{ mediaType: `${OCI}index.v1+json`, digest: inner, size }]);
    const { reference, id } = await pull('app');
    assert.deepEqual([id, store.getRef(reference)?.digest], [sha256(image.config), outer]);
    assert.equal(resolveImage(store, reference).id, id);
    await assertWhole(reference);
    await prune(store);
    assert.equal(resolveImage(store, reference).id, id, 'a prune knows the way');
  });

  it('without the platform, in the words of Docker', async () => {
    const image = sampleImage([top], { architecture: 's390x' });
    registry.putImage('app', undefined, image);
    putIndex('app', 'latest', [child(image, linux('s390x'))]);
    await assert.rejects(pull('app', { platform: 'linux/arm/v7' }), {
      code: 'PLATFORM_MISMATCH',
      message: /^no matching manifest for linux\/arm\/v7 in the manifest list entries: got linux\/s390x/,
    });
  });

  it('all tags of a repository', async () => {
    for (let i = 0; i < 5; i++) registry.putImage('app', `v${i}`, sampleImage([base, top], { cmd: `/bin/${i}` }));
    registry.options.pageSize = 2;
    const pulled = await pullAllTags(store, `${registry.host}/app`);
    assert.deepEqual(
      pulled.map(({ reference }) => reference),
      [0, 1, 2, 3, 4].map((i) => `${registry.host}/app:v${i}`),
    );
    assert.equal(registry.count('GET', new RegExp(sha256(sampleImage([base]).layers[0]!.blob))), 1);
    await assert.rejects(pullAllTags(store, `${registry.host}/app:v1`), { code: 'BAD_REFERENCE' });
  });
});

describe('a pull that is interrupted', () => {
  it('by a broken connection goes on where it ended', async () => {
    const image = sampleImage([base, middle]);
    registry.putImage('app', 'latest', image);
    const digest = sha256(image.layers[0]!.blob);
    registry.fault({ method: 'GET', path: new RegExp(digest) }, { cutAfter: 1_000_000 });
    const events: PullEvent[] = [];
    await assertWhole((await pull('app', { onEvent: (event) => events.push(event) })).reference);
    assert.deepEqual(
      registry.requests('GET', new RegExp(digest)).map(({ headers }) => headers.range),
      [undefined, 'bytes=1000000-'],
    );
    assert.ok(events.some((event) => event.type === 'retry' && event.digest === digest));
  });

  it('by its caller: the next one goes on, and the layers that were ready are here', async () => {
    const image = sampleImage([base, middle]);
    registry.putImage('app', 'latest', image);
    const [first, second] = image.layers.map(({ blob }) => blob) as [Buffer, Buffer];
    registry.fault({ method: 'GET', path: new RegExp(sha256(first)) }, { stallAfter: 2 * 2 ** 20 + 5000 });
    const stop = new AbortController();
    const given = new Error('enough');
    const onEvent = (event: PullEvent): void => {
      if (event.type !== 'layer' || event.digest !== sha256(second) || event.status !== 'complete') return;
      // As soon as what came first is in the file.
      const data = join(store.root, 'ingest', `partial-${sha256(first).slice(7)}`, 'data');
      const look = setInterval(() => {
        if (statSync(data).size < 1.9 * 2 ** 20) return;
        clearInterval(look);
        stop.abort(given);
      }, 20);
    };
    await assert.rejects(pull('app', { signal: stop.signal, onEvent }), given);
    assert.deepEqual(store.listRefs(), []);
    assert.deepEqual(inFlight(store), [`partial-${sha256(first).slice(7)}`]);
    await assertWhole((await pull('app')).reference);
    const ranges = registry.requests('GET', new RegExp(sha256(first))).map(({ headers }) => headers.range);
    assert.equal(ranges[0], undefined);
    const begin = Number(/^bytes=(\d+)-$/.exec(ranges[1] ?? '')?.[1]);
    assert.ok(begin > 1.9 * 2 ** 20, `${begin} bytes were kept`);
    assert.equal(registry.count('GET', new RegExp(sha256(second))), 1);
  });

  it('by a network that stays away: said with the reference and the URL', async () => {
    const image = sampleImage([base]);
    registry.putImage('app', 'latest', image);
    registry.fault({ method: 'GET', path: /blobs/ }, { status: 503 }, 100);
    await assert.rejects(pull('app'), { message: /503/ });
    assert.deepEqual([store.listRefs(), inFlight(store)], [[], []]);
  });
});

describe('what is no image', () => {
  const cases: [name: string, code: string, says: RegExp, put: () => void][] = [
    [
      'an artifact',
      'NOT_AN_IMAGE',
      /imago artifact pull/,
      () => {
        const blob = registry.putBlob('app', Buffer.from('{}'));
        registry.putManifest('app', 'latest', {
          schemaVersion: 2,
          mediaType: `${OCI}manifest.v1+json`,
          artifactType: 'application/x-thing',
          config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: blob, size: 2 },
          layers: [],
        });
      },
    ],
    [
      'a Helm chart, by its config',
      'NOT_AN_IMAGE',
      /application\/vnd\.cncf\.helm/,
      () => {
        const blob = registry.putBlob('app', Buffer.from('{}'));
        registry.putManifest('app', 'latest', {
          schemaVersion: 2,
          config: { mediaType: 'application/vnd.cncf.helm.config.v1+json', digest: blob, size: 2 },
          layers: [],
        });
      },
    ],
    [
      'schema 1',
      'SCHEMA1_MANIFEST',
      /schema 1 manifests are not supported/,
      () => {
        registry.putManifest(
          'app',
          'latest',
          { schemaVersion: 1, fsLayers: [], history: [] },
          `${DOCKER}distribution.manifest.v1+prettyjws`,
        );
      },
    ],
    [
      'of a type that nobody knows',
      'UNKNOWN_MANIFEST',
      /application\/vnd\.new/,
      () => {
        registry.putManifest('app', 'latest', json({ schemaVersion: 2, mediaType: 'application/vnd.new+json' }));
      },
    ],
    [
      'with a layer that nobody knows',
      'BAD_LAYER_TYPE',
      /tar\+encrypted/,
      () => {
        put('app', 'latest', [{ tar: top, blob: top, mediaType: `${OCI}layer.v1.tar+encrypted` }]);
      },
    ],
    ['not there', 'MANIFEST_UNKNOWN', /manifest for 127\.0\.0\.1:\d+\/app:latest not found/, () => {}],
  ];
  for (const [name, code, says, prepare] of cases) {
    it(name, async () => {
      prepare();
      await assert.rejects(pull('app'), { code, message: says });
      assert.deepEqual(
        [store.listRefs(), inFlight(store), readdirSync(join(store.root, 'blobs/sha256'))],
        [[], [], []],
      );
    });
  }
});

describe('docker-registry', { skip: dockerRegistryMissing ?? false }, () => {
  it('gives an index with its image, and the rest of a layer after a break', async () => {
    await using real = await DockerRegistry.start();
    const image = sampleImage([base, middle, top]);
    await using repository = openRepository({ domain: real.host, path: 'team/app' });
    const upload = async (bytes: Buffer): Promise<void> => {
      const blob = { digest: sha256(bytes), size: bytes.length };
      await repository.uploadBlob(blob, async function* (offset) {
        yield bytes.subarray(offset);
      });
    };
    for (const bytes of [image.config, ...image.layers.map(({ blob }) => blob)]) await upload(bytes);
    await repository.putManifest(sha256(image.manifest), image.manifest, `${OCI}manifest.v1+json`);
    const platform = { os: 'linux', architecture: process.arch === 'arm64' ? 'arm64' : 'amd64' };
    const index = json({ schemaVersion: 2, mediaType: `${OCI}index.v1+json`, manifests: [child(image, platform)] });
    await repository.putManifest('v1', index, `${OCI}index.v1+json`);
    const name = `${real.host}/team/app:v1`;
    const stop = new AbortController();
    const onEvent = (event: PullEvent): void => {
      if (event.type === 'layer' && event.status === 'downloading') stop.abort(new Error('enough'));
    };
    await assert.rejects(pullImage(store, name, { signal: stop.signal, onEvent }), /enough/);
    assert.deepEqual(store.listRefs(), []);
    const { descriptor } = await pullImage(store, name);
    assert.equal(descriptor.digest, sha256(index));
    await assertWhole(name);
    assert.equal((await pullImage(store, name)).changed, false);
  });
});
