import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, it } from 'node:test';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import type { Digest } from '../../src/core/digest.ts';
import { type BuildResult, buildImage } from '../../src/engine/build.ts';
import type { BuildOptions } from '../../src/engine/build-options.ts';
import { loadImages } from '../../src/engine/load.ts';
import { parseAnnotation } from '../../src/exporter/annotation-options.ts';
import { parseAttestations } from '../../src/exporter/attest-options.ts';
import { checkOutputs } from '../../src/exporter/output-check.ts';
import { parseOutput } from '../../src/exporter/output-options.ts';
import { readManifest } from '../../src/image/image.ts';
import type { ImageIndex, ImageManifest } from '../../src/oci/manifest.ts';
import { FakeRegistry } from '../registry/fake-registry.ts';
import { BuildLab } from './lab.ts';

const EPOCH = new Date('2023-01-02T03:04:05Z');
const IS_ROOT = process.getuid?.() === 0;

const DOCKERFILE = `FROM scratch
COPY --chmod=4755 --chown=3:4 bin /bin
COPY dir /dir/
COPY links /links/
LABEL a=b
`;

function buildOnly(lab: BuildLab, text: string, options: BuildOptions): Promise<BuildResult> {
  const file = { name: 'Dockerfile', text };
  return buildImage(lab.store, { pull: 'never', context: lab.context, file, ...options });
}

function writeContext(lab: BuildLab): void {
  lab.write({ bin: '#!', 'dir/a': 'text of a', 'dir/sub/b': 'b', 'links/link': '->../dir/a' });
  for (const name of ['bin', 'dir/a', 'dir/sub/b', 'dir/sub', 'dir'])
    utimesSync(join(lab.context, name), 1_600_000_000, 1_600_000_000);
}

/** A layout's files by name, out of an archive. */
function untar(lab: BuildLab, archive: string): (name: string) => Buffer {
  const directory = join(lab.directory, `untar-${readdirSync(lab.directory).length}`);
  mkdirSync(directory);
  execFileSync('tar', ['-xf', archive, '-C', directory]);
  return (name) => readFileSync(join(directory, name));
}

function blobOf<T>(read: (name: string) => Buffer, digest: Digest): T {
  return JSON.parse(read(`blobs/${digest.replace(':', '/')}`).toString()) as T;
}

describe('outputs of a build', () => {
  it('a directory: what is there is merged, links that are there are not followed', async () => {
    using lab = new BuildLab();
    writeContext(lab);
    const dest = join(lab.directory, 'deep/out');
    const outside = join(lab.directory, 'outside');
    lab.write({ 'old/file': 'old', 'dir/a': 'old a', 'bin/was/a/directory': 'x' }, dest);
    lab.write({ secret: 'outside' }, outside);
    symlinkSync(outside, join(dest, 'links'));
    const { id } = await buildOnly(lab, DOCKERFILE, { outputs: [{ type: 'local', dest }] });
    assert.match(id, /^sha256:/);
    assert.equal(readFileSync(join(dest, 'dir/a'), 'utf8'), 'text of a');
    assert.equal(readFileSync(join(dest, 'old/file'), 'utf8'), 'old');
    assert.equal(readFileSync(join(dest, 'links/link'), 'utf8'), 'text of a');
    assert.deepEqual(readdirSync(outside), ['secret']);
    const bin = lstatSync(join(dest, 'bin'));
    assert.equal(bin.mode & 0o7777, 0o4755);
    if (IS_ROOT) assert.deepEqual([bin.uid, bin.gid], [3, 4]);
    assert.equal(lstatSync(join(dest, 'dir/sub')).mtimeMs, 1_600_000_000_000);
    // Nothing is kept of it.
    assert.deepEqual(lab.store.listRefs(), []);
  });

  it('a tar: the same bytes each time, with an epoch all times are it', async () => {
    using lab = new BuildLab();
    writeContext(lab);
    const make = async (name: string): Promise<Buffer> => {
      const dest = join(lab.directory, name);
      await buildOnly(lab, DOCKERFILE, { outputs: [{ type: 'tar', dest }], epoch: EPOCH });
      return readFileSync(dest);
    };
    const first = await make('a.tar');
    assert.ok(first.equals(await make('b.tar')));
    const list = execFileSync(
      'tar',
      ['--utc', '--full-time', '--numeric-owner', '-tvf', join(lab.directory, 'a.tar')],
      { encoding: 'utf8' },
    );
    const shown = list
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/ +/g, ' '));
    assert.deepEqual(shown, [
      '-rwsr-xr-x 3/4 2 2023-01-02 03:04:05 bin',
      'drwxr-xr-x 0/0 0 2023-01-02 03:04:05 dir/',
      '-rw-r--r-- 0/0 9 2023-01-02 03:04:05 dir/a',
      'drwxr-xr-x 0/0 0 2023-01-02 03:04:05 dir/sub/',
      '-rw-r--r-- 0/0 1 2023-01-02 03:04:05 dir/sub/b',
      'drwxr-xr-x 0/0 0 2023-01-02 03:04:05 links/',
      'lrwxrwxrwx 0/0 0 2023-01-02 03:04:05 links/link -> ../dir/a',
    ]);
  });

  it('several platforms: a directory each', async () => {
    using lab = new BuildLab();
    lab.write({ a: 'a' });
    const dest = join(lab.directory, 'out');
    const platform = ['linux/amd64', 'linux/arm64'];
    await buildOnly(lab, 'FROM scratch\nCOPY a /a\n', { platform, outputs: [{ type: 'local', dest }] });
    assert.deepEqual(readdirSync(dest).sort(), ['linux_amd64', 'linux_arm64']);
    assert.equal(readFileSync(join(dest, 'linux_arm64/a'), 'utf8'), 'a');
    await buildOnly(lab, 'FROM scratch\nCOPY a /a\n', {
      platform,
      outputs: [{ type: 'local', dest: join(dest, 'one'), platformSplit: false }],
    });
    assert.deepEqual(readdirSync(join(dest, 'one')), ['a']);
  });

  for (const [text, unpack, type] of [
    ['type=oci', gunzipSync, 'tar+gzip'],
    ['type=oci,compression=zstd,compression-level=5', zstdDecompressSync, 'tar+zstd'],
    ['type=oci,compression=uncompressed', (bytes: Buffer) => bytes, 'tar'],
  ] as const) {
    it(`${text}: compressed so, the same bytes each time, and it can be loaded`, async () => {
      using lab = new BuildLab();
      writeContext(lab);
      const make = async (name: string): Promise<Buffer> => {
        const dest = join(lab.directory, name);
        await buildOnly(lab, DOCKERFILE, {
          tags: ['made:1'],
          outputs: [parseOutput(`${text},dest=${dest}`)],
          epoch: EPOCH,
        });
        return readFileSync(dest);
      };
      const first = await make('a.tar');
      assert.ok(first.equals(await make('b.tar')));
      assert.deepEqual(lab.store.listRefs(), []);
      const read = untar(lab, join(lab.directory, 'a.tar'));
      const index = JSON.parse(read('index.json').toString()) as ImageIndex;
      assert.equal(index.manifests[0]!.annotations!['io.containerd.image.name'], 'docker.io/library/made:1');
      const manifest = blobOf<ImageManifest>(read, index.manifests[0]!.digest);
      const config = blobOf<{ rootfs: { diff_ids: Digest[] } }>(read, manifest.config.digest);
      for (const [i, layer] of manifest.layers.entries()) {
        assert.equal(layer.mediaType, `application/vnd.oci.image.layer.v1.${type}`);
        const tar = unpack(read(`blobs/${layer.digest.replace(':', '/')}`));
        assert.equal(lab.store.blobSize(config.rootfs.diff_ids[i]!), tar.length);
      }
      const [loaded] = await loadImages(lab.store, join(lab.directory, 'a.tar'));
      assert.equal(loaded!.id, manifest.config.digest);
    });
  }

  it('type=docker with a file: what docker load takes; without one: the store', async () => {
    using lab = new BuildLab();
    writeContext(lab);
    const dest = join(lab.directory, 'd.tar');
    await buildOnly(lab, DOCKERFILE, { tags: ['a:1', 'b:2'], outputs: [{ type: 'docker', dest }] });
    const read = untar(lab, dest);
    const [item] = JSON.parse(read('manifest.json').toString()) as { RepoTags: string[]; Layers: string[] }[];
    assert.deepEqual(item!.RepoTags, ['a:1', 'b:2']);
    assert.equal(item!.Layers.length, 3);
    const index = JSON.parse(read('index.json').toString()) as ImageIndex;
    assert.equal(index.manifests[0]!.mediaType, 'application/vnd.docker.distribution.manifest.v2+json');
    const { references } = await buildOnly(lab, DOCKERFILE, { outputs: [parseOutput('type=docker,name=c:3')] });
    assert.deepEqual(references, ['c:3']);
    await assert.rejects(
      buildOnly(lab, DOCKERFILE, { platform: ['linux/amd64', 'linux/arm64'], outputs: [{ type: 'docker', dest }] }),
      { code: 'BAD_OUTPUT' },
    );
  });

  it('type=oci,tar=false: a layout as a directory', async () => {
    using lab = new BuildLab();
    writeContext(lab);
    const dest = join(lab.directory, 'layout');
    await buildOnly(lab, DOCKERFILE, { outputs: [parseOutput(`type=oci,tar=false,dest=${dest}`)] });
    assert.deepEqual(readdirSync(dest).sort(), ['blobs', 'index.json', 'oci-layout']);
    assert.deepEqual(readdirSync(join(lab.store.root, 'ingest')), []);
  });

  it('type=image with a compression: the store has those bytes; a base stays as it is, unless forced', async () => {
    using lab = new BuildLab();
    writeContext(lab);
    const base = await lab.build('FROM scratch\nCOPY bin /bin\n', {
      tags: ['base:1'],
      outputs: [parseOutput('type=image,compression=gzip')],
    });
    const [layer] = base.image.manifest.layers;
    assert.equal(layer!.mediaType, 'application/vnd.oci.image.layer.v1.tar+gzip');
    assert.ok(lab.store.hasBlob(layer!.digest));
    const file = 'FROM base:1\nCOPY dir /dir\n';
    const kinds = async (output: string): Promise<string[]> => {
      const { descriptor } = await buildOnly(lab, file, { outputs: [parseOutput(output)] });
      const manifest = readManifest(lab.store, descriptor).value as ImageManifest;
      return manifest.layers.map(({ mediaType }) => mediaType.replace(/.*\.v1\./, ''));
    };
    assert.deepEqual(await kinds('type=image,compression=zstd'), ['tar+gzip', 'tar+zstd']);
    assert.deepEqual(await kinds('type=image,compression=zstd,force-compression=true'), ['tar+zstd', 'tar+zstd']);
    assert.deepEqual(await kinds('type=image'), ['tar+gzip', 'tar']);
  });

  it('annotations go where they are meant', async () => {
    using lab = new BuildLab();
    lab.write({ a: 'a' });
    const file = 'FROM scratch\nCOPY a /a\n';
    const annotations = ['x=1', 'manifest-descriptor:y=2', 'index:z=3', 'manifest[linux/arm64]:only=4'].flatMap(
      parseAnnotation,
    );
    const { descriptor } = await buildOnly(lab, file, {
      platform: ['linux/amd64', 'linux/arm64'],
      annotations,
      tags: ['m:1'],
    });
    const index = readManifest(lab.store, descriptor).value as ImageIndex;
    assert.deepEqual(index.annotations, { z: '3' });
    assert.deepEqual(
      index.manifests.map((d) => d.annotations),
      [{ y: '2' }, { y: '2' }],
    );
    const manifests = index.manifests.map((d) => (readManifest(lab.store, d).value as ImageManifest).annotations);
    assert.deepEqual(manifests, [{ x: '1' }, { x: '1', only: '4' }]);
    await assert.rejects(buildOnly(lab, file, { annotations: parseAnnotation('index:a=b') }), { code: 'BAD_OUTPUT' });
    await assert.rejects(buildOnly(lab, file, { annotations: parseAnnotation('manifest[linux/s390x]:a=b') }), {
      code: 'BAD_OUTPUT',
    });
  });

  it('type=cacheonly: nothing but the cache', async () => {
    using lab = new BuildLab();
    writeContext(lab);
    const names = (): string[] => [...lab.store.listRefs()].map(({ reference }) => reference);
    const before = names();
    await buildOnly(lab, DOCKERFILE, { outputs: [{ type: 'cacheonly' }], tags: ['n:1'] });
    assert.deepEqual(names(), before);
    const again = await lab.build(DOCKERFILE);
    assert.equal(again.cached.filter((name) => name.startsWith('COPY')).length, 3);
  });

  it('several outputs of one build; two to one place are an error before anything is built', async () => {
    using lab = new BuildLab();
    writeContext(lab);
    const [tar, dir] = [join(lab.directory, 'a.tar'), join(lab.directory, 'dir')];
    const { metadata, id, descriptor } = await buildOnly(lab, DOCKERFILE, {
      tags: ['n:1'],
      outputs: [
        { type: 'tar', dest: tar },
        { type: 'local', dest: dir },
      ],
      load: true,
    });
    assert.ok(existsSync(tar) && existsSync(join(dir, 'bin')));
    assert.equal(lab.store.getRef('docker.io/library/n:1')?.digest, descriptor.digest);
    assert.equal(metadata['containerimage.config.digest'], id);
    assert.equal(metadata['containerimage.digest'], descriptor.digest);
    assert.equal(metadata['image.name'], 'docker.io/library/n:1');
    assert.ok('buildx.build.provenance' in metadata);
    const events: string[] = [];
    const twice = buildOnly(lab, DOCKERFILE, {
      outputs: [
        { type: 'tar', dest: tar },
        { type: 'oci', dest: tar },
      ],
      onEvent: ({ type }) => events.push(type),
    });
    await assert.rejects(twice, { code: 'BAD_OUTPUT' });
    for (const output of [
      parseOutput(`type=tar,dest=${dir}`),
      parseOutput(`type=oci,dest=${dir}/no/such/file`),
      parseOutput(`type=local,dest=${tar}`),
    ]) {
      const build = buildOnly(lab, DOCKERFILE, { outputs: [output], onEvent: ({ type }) => events.push(type) });
      await assert.rejects(build, { code: 'CANNOT_WRITE' });
    }
    await assert.rejects(buildOnly(lab, DOCKERFILE, { push: true, onEvent: ({ type }) => events.push(type) }), {
      code: 'NO_NAME',
    });
    assert.deepEqual(events, []);
  });
});

describe('outputs to a registry', () => {
  it('several platforms in one index, in the compression asked for; the metadata has the digest at the registry', async () => {
    using lab = new BuildLab();
    await using registry = await FakeRegistry.start();
    lab.write({ a: 'a' });
    const { descriptor, metadata } = await buildOnly(lab, 'FROM scratch\nCOPY a /a\n', {
      platform: ['linux/amd64', 'linux/arm64'],
      outputs: [parseOutput(`type=registry,compression=zstd,name=${registry.host}/x:1`)],
      tags: [`${registry.host}/x:2`],
    });
    const { tags, manifests } = registry.repository('x');
    assert.equal(tags.get('1'), descriptor.digest);
    assert.equal(tags.get('2'), descriptor.digest);
    assert.equal(metadata['containerimage.digest'], descriptor.digest);
    const index = JSON.parse(manifests.get(descriptor.digest)!.bytes.toString()) as ImageIndex;
    const image = JSON.parse(manifests.get(index.manifests[1]!.digest)!.bytes.toString()) as ImageManifest;
    assert.deepEqual(
      image.layers.map(({ mediaType }) => mediaType),
      ['application/vnd.oci.image.layer.v1.tar+zstd'],
    );
  });

  it('uncompressed, and by digest alone', async () => {
    using lab = new BuildLab();
    await using registry = await FakeRegistry.start();
    lab.write({ a: 'a' });
    const output = `type=image,push-by-digest=true,compression=uncompressed,name=${registry.host}/x`;
    const { descriptor } = await buildOnly(lab, 'FROM scratch\nCOPY a /a\n', { outputs: [parseOutput(output)] });
    const { tags, manifests } = registry.repository('x');
    assert.equal(tags.size, 0);
    const image = JSON.parse(manifests.get(descriptor.digest)!.bytes.toString()) as ImageManifest;
    assert.deepEqual(
      image.layers.map(({ mediaType }) => mediaType),
      ['application/vnd.oci.image.layer.v1.tar'],
    );
    const tagged = parseOutput(`type=registry,compression=uncompressed,name=${registry.host}/x:1`);
    const again = await buildOnly(lab, 'FROM scratch\nCOPY a /a\n', { outputs: [tagged] });
    assert.equal(again.descriptor.digest, descriptor.digest);
    assert.equal(tags.get('1'), descriptor.digest);
  });
});

describe('the command line of outputs', () => {
  const MAIN = resolve(import.meta.dirname, '../../src/cli/main.ts');
  const run = (lab: BuildLab, words: string[]): ReturnType<typeof spawnSync> =>
    spawnSync(process.execPath, [MAIN, 'build', ...words, lab.context], {
      env: { PATH: process.env.PATH, IMAGO_ROOT: lab.store.root, IMAGO_RUN: lab.store.run },
      timeout: 60_000,
    });

  it('-o - is a tar alone on standard output; the metadata and the ID go to their files', () => {
    using lab = new BuildLab();
    lab.write({ Dockerfile: 'FROM scratch\nCOPY a /a\n', a: 'a' });
    const [iid, metadata] = [join(lab.directory, 'iid'), join(lab.directory, 'metadata.json')];
    const { stdout, status, stderr } = run(lab, [
      '-q',
      '-o',
      '-',
      '--load',
      '-t',
      'x:1',
      '--iidfile',
      iid,
      '--metadata-file',
      metadata,
    ]);
    assert.equal(status, 0, String(stderr));
    writeFileSync(join(lab.directory, 'got.tar'), stdout as Buffer);
    assert.equal(execFileSync('tar', ['-tf', join(lab.directory, 'got.tar')], { encoding: 'utf8' }), 'a\n');
    const told = JSON.parse(readFileSync(metadata, 'utf8')) as Record<string, unknown>;
    assert.equal(told['containerimage.config.digest'], readFileSync(iid, 'utf8'));
    assert.equal((told['containerimage.descriptor'] as { digest: string }).digest, told['containerimage.digest']);
  });

  it('files that cannot be written are told before the build', () => {
    using lab = new BuildLab();
    lab.write({ Dockerfile: 'FROM scratch\nCOPY a /a\n', a: 'a' });
    for (const words of [
      ['--iidfile', '/no/such/directory/iid'],
      ['--metadata-file', lab.directory],
    ]) {
      const { status, stderr } = run(lab, words);
      assert.equal(status, 1);
      assert.match(String(stderr), /cannot write/);
      assert.doesNotMatch(String(stderr), /COPY/);
    }
  });
});

describe('what --output, --annotation and --attest say', () => {
  const good: [text: string, want: object][] = [
    ['out', { type: 'local', dest: 'out' }],
    ['-', { type: 'tar', dest: '-' }],
    ['type=image,name=a:1,push=true', { type: 'image', names: ['a:1'], push: true }],
    ['type=image,"name=a:1,b:2"', { type: 'image', names: ['a:1', 'b:2'] }],
    [
      'type=registry,compression=zstd,compression-level=9',
      { type: 'registry', compression: { kind: 'zstd', level: 9 } },
    ],
    ['type=docker', { type: 'docker' }],
    ['type=tar', { type: 'tar', dest: '-' }],
    ['type=oci', { type: 'oci', dest: '-' }],
    ['type=oci,dest=-,oci-mediatypes=false', { type: 'oci', dest: '-', ociMediaTypes: false }],
    [
      'type=image,annotation-index.a=b,annotation[linux/amd64].c=d=e',
      {
        type: 'image',
        annotations: [
          { place: 'index', key: 'a', value: 'b' },
          { place: 'manifest', key: 'c', value: 'd=e', platform: 'linux/amd64' },
        ],
      },
    ],
  ];
  for (const [text, want] of good) it(text, () => assert.deepEqual(parseOutput(text), want));

  for (const text of [
    'type=oci,tar=false',
    'type=local',
    'type=what',
    'dest=a',
    'type=image,dest=a',
    'type=local,dest=-',
    'type=image,push=maybe',
    'type=image,color=red',
    'type=image,push',
    'type=image,"name=a',
    'type=image,annotation-where.a=b',
    'type=cacheonly,dest=x',
    '',
  ]) {
    it(`${text} is none`, () => assert.throws(() => parseOutput(text), { code: 'BAD_OUTPUT' }));
  }

  it('two for standard output', () => {
    const outputs = [parseOutput('type=tar'), parseOutput('type=oci')];
    assert.throws(() => checkOutputs(outputs, { named: true, indexed: false }), { code: 'BAD_OUTPUT' });
  });

  it('compressions that there are not', () => {
    assert.throws(() => parseOutput('type=image,compression=estargz'), { code: 'UNSUPPORTED' });
    assert.throws(() => parseOutput('type=image,compression=gzip,compression-level=77'), { code: 'BAD_COMPRESSION' });
  });

  it('attestations', () => {
    assert.deepEqual(parseAttestations({}), {});
    assert.deepEqual(parseAttestations({ provenance: 'false', sbom: 'false' }), {});
    assert.deepEqual(parseAttestations({ attest: ['Key=V,type=sbom,Generator=a/b:1,other=x=y'] }), {
      sbom: { generator: 'a/b:1', parameters: { Key: 'V', other: 'x=y' } },
    });
    assert.deepEqual(parseAttestations({ provenance: '', sbom: '' }), {});
    assert.deepEqual(parseAttestations({ provenance: 'true', sbom: 'true' }), { provenance: {}, sbom: true });
    assert.deepEqual(
      parseAttestations({
        attest: ['type=provenance,mode=max,version=v1,builder-id=https://x', 'type=sbom,disabled=true'],
      }),
      {
        provenance: { mode: 'max', version: 'v1', builderId: 'https://x' },
      },
    );
    for (const words of [
      { provenance: 'mode=all' },
      { sbom: 'generator=' },
      { sbom: 'key=x' },
      { attest: ['mode=max'] },
      { attest: ['type=other'] },
      { provenance: 'true', attest: ['type=provenance'] },
    ]) {
      assert.throws(() => parseAttestations(words), { code: 'BAD_ATTESTATION' });
    }
  });

  it('annotations', () => {
    assert.deepEqual(parseAnnotation('manifest,index:a.b/c=d:e=f'), [
      { place: 'manifest', key: 'a.b/c', value: 'd:e=f' },
      { place: 'index', key: 'a.b/c', value: 'd:e=f' },
    ]);
    for (const text of ['a:b=c', 'key', '=v', 'index[linux/amd64]:a=b']) {
      assert.throws(() => parseAnnotation(text), { code: 'BAD_OUTPUT' });
    }
  });
});
