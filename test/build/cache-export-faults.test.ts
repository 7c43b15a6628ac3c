import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { CACHE_CONFIG_TYPE, INLINE_CACHE } from '../../src/build/cache-format.ts';
import { pruneCache } from '../../src/engine/build-cache-prune.ts';
import { verifyStore } from '../../src/engine/verify.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { prune } from '../../src/store/prune.ts';
import { FakeRegistry } from '../registry/fake-registry.ts';
import { sha256 } from '../registry/serve-lab.ts';
import { BuildLab, type BuildRun } from './lab.ts';

const main: string = join(import.meta.dirname, '../../src/cli/main.ts');
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const GZIP = 'application/vnd.oci.image.layer.v1.tar+gzip';
const TEXT = 'FROM scratch\nCOPY a.txt /a\nCOPY b.txt /b';
const FILES = { 'a.txt': 'one', 'b.txt': 'two' };

class Rig implements AsyncDisposable {
  readonly a: BuildLab = new BuildLab();
  readonly b: BuildLab = new BuildLab();
  readonly registry: FakeRegistry;

  private constructor(registry: FakeRegistry) {
    this.registry = registry;
    for (const lab of [this.a, this.b]) lab.write(FILES);
  }

  static async open(): Promise<Rig> {
    return new Rig(await FakeRegistry.start());
  }

  get ref(): string {
    return `${this.registry.host}/team/cache:main`;
  }

  /** The first store's build with its cache in the registry. */
  async seed(text = TEXT): Promise<BuildRun> {
    return this.a.build(text, { cacheTo: [`type=registry,ref=${this.ref},mode=max`] });
  }

  take(text = TEXT): Promise<BuildRun> {
    return this.b.build(text, { cacheFrom: [this.ref] });
  }

  /** The cache's manifest, to be changed and put again. */
  change(edit: (manifest: { config: Descriptor; layers: Descriptor[] }) => void): void {
    const repository = this.registry.repository('team/cache');
    const { bytes } = repository.manifests.get(repository.tags.get('main')!)!;
    const manifest = JSON.parse(bytes.toString());
    edit(manifest);
    this.registry.putManifest('team/cache', 'main', manifest);
  }

  /** A cache with this config, and layers that are not there. */
  putConfig(config: Uint8Array | object, layers: object[] = []): void {
    const bytes = Buffer.from(config instanceof Uint8Array ? config : JSON.stringify(config));
    const digest = this.registry.putBlob('team/cache', bytes);
    const named = { mediaType: CACHE_CONFIG_TYPE, digest, size: bytes.length };
    this.registry.putManifest('team/cache', 'main', { schemaVersion: 2, mediaType: MANIFEST, config: named, layers });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.a[Symbol.dispose]();
    this.b[Symbol.dispose]();
    await this.registry[Symbol.asyncDispose]();
  }
}

const hex = (digit: string): string => `sha256:${digit.repeat(64)}`;
const copies = (names: readonly string[]): number => names.filter((name) => name.startsWith('COPY')).length;

function warnings(run: BuildRun): string[] {
  return run.events.flatMap((event) =>
    event.type === 'warning' && event.text.startsWith('cache ') ? [event.text] : [],
  );
}

/** Built right, whatever the cache was; everything in the store is what its name says. */
async function checkBuilt(lab: BuildLab, run: BuildRun): Promise<void> {
  assert.equal(lab.read(run.image, 'a'), 'one');
  assert.equal(lab.read(run.image, 'b'), 'two');
  assert.deepEqual((await verifyStore(lab.store)).damaged, []);
  await prune(lab.store, { keepCache: true });
  assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
}

interface Loss {
  name: string;
  spoil(rig: Rig): void;
  /** Steps that are taken nevertheless. */
  cached: number;
  warning: RegExp;
}

const blobOf = (rig: Rig, at: number): string => {
  let digest = '';
  rig.change(({ layers }) => {
    digest = layers[at]!.digest;
  });
  return digest;
};

const losses: Loss[] = [
  {
    name: 'no such cache',
    spoil: (rig) => rig.registry.repository('team/cache').tags.clear(),
    cached: 0,
    warning: /is not used/,
  },
  {
    name: 'records that are gone',
    spoil: (rig) => rig.registry.fault({ method: 'GET', path: /blobs/ }, { status: 404 }),
    cached: 0,
    warning: /is not used/,
  },
  {
    name: 'a layer that is gone',
    spoil: (rig) => {
      const digest = blobOf(rig, 0);
      rig.registry.blobs.delete(digest);
      rig.registry.repository('team/cache').blobs.delete(digest);
    },
    cached: 1,
    warning: /cannot be had/,
  },
  {
    name: 'a layer with other bytes',
    spoil: (rig) => {
      const digest = blobOf(rig, 1);
      const bytes = Buffer.from(rig.registry.blobs.get(digest)!);
      bytes[bytes.length >> 1]! ^= 1;
      rig.registry.blobs.set(digest, bytes);
    },
    cached: 1,
    warning: /cannot be had/,
  },
  {
    name: 'a layer under a DiffID that is not its own',
    spoil: (rig) =>
      rig.change(({ layers }) => {
        layers[0]!.annotations!['containerd.io/uncompressed'] = hex('e');
      }),
    cached: 1,
    warning: /cannot be had/,
  },
  {
    name: 'a layer whose size is a lie',
    spoil: (rig) =>
      rig.change(({ layers }) => {
        layers[0]!.size += 100;
      }),
    cached: 1,
    warning: /cannot be had/,
  },
  {
    name: 'a layer that inflates without an end',
    spoil: (rig) => {
      const bomb = gzipSync(Buffer.alloc(300 * 2 ** 20), { level: 9 });
      rig.change(({ layers }) => {
        const digest = rig.registry.putBlob('team/cache', bomb);
        // Under a DiffID that is never met.
        Object.assign(layers[0]!, { digest, size: bomb.length });
      });
      const repository = rig.registry.repository('team/cache');
      const { bytes } = repository.manifests.get(repository.tags.get('main')!)!;
      const manifest = JSON.parse(bytes.toString()) as { config: Descriptor; layers: Descriptor[] };
      const config = JSON.parse(rig.registry.blobs.get(manifest.config.digest)!.toString());
      config.layers[0].blob = manifest.layers[0]!.digest;
      const changed = Buffer.from(JSON.stringify(config));
      const digest = rig.registry.putBlob('team/cache', changed);
      rig.change((value) => Object.assign(value.config, { digest, size: changed.length }));
    },
    cached: 1,
    warning: /cannot be had/,
  },
];

describe('a cache that is lost or lies is a miss', () => {
  for (const { name, spoil, cached, warning } of losses) {
    it(name, async () => {
      await using rig = await Rig.open();
      const first = await rig.seed();
      spoil(rig);
      const run = await rig.take();
      assert.equal(copies(run.cached), cached, `cached: ${run.cached}`);
      assert.match(warnings(run).join('\n'), warning);
      await checkBuilt(rig.b, run);
      assert.deepEqual(run.image.diffIds.length, first.image.diffIds.length);
    });
  }

  it('a key that leads to the layer of another step: believed, and stored under its own digests', async () => {
    await using rig = await Rig.open();
    const first = await rig.seed();
    const repository = rig.registry.repository('team/cache');
    const { bytes } = repository.manifests.get(repository.tags.get('main')!)!;
    const { config } = JSON.parse(bytes.toString()) as { config: Descriptor };
    const records = JSON.parse(rig.registry.blobs.get(config.digest)!.toString());
    for (const { chains } of records.records) if (chains !== undefined) chains[0].layers = [0];
    const changed = Buffer.from(JSON.stringify(records));
    const digest = rig.registry.putBlob('team/cache', changed);
    rig.change((value) => Object.assign(value.config, { digest, size: changed.length }));
    const run = await rig.take('FROM scratch\nCOPY a.txt /a');
    assert.equal(copies(run.cached), 1);
    assert.ok(first.image.diffIds.includes(run.image.diffIds[0]!));
    assert.deepEqual((await verifyStore(rig.b.store)).damaged, []);
  });
});

const record = (rest: object): object => ({ records: [{ digest: hex('1'), ...rest }] });

const badConfigs: [string, Uint8Array | object][] = [
  ['no JSON', Buffer.from('{"records":[')],
  ['no UTF-8', Buffer.from([0x22, 0xff, 0xfe, 0x22])],
  ['nothing', Buffer.alloc(0)],
  ['a list', []],
  ['null', Buffer.from('null')],
  ['text for records', { records: 'x' }],
  ['numbers for records', { records: [1, 2] }],
  [
    'a link to a record that is not there',
    record({ inputs: [[{ link: 7 }]], chains: [{ layers: [], createdAt: '2026-01-01T00:00:00Z' }] }),
  ],
  [
    'a link backwards',
    record({ inputs: [[{ link: -1 }]], chains: [{ layers: [], createdAt: '2026-01-01T00:00:00Z' }] }),
  ],
  ['a layer that is not there', record({ chains: [{ layers: [3], createdAt: '2026-01-01T00:00:00Z' }] })],
  ['a layer that is no number', record({ chains: [{ layers: ['0'], createdAt: '2026-01-01T00:00:00Z' }] })],
  ['no time', record({ chains: [{ layers: [] }] })],
  ['a digest that is none', { layers: [{ blob: '../../x', parent: -1 }] }],
  ['depth', Buffer.from(`{"records":${'['.repeat(1_000_000)}`)],
  ['size', Buffer.from(`{"records":[${'{},'.repeat(2_000_000)}{}]}`)],
];

const uselessConfigs: [string, object][] = [
  ['no records', {}],
  ['records of nobody', { records: [{}, { digest: 'x' }, { digest: hex('2'), inputs: [[{ link: 0 }]] }] }],
  ['a loop', record({ inputs: [[{ link: 0 }]], chains: [{ layers: [], createdAt: '2026-01-01T00:00:00Z' }] })],
  ['an unknown time', record({ chains: [{ layers: [], createdAt: 'yesterday' }] })],
  ['names of the language', { records: [{ digest: hex('1'), __proto__: { x: 1 }, constructor: 1 }] }],
];

describe('a cache with a bad config is told and left', () => {
  for (const [name, config] of badConfigs) {
    it(name, async () => {
      await using rig = await Rig.open();
      rig.putConfig(config);
      const run = await rig.take();
      assert.match(warnings(run).join('\n'), /is not used/);
      assert.equal(copies(run.done), 2);
    });
  }

  for (const [name, config] of uselessConfigs) {
    it(`${name}: no hit`, async () => {
      await using rig = await Rig.open();
      rig.putConfig(config);
      const run = await rig.take();
      assert.deepEqual(warnings(run), []);
      assert.equal(copies(run.done), 2);
    });
  }

  for (const [name, text] of [
    ['no base64', '%%%'],
    ['no JSON', Buffer.from('[{').toString('base64')],
    [
      'a layer that the image has not',
      Buffer.from(
        JSON.stringify([{ digest: hex('1'), chains: [{ layers: [9], createdAt: '2026-01-01T00:00:00Z' }] }]),
      ).toString('base64'),
    ],
  ] as const) {
    it(`inline: ${name}`, async () => {
      await using rig = await Rig.open();
      const config = Buffer.from(
        JSON.stringify({
          architecture: 'amd64',
          os: 'linux',
          rootfs: { type: 'layers', diff_ids: [hex('a')] },
          [INLINE_CACHE]: text,
        }),
      );
      const digest = rig.registry.putBlob('team/cache', config);
      rig.registry.putManifest('team/cache', 'main', {
        schemaVersion: 2,
        mediaType: MANIFEST,
        config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: config.length },
        layers: [{ mediaType: GZIP, digest: hex('b'), size: 5 }],
      });
      const run = await rig.take();
      assert.match(warnings(run).join('\n'), /is not used/);
      assert.equal(copies(run.done), 2);
    });
  }

  it('an index of thousands of images', async () => {
    await using rig = await Rig.open();
    const manifests = Array.from({ length: 5000 }, (_, i) => ({
      mediaType: MANIFEST,
      digest: sha256(String(i)),
      size: 10,
    }));
    rig.registry.putManifest('team/cache', 'main', {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests,
    });
    const run = await rig.take();
    assert.equal(copies(run.done), 2);
    assert.ok(rig.registry.log.length < 40);
  });
});

describe('a cache in a directory', () => {
  const place = (rig: Rig): string => join(rig.a.directory, 'cache');
  const from = (rig: Rig): { cacheFrom: string[] } => ({ cacheFrom: [`type=local,src=${place(rig)}`] });
  const seed = (rig: Rig): Promise<BuildRun> =>
    rig.a.build(TEXT, { cacheTo: [`type=local,dest=${place(rig)},mode=max`] });

  it('that is not there, or has nothing', async () => {
    await using rig = await Rig.open();
    const first = await rig.b.build(TEXT, from(rig));
    mkdirSync(place(rig));
    const second = await rig.b.build(TEXT, from(rig));
    for (const run of [first, second]) assert.match(warnings(run).join('\n'), /is not used/);
  });

  it('with cut and missing layers', async () => {
    await using rig = await Rig.open();
    await seed(rig);
    const blobs = join(place(rig), 'blobs/sha256');
    for (const name of readdirSync(blobs)) {
      const path = join(blobs, name);
      if (readFileSync(path)[0] === 0x1f) truncateSync(path, statSync(path).size - 10);
    }
    const run = await rig.b.build(TEXT, from(rig));
    assert.equal(warnings(run).length, 2);
    await checkBuilt(rig.b, run);
    // The next export puts right what it can see: the size.
    await seed(rig);
    using other = new BuildLab();
    other.write(FILES);
    const again = await other.build(TEXT, from(rig));
    assert.equal(copies(again.cached), 2, warnings(again).join('\n'));
  });

  it('is not put into a directory of something else', async () => {
    await using rig = await Rig.open();
    mkdirSync(place(rig));
    writeFileSync(join(place(rig), 'mine'), '');
    await assert.rejects(seed(rig), { code: 'OUTPUT_EXISTS' });
    assert.deepEqual(readdirSync(place(rig)), ['mine']);
  });
});

describe('an export that fails', () => {
  it('fails the build, unless it is told not to', async () => {
    await using rig = await Rig.open();
    rig.registry.fault({ method: 'POST' }, { status: 403 }, 100);
    await assert.rejects(rig.seed(), { name: 'ImagoError' });
    const run = await rig.a.build(TEXT, { cacheTo: [`type=registry,ref=${rig.ref},ignore-error=true`] });
    assert.ok(run.events.some((event) => event.type === 'warning' && /not exported/.test(event.text)));
    assert.equal(rig.registry.repository('team/cache').tags.size, 0);
  });

  it('goes on after broken connections', async () => {
    await using rig = await Rig.open();
    rig.registry.fault({ method: 'PATCH' }, { cutRequestAfter: 40 }, 1);
    rig.registry.fault({ method: 'PUT', path: /manifests/ }, { drop: true }, 1);
    const first = await rig.seed();
    const run = await rig.take();
    assert.equal(copies(run.cached), 2);
    assert.equal(run.id, first.id);
  });
});

describe('several at once', () => {
  it('builds that export to one name: one of them is there whole', async () => {
    await using rig = await Rig.open();
    const labs = Array.from({ length: 4 }, () => new BuildLab());
    try {
      const place = join(rig.a.directory, 'cache');
      const cacheTo = [`type=registry,ref=${rig.ref},mode=max`, `type=local,dest=${place},mode=max`];
      await Promise.all(
        labs.map((lab, i) => {
          lab.write({ 'a.txt': 'one', 'b.txt': i < 2 ? 'two' : String(i) });
          return lab.build(TEXT, { cacheTo });
        }),
      );
      for (const cacheFrom of [[rig.ref], [`type=local,src=${place}`]]) {
        using lab = new BuildLab();
        lab.write(FILES);
        const run = await lab.build(TEXT, { cacheFrom });
        // The first step is in all of them.
        assert.ok(copies(run.cached) >= 1, `${run.done}`);
        assert.deepEqual(warnings(run), []);
        await checkBuilt(lab, run);
      }
      assert.deepEqual(
        readdirSync(join(place, 'blobs/sha256')).filter((name) => name.startsWith('.')),
        [],
      );
    } finally {
      for (const lab of labs) lab[Symbol.dispose]();
    }
  });

  it('imports while all is pruned', async () => {
    await using rig = await Rig.open();
    await rig.seed();
    let done = false;
    const pruning = (async () => {
      for (let i = 0; !done; i++) {
        await pruneCache(rig.b.store, { all: true });
        if (i % 2 === 1) await prune(rig.b.store, { untag: () => false });
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
    try {
      for (let i = 0; i < 8; i++) {
        const run = await rig.take();
        assert.equal(copies(run.cached), 2);
        assert.equal(rig.b.read(run.image, 'b'), 'two');
      }
    } finally {
      done = true;
      await pruning;
    }
    assert.deepEqual((await verifyStore(rig.b.store)).damaged, []);
  });
});

describe('a build that is killed', () => {
  const size = 12 * 2 ** 20;
  /** Starts a build and kills it when `ready`. */
  async function killWhen(lab: BuildLab, args: string[], ready: () => boolean): Promise<void> {
    writeFileSync(join(lab.directory, 'Dockerfile'), TEXT);
    const child = spawn(
      process.execPath,
      [main, 'build', '-q', '-f', join(lab.directory, 'Dockerfile'), ...args, lab.context],
      {
        env: { ...process.env, IMAGO_ROOT: lab.store.root, IMAGO_RUN: lab.store.run },
        stdio: 'ignore',
      },
    );
    const ended = once(child, 'close');
    const end = Date.now() + 20_000;
    while (!ready() && child.exitCode === null && Date.now() < end)
      await new Promise((resolve) => setTimeout(resolve, 2));
    child.kill('SIGKILL');
    await ended;
  }
  const noise = (): string => randomBytes(size).toString('base64');

  it('in an export to a directory: nothing wrong is there, and the next one is whole', async () => {
    await using rig = await Rig.open();
    rig.a.write({ 'b.txt': noise() });
    const place = join(rig.a.directory, 'cache');
    const blobs = join(place, 'blobs/sha256');
    await killWhen(
      rig.a,
      ['--cache-to', `type=local,dest=${place},mode=max`],
      () => existsSync(blobs) && readdirSync(blobs).length > 0,
    );
    assert.equal(existsSync(join(place, 'index.json')), false);
    const second = await rig.b.build('FROM scratch\nCOPY a.txt /a', { cacheFrom: [`type=local,src=${place}`] });
    assert.equal(copies(second.done), 1);
    const first = await rig.a.build(TEXT, { cacheTo: [`type=local,dest=${place},mode=max`] });
    assert.equal(copies(first.cached), 2);
    rig.b.write({ 'b.txt': readFileSync(join(rig.a.context, 'b.txt'), 'latin1') });
    rmSync(join(rig.b.store.root, 'cache'), { recursive: true });
    mkdirSync(join(rig.b.store.root, 'cache'));
    const third = await rig.b.build(TEXT, { cacheFrom: [`type=local,src=${place}`] });
    assert.equal(copies(third.cached), 2);
  });

  it('in an export to a registry, and in an import from it', async () => {
    await using rig = await Rig.open();
    rig.a.write({ 'b.txt': noise() });
    const to = `type=registry,ref=${rig.ref},mode=max`;
    await killWhen(rig.a, ['--cache-to', to], () => rig.registry.uploads.size > 0);
    assert.equal(rig.registry.repository('team/cache').tags.size, 0);
    const first = await rig.a.build(TEXT, { cacheTo: [to] });
    rig.b.write({ 'b.txt': readFileSync(join(rig.a.context, 'b.txt'), 'latin1') });
    const ingest = join(rig.b.store.root, 'ingest');
    await killWhen(
      rig.b,
      ['--cache-from', rig.ref],
      () => existsSync(ingest) && readdirSync(ingest).some((name) => name.startsWith('partial-')),
    );
    assert.deepEqual((await verifyStore(rig.b.store)).damaged, []);
    const run = await rig.b.build(TEXT, { cacheFrom: [rig.ref] });
    assert.equal(copies(run.cached), 2);
    assert.deepEqual(run.image.diffIds, first.image.diffIds);
    await prune(rig.b.store, { keepCache: true });
    assert.deepEqual(readdirSync(join(rig.b.store.root, 'leases')), []);
  });
});
