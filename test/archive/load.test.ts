import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, it, describe as suite } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { loadArchive } from '../../src/archive/load.ts';
import { isImagoError } from '../../src/core/errors.ts';
import { readImage } from '../../src/image/image.ts';
import { hasLayer } from '../../src/store/layers.ts';
import { origins } from '../../src/store/origins.ts';
import {
  addBlobs,
  blobs,
  chunks,
  describe,
  inFlight,
  json,
  Lab,
  layout,
  layoutOf,
  noise,
  OCI,
  type SampleImage,
  sampleImage,
  sha256,
} from './lab.ts';

let lab: Lab;
let first: Buffer;
let second: Buffer;
let sample: SampleImage;

before(() => {
  lab = new Lab();
  // Above the size from which a thread does it, compressed too.
  first = lab.tar(lab.tree('l1', { 'etc/os-release': 'ID=sample\n', 'usr/noise': noise(1 << 20) }));
  second = lab.tar(lab.tree('l2', { 'etc/.wh.os-release': '', 'app/main': 'print()\n' }));
  sample = sampleImage([first, second]);
});
after(() => lab[Symbol.dispose]());

const NAME = { 'org.opencontainers.image.ref.name': 'example.org/team/app:1' };

suite('what an archive is does not matter to what is loaded', () => {
  const forms: [string, (dir: string, tar: Buffer) => string | AsyncIterable<Uint8Array>, string?][] = [
    ['a directory', (dir) => dir],
    ['a tar in a file', (_, tar) => file('a.tar', tar)],
    ['a tar from a stream', (_, tar) => chunks(tar)],
    ['a tar from a stream in small pieces', (_, tar) => chunks(tar, 777)],
    ['a gzip file', (_, tar) => file('a.tar.gz', gzipSync(tar))],
    ['gzip from a stream', (_, tar) => chunks(gzipSync(tar))],
    ['a zstd file', (_, tar) => file('a.tar.zst', zstdCompressSync(tar))],
    ['an xz file', (_, tar) => file('a.tar.xz', execFileSync('xz', ['-c'], { input: tar, maxBuffer: 1 << 28 })), 'xz'],
    [
      'a bzip2 file',
      (_, tar) => file('a.tbz', execFileSync('bzip2', ['-c'], { input: tar, maxBuffer: 1 << 28 })),
      'bzip2',
    ],
  ];
  const file = (name: string, bytes: Uint8Array): string => {
    writeFileSync(lab.path(name), bytes);
    return lab.path(name);
  };
  for (const [name, make, tool] of forms) {
    const skip = tool !== undefined && spawnSync(tool, ['--version']).error ? `${tool} is not installed` : undefined;
    it(name, { skip }, async () => {
      const store = lab.store();
      const dir = lab.tree(`layout-${store.root.at(-1)}`, layoutOf(sample, NAME));
      const [image, ...others] = await loadArchive(store, make(dir, lab.tar(dir, '--transform=s,^,./,')));
      assert.equal(others.length, 0);
      assert.equal(image!.id, sha256(sample.config));
      assert.deepEqual(image!.descriptor, describe(sample));
      assert.deepEqual(image!.names, ['example.org/team/app:1']);
      assert.deepEqual(store.getRef('example.org/team/app:1'), describe(sample));
      for (const { tar, blob } of sample.layers) {
        assert.ok(hasLayer(store, sha256(tar)));
        assert.ok(readFileSync(store.blobPath(sha256(blob))).equals(blob), 'compressed bytes are kept');
        assert.deepEqual(
          origins(store, sha256(tar)).map((o) => o.digest),
          [sha256(blob)],
        );
      }
      assert.deepEqual(Buffer.from(store.readBlob(image!.descriptor.digest)), sample.manifest);
      assert.deepEqual(inFlight(store), []);
    });
  }
});

suite('names', () => {
  const load = async (annotations?: Record<string, string>, store = lab.store()) => {
    const bad: string[] = [];
    const dir = lab.tree(`names-${Math.random()}`, layoutOf(sample, annotations));
    const [image] = await loadArchive(store, dir, { onBadName: (n) => bad.push(n) });
    return { store, image: image!, bad };
  };

  it("containerd's name before the reference name, both as Docker would read them", async () => {
    const { image } = await load({ 'io.containerd.image.name': 'docker.io/library/a:2', ...NAME });
    assert.deepEqual(image.names, ['docker.io/library/a:2']);
    assert.deepEqual((await load({ 'org.opencontainers.image.ref.name': 'alpine' })).image.names, [
      'docker.io/library/alpine:latest',
    ]);
  });

  it('no name, or none that is one: known by its ID', async () => {
    for (const [annotations, told] of [
      [undefined, []],
      [{ 'org.opencontainers.image.ref.name': 'Not A Name' }, ['Not A Name']],
      [{ 'org.opencontainers.image.ref.name': `x@sha256:${'0'.repeat(64)}` }, []],
    ] as const) {
      const { store, image, bad } = await load(annotations);
      assert.deepEqual([image.names, bad], [[], told]);
      assert.deepEqual(
        store.listRefs().map((r) => r.descriptor.digest),
        [describe(sample).digest],
      );
      assert.equal(readImage(store, image.descriptor).references.length, 0);
    }
  });

  it('a name that another image had: that one stays, without it', async () => {
    const { store, image } = await load(NAME);
    const other = sampleImage([second], { cmd: '/other' });
    const dir = lab.tree('taken', layoutOf(other, NAME));
    const [taker] = await loadArchive(store, dir);
    assert.deepEqual(taker!.taken, [{ name: 'example.org/team/app:1', from: image.descriptor }]);
    assert.equal(store.listRefs().length, 2);
    assert.deepEqual((await loadArchive(store, dir))[0]!.taken, [], 'again is no change');
  });
});

suite('several images and platforms', () => {
  const here = process.arch === 'arm64' ? 'arm64' : 'amd64';
  const other = here === 'arm64' ? 'amd64' : 'arm64';
  const build = (which: { missing?: string } = {}) => {
    const out = blobs();
    const mine = sampleImage([first], { cmd: '/mine' });
    const foreign = sampleImage([second], { architecture: other, cmd: '/foreign' });
    const attestation = json({
      schemaVersion: 2,
      mediaType: `${OCI}manifest.v1+json`,
      config: { mediaType: 'application/x', ...out.put(Buffer.from('{}')) },
      layers: [],
    });
    for (const image of [mine, foreign]) addBlobs(out, image);
    if (which.missing === 'foreign') delete out.files[`blobs/${sha256(foreign.manifest).replace(':', '/')}`];
    const inner = json({
      schemaVersion: 2,
      mediaType: `${OCI}index.v1+json`,
      manifests: [
        { ...describe(foreign), platform: { os: 'linux', architecture: other } },
        { ...describe(mine), platform: { os: 'linux', architecture: here } },
        {
          mediaType: `${OCI}manifest.v1+json`,
          ...out.put(attestation),
          platform: { os: 'unknown', architecture: 'unknown' },
        },
      ],
    });
    const index = { mediaType: `${OCI}index.v1+json`, ...out.put(inner), annotations: NAME };
    return { out, mine, foreign, index };
  };
  const load = (files: Record<string, Uint8Array>, platform?: { os: string; architecture: string }) =>
    loadArchive(lab.store(), lab.tree(`multi-${Math.random()}`, files), platform && { platform });

  it('of an index, the image of this machine; of --platform, that one', async () => {
    const { out, mine, foreign, index } = build();
    assert.deepEqual(
      (await load(layout(out, [index]))).map((i) => i.descriptor),
      [describe(mine)],
    );
    const wanted = await load(layout(out, [index]), { os: 'linux', architecture: other });
    assert.deepEqual(
      wanted.map((i) => [i.descriptor.digest, i.names]),
      [[describe(foreign).digest, ['example.org/team/app:1']]],
    );
  });

  it('an index in an index; other platforms may be missing from the archive', async () => {
    const { out, mine, index } = build({ missing: 'foreign' });
    const outer = json({ schemaVersion: 2, mediaType: `${OCI}index.v1+json`, manifests: [index] });
    const nested = { mediaType: `${OCI}index.v1+json`, ...out.put(outer), annotations: NAME };
    assert.deepEqual(
      (await load(layout(out, [nested]))).map((i) => i.descriptor),
      [describe(mine)],
    );
  });

  it('no image of the platform: says which there are', async () => {
    const { out, index } = build();
    await assert.rejects(load(layout(out, [index]), { os: 'linux', architecture: 's390x' }), (e) => {
      assert.ok(isImagoError(e, 'PLATFORM_MISMATCH'));
      assert.match(e.message, /wanted linux\/s390x, got .*linux\/(amd64|arm64), linux\/(amd64|arm64)/);
      return true;
    });
  });

  it('one image of another platform, without a choice, is loaded as in Docker', async () => {
    const { foreign } = build();
    assert.equal((await load(layoutOf(foreign, NAME)))[0]!.id, sha256(foreign.config));
    await assert.rejects(load(layoutOf(foreign, NAME), { os: 'linux', architecture: here }), (e) =>
      isImagoError(e, 'PLATFORM_MISMATCH'),
    );
  });

  it('the same name for several platforms is a choice; images without names are not', async () => {
    const { out, mine, foreign } = build();
    const both = [describe(foreign), describe(mine)];
    const named = await load(
      layout(
        out,
        both.map((d) => ({ ...d, annotations: NAME })),
      ),
    );
    assert.deepEqual(
      named.map((i) => i.descriptor),
      [describe(mine)],
    );
    assert.equal((await load(layout(out, both))).length, 2);
  });

  it('one image by two names is one image; shared layers come in once', async () => {
    const out = blobs();
    addBlobs(out, sample);
    const names = ['a:1', 'b:2'].map((n) => ({
      ...describe(sample),
      annotations: { ...NAME, 'io.containerd.image.name': n },
    }));
    const done: string[] = [];
    const store = lab.store();
    await loadArchive(store, lab.tree('two-names', layout(out, names)), { onLayerDone: (id) => done.push(id) });
    assert.deepEqual(
      store.listRefs().map((r) => r.reference),
      ['docker.io/library/a:1', 'docker.io/library/b:2'],
    );
    assert.equal(done.length, 2);
  });
});

suite('Docker archives', () => {
  /** As Docker 1.10 to 24 wrote them: a directory a layer, the same layer again as a link. */
  const legacy = (
    dir: string,
    image: SampleImage,
    options: { gzip?: boolean; names?: string[] | null } = {},
  ): Buffer => {
    const [a, b] = image.layers.map((l) => (options.gzip ? gzipSync(l.tar) : l.tar));
    const id = sha256(image.config).slice(7);
    const root = lab.tree(dir, {
      'aaaa/layer.tar': a!,
      'aaaa/VERSION': '1.0',
      'aaaa/json': '{"id":"aaaa"}',
      'cccc/layer.tar': b!,
      [`${id}.json`]: image.config,
      repositories: '{"legacy":{"1":"cccc"}}',
      'manifest.json': JSON.stringify([
        {
          Config: `${id}.json`,
          RepoTags: options.names ?? null,
          Layers: ['aaaa/layer.tar', 'bbbb/layer.tar', 'cccc/layer.tar'],
        },
      ]),
    });
    mkdirSync(join(root, 'bbbb'));
    symlinkSync('../aaaa/layer.tar', join(root, 'bbbb/layer.tar'));
    return lab.tar(root);
  };
  const twice = (): SampleImage => {
    const image = sampleImage([first, first, second]);
    return { ...image, layers: [image.layers[0]!, image.layers[2]!] };
  };

  it('legacy, from a file and from a stream, plain or compressed layers: the same image', async () => {
    const image = twice();
    const seen = new Set<string>();
    for (const gzip of [false, true]) {
      const tar = legacy(`legacy-${gzip}`, image, { gzip, names: ['legacy:1', 'other/legacy:2'] });
      for (const source of [chunks(tar), lab.path(`legacy-${gzip}.tar`)]) {
        if (typeof source === 'string') writeFileSync(source, tar);
        const store = lab.store();
        const [loaded] = await loadArchive(store, source);
        assert.equal(loaded!.id, sha256(image.config));
        assert.deepEqual(loaded!.names, ['docker.io/library/legacy:1', 'docker.io/other/legacy:2']);
        assert.deepEqual(readImage(store, loaded!.descriptor).diffIds, [first, first, second].map(sha256));
        seen.add(loaded!.descriptor.digest);
        // A second time, with the layers there, must not give another manifest.
        assert.deepEqual((await loadArchive(store, typeof source === 'string' ? source : chunks(tar)))[0], loaded);
        assert.deepEqual(inFlight(store), []);
      }
    }
    assert.equal(seen.size, 1);
  });

  it('without names', async () => {
    const store = lab.store();
    const [loaded] = await loadArchive(store, chunks(legacy('legacy-none', twice())));
    assert.deepEqual(loaded!.names, []);
    assert.equal(store.listRefs().length, 1);
  });

  it('an OCI layout with a manifest.json: the names of both', async () => {
    const files = layoutOf(sample, NAME);
    const item = { Config: `blobs/sha256/${sha256(sample.config).slice(7)}`, RepoTags: ['combined:3'], Layers: [] };
    const dir = lab.tree('combined', { ...files, 'manifest.json': JSON.stringify([item]) });
    const [loaded] = await loadArchive(lab.store(), dir);
    assert.deepEqual(loaded!.names, ['example.org/team/app:1', 'docker.io/library/combined:3']);
    assert.equal(loaded!.descriptor.digest, describe(sample).digest);
  });
});

it('a layer that the archive lacks may be in the store already', async () => {
  const files = layoutOf(sample, NAME);
  const gone = `blobs/${sha256(sample.layers[0]!.blob).replace(':', '/')}`;
  const store = lab.store();
  const dir = lab.tree('lacking', files);
  await loadArchive(store, dir);
  rmSync(join(dir, gone));
  assert.equal((await loadArchive(store, dir))[0]!.id, sha256(sample.config));
  await assert.rejects(loadArchive(lab.store(), dir), (e) => isImagoError(e, 'BLOB_MISSING'));
});

it('a signal ends a load: no names, nothing in flight', async () => {
  const store = lab.store();
  const stop = new AbortController();
  const reason = new Error('stopped');
  async function* endless(): AsyncGenerator<Uint8Array> {
    const dir = lab.tree('endless', layoutOf(sample, NAME));
    yield* chunks(lab.tar(dir), 4096);
    stop.abort(reason);
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      yield new Uint8Array(512);
    }
  }
  await assert.rejects(loadArchive(store, endless(), { signal: stop.signal }), (e) => e === reason);
  assert.deepEqual([store.listRefs(), inFlight(store)], [[], []]);
});
