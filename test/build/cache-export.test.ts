import assert from 'node:assert/strict';
import { chmodSync, readFileSync, renameSync, rmSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { CACHE_CONFIG_TYPE, INLINE_CACHE } from '../../src/build/cache-format.ts';
import type { BuildOptions } from '../../src/engine/build-options.ts';
import { importImage } from '../../src/engine/import.ts';
import type { Descriptor } from '../../src/oci/descriptor.ts';
import { pushName } from '../../src/transfer/push.ts';
import { FakeRegistry } from '../registry/fake-registry.ts';
import { BuildLab, type BuildRun, type Files, whyNoRun } from './lab.ts';

const FILES: Files = { 'a.txt': 'one', 'b.txt': 'two', 'd/x': 'x'.repeat(40_000), 'd/link': '->x' };
const STAGES = [
  'FROM scratch AS tools',
  'COPY d /tools/',
  'FROM scratch',
  'WORKDIR /app',
  'COPY a.txt b.txt ./',
  'WORKDIR /app',
  'COPY --from=tools /tools/x /x',
].join('\n');

/** Two stores that know nothing of each other, and a registry between them. */
class Pair implements AsyncDisposable {
  readonly a: BuildLab = new BuildLab();
  readonly b: BuildLab = new BuildLab();
  readonly registry: FakeRegistry;

  private constructor(registry: FakeRegistry) {
    this.registry = registry;
    for (const lab of [this.a, this.b]) lab.write(FILES);
  }

  static async open(): Promise<Pair> {
    return new Pair(await FakeRegistry.start());
  }

  get ref(): string {
    return `${this.registry.host}/team/cache:main`;
  }

  /** Bytes of layers that were sent and taken. */
  sent(): number {
    return this.registry.log
      .filter(({ path }) => path.includes('/blobs/'))
      .reduce((sum, { received }) => sum + received, 0);
  }

  gets(): string[] {
    return this.registry.log
      .filter(({ method, path }) => method === 'GET' && path.includes('/blobs/'))
      .map(({ path }) => path.split('/').at(-1)!);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.a[Symbol.dispose]();
    this.b[Symbol.dispose]();
    await this.registry[Symbol.asyncDispose]();
  }
}

const GZIP = 'application/vnd.oci.image.layer.v1.tar+gzip';

const steps = (run: BuildRun): string[] => run.done.filter((name) => /^(?:COPY|RUN|ADD|WORKDIR)/.test(name));

function warnings(run: BuildRun): string[] {
  return run.events.flatMap((event) => (event.type === 'warning' && /cache/.test(event.text) ? [event.text] : []));
}

describe('a cache travels from one store to another', () => {
  for (const [name, to, from] of [
    ['registry', 'type=registry,ref=REF,mode=max', 'type=registry,ref=REF'],
    ['a bare reference', 'type=registry,ref=REF,mode=max', 'REF'],
    ['a list of layers, as BuildKit made it', 'type=registry,ref=REF,mode=max,image-manifest=false', 'REF'],
    ['zstd', 'type=registry,ref=REF,mode=max,compression=zstd', 'REF'],
    ['uncompressed', 'type=registry,ref=REF,mode=max,compression=uncompressed', 'REF'],
    ['local', 'type=local,dest=DIR,mode=max', 'type=local,src=DIR'],
    ['local, zstd', 'type=local,dest=DIR,mode=max,compression=zstd,compression-level=9', 'type=local,src=DIR'],
    ['local, uncompressed', 'type=local,dest=DIR,mode=max,compression=uncompressed', 'type=local,src=DIR'],
    ['local, by tag', 'type=local,dest=DIR,mode=max,tag=x', 'type=local,src=DIR,tag=x'],
  ] as const) {
    it(name, async () => {
      await using pair = await Pair.open();
      const place = (text: string): string =>
        text.replace('REF', pair.ref).replace('DIR', join(pair.a.directory, 'cache'));
      const first = await pair.a.build(STAGES, { cacheTo: [place(to)] });
      const second = await pair.b.build(STAGES, { cacheFrom: [place(from)] });
      assert.deepEqual(warnings(second), []);
      assert.deepEqual(steps(second), []);
      assert.equal(second.id, first.id);
      assert.deepEqual(pair.b.list(second.image), pair.a.list(first.image));
      // And from the store alone the next time.
      const third = await pair.b.build(STAGES);
      assert.deepEqual(steps(third), []);
      assert.equal(third.id, first.id);
    });
  }
});

interface TravelCase {
  name: string;
  dockerfile?: string;
  options?: BuildOptions;
  /** In the second store, before its build. */
  change(lab: BuildLab): unknown;
}

const COPY_ALL = 'FROM scratch\nCOPY . /app/';

const wrongHits: TravelCase[] = [
  { name: 'content', change: (lab) => lab.write({ 'a.txt': 'ONE' }) },
  { name: 'mode', change: (lab) => chmodSync(join(lab.context, 'a.txt'), 0o755) },
  { name: 'a link target', change: (lab) => lab.write({ 'd/link': '->y' }) },
  { name: 'a renamed file', change: (lab) => renameSync(join(lab.context, 'a.txt'), join(lab.context, 'z.txt')) },
  { name: 'a deleted file', change: (lab) => rmSync(join(lab.context, 'b.txt')) },
  { name: 'a new file', change: (lab) => lab.write({ new: '' }) },
  { name: '.dockerignore', change: (lab) => lab.write({ '.dockerignore': 'b.txt\n.dockerignore' }) },
  { name: '--chmod', change: () => ({ dockerfile: 'FROM scratch\nCOPY --chmod=700 . /app/' }) },
  { name: 'the destination', change: () => ({ dockerfile: 'FROM scratch\nCOPY . /other/' }) },
  { name: 'the epoch', change: () => ({ options: { epoch: new Date(1_000_000_000_000) } }) },
  {
    name: 'an ARG',
    dockerfile: 'FROM scratch\nARG d=/x\nCOPY a.txt $d',
    change: () => ({ options: { buildArgs: { d: '/y' } } }),
  },
  {
    name: 'a changed stage',
    dockerfile: 'FROM scratch AS s\nCOPY a.txt /o/\nFROM scratch\nCOPY --from=s /o /o',
    change: (lab) => lab.write({ 'a.txt': 'ONE' }),
  },
  {
    name: 'a layer below',
    dockerfile: 'FROM scratch\nCOPY a.txt /\nCOPY b.txt /',
    change: (lab) => lab.write({ 'a.txt': 'ONE' }),
  },
  { name: '--no-cache', change: () => ({ options: { noCache: true } }) },
];

const wrongMisses: TravelCase[] = [
  { name: 'nothing', change: () => {} },
  { name: 'times', change: (lab) => utimesSync(join(lab.context, 'a.txt'), 1, 1) },
  { name: 'an ignored file', change: (lab) => lab.write({ '.dockerignore': '*.log\n.dockerignore', 'x.log': '1' }) },
  { name: 'a label', change: () => ({ dockerfile: 'FROM scratch\nLABEL a=b\nCOPY . /app/' }) },
  { name: 'layout of the Dockerfile', change: () => ({ dockerfile: '# x\nFROM   scratch\n\ncopy . \\\n /app/' }) },
  { name: 'another name', change: () => ({ options: { tags: ['other'] } }) },
  {
    name: 'a stage of another name',
    dockerfile: 'FROM scratch AS s\nCOPY a.txt /o/\nFROM scratch\nCOPY --from=s /o /o',
    change: () => ({ dockerfile: 'FROM scratch AS t\nCOPY a.txt /o/\nFROM scratch\nCOPY --from=t /o /o' }),
  },
  {
    name: 'a step that changes nothing',
    dockerfile: 'FROM scratch\nWORKDIR /w\nCOPY a.txt ./\nWORKDIR /w',
    change: () => {},
  },
];

/** Names of the steps of the last stage that were done, and not taken. */
async function tryTravel({
  dockerfile = COPY_ALL,
  options,
  change,
}: TravelCase): Promise<{ first: BuildRun; second: BuildRun }> {
  using a = new BuildLab();
  using b = new BuildLab();
  for (const lab of [a, b]) lab.write({ ...FILES, 'd/y': 'y' });
  const place = join(a.directory, 'cache');
  const first = await a.build(dockerfile, { ...options, cacheTo: [`type=local,dest=${place},mode=max`] });
  const next = (change(b) ?? {}) as { dockerfile?: string; options?: BuildOptions };
  const from = { cacheFrom: [`type=local,src=${place}`] };
  const second = await b.build(next.dockerfile ?? dockerfile, { ...options, ...from, ...next.options });
  assert.deepEqual(warnings(second), []);
  return { first, second };
}

describe('a cache from elsewhere never gives a wrong result', () => {
  for (const item of wrongHits) {
    it(item.name, async () => {
      const { second } = await tryTravel(item);
      assert.notEqual(steps(second).length, 0, `cached: ${second.cached}`);
    });
  }

  it('a base of the same name with other layers', { skip: whyNoRun() }, async () => {
    using a = new BuildLab();
    using b = new BuildLab();
    await a.importBase();
    await b.importBase({ 'etc/other': '1' });
    const place = join(a.directory, 'cache');
    await a.build('FROM base\nRUN echo 1 > /x', { cacheTo: [`type=local,dest=${place}`] });
    const second = await b.build('FROM base\nRUN echo 1 > /x', { cacheFrom: [`type=local,src=${place}`] });
    assert.equal(steps(second).length, 1);
  });
});

describe('a cache from elsewhere gives every right result', () => {
  for (const item of wrongMisses) {
    it(item.name, async () => {
      const { second } = await tryTravel(item);
      assert.deepEqual(steps(second), []);
    });
  }

  it('RUN, with the environment that counts', { skip: whyNoRun() }, async () => {
    using a = new BuildLab();
    using b = new BuildLab();
    await a.importBase();
    await importImage(b.store, join(a.directory, 'base.tar'), { reference: 'base' });
    const text = 'FROM base\nARG v=1\nENV e=2\nRUN echo $v$e > /x\nRUN true';
    const place = join(a.directory, 'cache');
    const first = await a.build(text, { cacheTo: [`type=local,dest=${place}`] });
    const second = await b.build(text, { cacheFrom: [`type=local,src=${place}`] });
    assert.deepEqual(steps(second), []);
    assert.equal(b.read(second.image, 'x'), '12\n');
    assert.deepEqual(second.image.diffIds, first.image.diffIds);
    const third = await b.build(text, { cacheFrom: [`type=local,src=${place}`], buildArgs: { v: '2' } });
    assert.equal(steps(third).length, 2);
  });
});

describe('what travels', () => {
  it('sends nothing the second time, nor from the store that took it', async () => {
    await using pair = await Pair.open();
    const to = { cacheTo: [`type=registry,ref=${pair.ref},mode=max`] };
    await pair.a.build(STAGES, to);
    const sent = pair.sent();
    assert.ok(sent > 0);
    const puts = pair.registry.count('PUT', /manifests/);
    await pair.a.build(STAGES, to);
    await pair.b.build(STAGES, { ...to, cacheFrom: [pair.ref] });
    assert.equal(pair.sent(), sent);
    assert.equal(pair.registry.count('PUT', /manifests/), puts);
    assert.equal(pair.registry.count('POST'), pair.registry.count('PUT', /uploads/));
  });

  it('takes each layer once, and none that is not hit', async () => {
    await using pair = await Pair.open();
    await pair.a.build(STAGES, { cacheTo: [`type=registry,ref=${pair.ref},mode=max`] });
    const before = pair.registry.log.length;
    // Only the stage is the same.
    const run = await pair.b.build('FROM scratch AS tools\nCOPY d /tools/', { cacheFrom: [pair.ref] });
    assert.deepEqual(steps(run), []);
    const gets = pair.registry.log.slice(before).filter(({ method, path }) => method === 'GET' && /blobs/.test(path));
    // The records, and one layer.
    assert.equal(gets.length, 2);
    await pair.b.build(STAGES, { cacheFrom: [pair.ref] });
    assert.equal(new Set(pair.gets()).size, pair.gets().length - 1, 'the records alone are read again');
  });

  it('mounts layers that another repository of the registry has', async () => {
    await using pair = await Pair.open();
    await pair.a.build(STAGES, { tags: [`${pair.registry.host}/team/app:1`] });
    await pushName(pair.a.store, `${pair.registry.host}/team/app:1`);
    const sent = pair.sent();
    await pair.a.build(STAGES, { cacheTo: [`type=registry,ref=${pair.ref},mode=min`] });
    // Nothing but the records.
    assert.ok(pair.sent() - sent < 4000, `${pair.sent() - sent} bytes`);
    assert.ok(pair.registry.count('POST', /mount=/) >= 3);
  });

  it('mode=min has the layers of the result alone', async () => {
    await using pair = await Pair.open();
    const sizes = [];
    for (const mode of ['min', 'max']) {
      const place = join(pair.a.directory, mode);
      const { image } = await pair.a.build(STAGES, { cacheTo: [`type=local,dest=${place},mode=${mode}`] });
      const { layers } = readCache(place);
      sizes.push(layers.length);
      if (mode === 'min') {
        const diffIds = layers.map(({ annotations }) => annotations!['containerd.io/uncompressed']);
        assert.deepEqual(diffIds.sort(), [...new Set<string>(image.diffIds)].sort());
      }
    }
    assert.deepEqual(sizes, [3, 4]);
  });

  it('inline: the image has its own cache', async () => {
    await using pair = await Pair.open();
    const name = `${pair.registry.host}/team/app:1`;
    const text = 'FROM scratch\nWORKDIR /app\nCOPY a.txt ./\nWORKDIR /app\nCOPY d /d/';
    const first = await pair.a.build(text, { tags: [name], cacheTo: ['type=inline'] });
    const config = JSON.parse(pair.a.store.readBlob(first.id).toString()) as Record<string, string>;
    const records = JSON.parse(Buffer.from(config[INLINE_CACHE]!, 'base64').toString());
    checkRecords(records, 3);
    await pushName(pair.a.store, name);
    const second = await pair.b.build(text, { cacheFrom: [name], cacheTo: ['type=inline'] });
    assert.deepEqual(steps(second), []);
    assert.equal(second.id, first.id);
    // Nobody inherits it.
    const third = await pair.a.build(`FROM ${name}\nLABEL a=b`);
    assert.equal(INLINE_CACHE in JSON.parse(pair.a.store.readBlob(third.id).toString()), false);
  });

  it('is what BuildKit takes', async () => {
    await using pair = await Pair.open();
    const place = join(pair.a.directory, 'cache');
    await pair.a.build(STAGES, { cacheTo: [`type=local,dest=${place},mode=max`] });
    const { layers, config } = readCache(place);
    assert.deepEqual(
      config.layers.map(({ blob }) => blob),
      layers.map(({ digest }) => digest),
    );
    for (const { parent } of config.layers) assert.equal(parent, -1);
    checkRecords(config.records, layers.length);
    // The same build again: byte for byte.
    const before = readFileSync(join(place, 'index.json'));
    await pair.a.build(STAGES, { cacheTo: [`type=local,dest=${place},mode=max`] });
    assert.deepEqual(readFileSync(join(place, 'index.json')), before);
  });
});

interface WrittenCache {
  layers: Descriptor[];
  config: { layers: { blob: string; parent: number }[]; records: WrittenRecord[] };
}

interface WrittenRecord {
  digest: string;
  inputs?: { link: number; selector?: string }[][];
  layers?: { layer: number }[];
  chains?: { layers: number[]; createdAt: string }[];
}

function readCache(place: string): WrittenCache {
  const read = (digest: string): Buffer => readFileSync(join(place, 'blobs', digest.replace(':', '/')));
  const index = JSON.parse(readFileSync(join(place, 'index.json'), 'utf8')) as { manifests: Descriptor[] };
  const manifest = JSON.parse(read(index.manifests[0]!.digest).toString()) as {
    config: Descriptor;
    layers: Descriptor[];
  };
  assert.equal(manifest.config.mediaType, CACHE_CONFIG_TYPE);
  return { layers: manifest.layers, config: JSON.parse(read(manifest.config.digest).toString()) };
}

/** What BuildKit's reader asks for (cache/remotecache/v1/parse.go): links and layers that are there, and no loops. */
function checkRecords(records: WrittenRecord[], layers: number): void {
  const visit = (at: number, above: number[]): void => {
    assert.ok(at >= 0 && at < records.length && !above.includes(at));
    const { digest, inputs = [], chains = [] } = records[at]!;
    assert.match(digest, /^sha256:[0-9a-f]{64}$/);
    for (const slot of inputs) {
      assert.notEqual(slot.length, 0);
      for (const { link } of slot) visit(link, [...above, at]);
    }
    for (const chain of chains) {
      assert.match(chain.createdAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/);
      for (const layer of chain.layers) assert.ok(layer >= 0 && layer < layers);
    }
  };
  assert.notEqual(records.length, 0);
  for (const i of records.keys()) visit(i, []);
}

/** As BuildKit 0.13 (docker 26) writes them: chains of layers from the base on, links with selectors. */
const BUILDKIT_CONFIG = {
  layers: [{ blob: `sha256:${'a'.repeat(64)}`, parent: -1 }, { blob: `sha256:${'b'.repeat(64)}` }],
  records: [
    { digest: `sha256:${'1'.repeat(64)}` },
    {
      digest: `sha256:${'2'.repeat(64)}`,
      inputs: [[{ selector: `sha256:${'3'.repeat(64)}`, link: 0 }], [{ link: 0 }]],
      layers: [{ layer: 1, createdAt: '2026-01-02T03:04:05.123456789Z' }],
    },
  ],
};

describe('caches that BuildKit wrote', () => {
  const layers = ['a', 'b'].map((hex) => ({ mediaType: GZIP, digest: `sha256:${hex.repeat(64)}` as const, size: 5 }));
  for (const list of [false, true]) {
    it(list ? 'a list of layers' : 'an image manifest', async () => {
      await using pair = await Pair.open();
      const bytes = Buffer.from(JSON.stringify(BUILDKIT_CONFIG));
      const digest = pair.registry.putBlob('team/cache', bytes);
      const config = { mediaType: CACHE_CONFIG_TYPE, digest, size: bytes.length };
      const manifest = list
        ? { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [...layers, config] }
        : { schemaVersion: 2, mediaType: 'application/vnd.oci.image.manifest.v1+json', config, layers };
      pair.registry.putManifest('team/cache', 'main', manifest);
      const run = await pair.a.build(STAGES, { cacheFrom: [pair.ref] });
      assert.deepEqual(warnings(run), []);
      assert.equal(steps(run).length, 5);
    });
  }
});

describe('the options of caches', () => {
  for (const [from, to] of [
    ['type=gha', undefined],
    ['type=local', undefined],
    ['type=local,src=x,digest=y', undefined],
    ['type=registry', undefined],
    ['type=registry,ref=A B', undefined],
    ['type=registry,ref=x,mode=max', undefined],
    ['', undefined],
    [undefined, 'type=s3'],
    [undefined, 'type=local'],
    [undefined, 'type=registry,ref='],
    [undefined, 'type=registry,ref=x,mode=all'],
    [undefined, 'type=registry,ref=x,image-manifest=true,oci-mediatypes=false'],
    [undefined, 'type=registry,ref=x,ignore-error=perhaps'],
    [undefined, 'type=registry,ref=x,compression=lz4'],
    [undefined, `type=registry,ref=x@sha256:${'a'.repeat(64)}`],
    [undefined, 'type=inline,dest=x'],
  ] as const) {
    it(`refused before anything is done: ${from ?? to}`, async () => {
      using lab = new BuildLab();
      const cacheFrom = from === undefined ? [] : [from];
      const cacheTo = to === undefined ? [] : [to];
      const events: unknown[] = [];
      const options = { cacheFrom, cacheTo, onEvent: (event: unknown) => events.push(event) };
      await assert.rejects(lab.build('FROM nowhere', options), {
        name: 'ImagoError',
        code: /^BAD_(?:CACHE_OPTION|REFERENCE|COMPRESSION)$/,
      });
      assert.deepEqual(events, []);
    });
  }
});
