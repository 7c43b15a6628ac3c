import assert from 'node:assert/strict';
import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, it, describe as suite } from 'node:test';
import { gzipSync } from 'node:zlib';
import { loadArchive } from '../../src/archive/load.ts';
import { isImagoError } from '../../src/core/errors.ts';
import { END_OF_ARCHIVE, encodeHeader } from '../../src/formats/tar/write.ts';
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
  sampleImage,
  sha256,
} from './lab.ts';

type Files = Record<string, Uint8Array | string>;

let lab: Lab;
let layer: Buffer;
before(() => {
  lab = new Lab();
  layer = lab.tar(lab.tree('root', { 'etc/os-release': 'ID=sample\n', 'usr/noise': noise(1 << 20) }));
});
after(() => lab[Symbol.dispose]());

const image = () => sampleImage([layer]);
const blobOf = (bytes: Uint8Array): string => `blobs/${sha256(bytes).replace(':', '/')}`;
/** A layout whose manifest and config are made by these. */
function altered(change: { manifest?: (m: Manifest) => void; config?: (c: Config) => void }): Files {
  const out = blobs();
  const base = image();
  const config = JSON.parse(base.config.toString());
  change.config?.(config);
  const configBytes = json(config);
  const manifest = JSON.parse(base.manifest.toString());
  manifest.config = { ...manifest.config, ...out.put(configBytes) };
  change.manifest?.(manifest);
  out.put(base.layers[0]!.blob);
  return layout(out, [{ mediaType: `${OCI}manifest.v1+json`, ...out.put(json(manifest)) }]);
}
interface Manifest {
  layers: { digest: string; size: number; mediaType: string }[];
  config: { digest: string; size: number };
}
interface Config {
  rootfs: { diff_ids: string[] };
}
const docker = (items: unknown, more: Files = {}): Files => ({
  'config.json': image().config,
  'l/layer.tar': layer,
  'manifest.json': typeof items === 'string' ? items : JSON.stringify(items),
  ...more,
});
const item = (change: object = {}) => [
  { Config: 'config.json', RepoTags: ['a:1'], Layers: ['l/layer.tar'], ...change },
];
/** The same file with bytes of it changed; of the same length. */
function flip(bytes: Uint8Array, at: number): Buffer {
  const out = Buffer.from(bytes);
  out[at] = out[at]! ^ 0xff;
  return out;
}
/** A tar that leaves the root, whose digests are right. */
function evil(): Files {
  const tar = Buffer.concat([encodeHeader({ path: '../../etc/passwd', type: 'file' }), END_OF_ARCHIVE]);
  return layoutOf(sampleImage([tar]));
}

const cases: [name: string, code: string | RegExp, files: () => Files][] = [
  ['nothing at all', 'UNKNOWN_ARCHIVE', () => ({ 'some/file': 'x' })],
  ['a root file system', 'UNKNOWN_ARCHIVE', () => ({ 'etc/os-release': 'ID=debian', 'bin/sh': '' })],
  ['a Docker archive from before 1.10', 'UNKNOWN_ARCHIVE', () => ({ repositories: '{}', 'aa/layer.tar': layer })],
  ['an index.json alone', 'BAD_LAYOUT', () => ({ 'index.json': '{"schemaVersion":2,"manifests":[]}' })],
  [
    'a layout of another version',
    'BAD_LAYOUT',
    () => ({ ...layoutOf(image()), 'oci-layout': '{"imageLayoutVersion":"9"}' }),
  ],
  ['an oci-layout that is no JSON', 'BAD_LAYOUT', () => ({ ...layoutOf(image()), 'oci-layout': 'hello' })],
  [
    'an index.json that is no JSON',
    'BAD_MANIFEST',
    () => ({ ...layoutOf(image()), 'index.json': '{"schemaVersion":2,' }),
  ],
  [
    'an index.json that is a manifest',
    /BAD_MANIFEST|BAD_LAYOUT/,
    () => ({ ...layoutOf(image()), 'index.json': image().manifest }),
  ],
  ['an empty index', 'NO_IMAGE', () => layout(blobs(), [])],
  [
    'an index with an artifact only',
    'NO_IMAGE',
    () => layout(blobs(), [{ ...describe(image()), artifactType: 'x/y' }]),
  ],
  [
    'a digest that is a path',
    'BAD_MANIFEST',
    () => layout(blobs(), [{ ...describe(image()), digest: 'sha256:../../../etc/passwd' }]),
  ],
  ['a digest too short', 'BAD_MANIFEST', () => layout(blobs(), [{ ...describe(image()), digest: 'sha256:abc' }])],
  ['a missing manifest', 'BLOB_MISSING', () => layout(blobs(), [describe(image())])],
  [
    'a missing config',
    'BLOB_MISSING',
    () => {
      const f = layoutOf(image());
      delete f[blobOf(image().config)];
      return f;
    },
  ],
  [
    'a missing layer',
    'BLOB_MISSING',
    () => {
      const f = layoutOf(image());
      delete f[blobOf(image().layers[0]!.blob)];
      return f;
    },
  ],
  [
    'a changed manifest',
    'DIGEST_MISMATCH',
    () => ({ ...layoutOf(image()), [blobOf(image().manifest)]: flip(image().manifest, 5) }),
  ],
  [
    'a changed config',
    'DIGEST_MISMATCH',
    () => ({ ...layoutOf(image()), [blobOf(image().config)]: Buffer.concat([image().config, Buffer.from(' ')]) }),
  ],
  [
    'a changed layer',
    /DIGEST_MISMATCH|CORRUPT_COMPRESSED/,
    () => ({ ...layoutOf(image()), [blobOf(image().layers[0]!.blob)]: flip(image().layers[0]!.blob, 5000) }),
  ],
  [
    'a layer cut short',
    /SIZE_MISMATCH|DIGEST_MISMATCH/,
    () => ({ ...layoutOf(image()), [blobOf(image().layers[0]!.blob)]: image().layers[0]!.blob.subarray(0, 9000) }),
  ],
  [
    'a size that is wrong',
    'SIZE_MISMATCH',
    () =>
      altered({
        manifest: (m) => {
          m.layers[0]!.size++;
        },
      }),
  ],
  [
    'a negative size',
    'BAD_MANIFEST',
    () =>
      altered({
        manifest: (m) => {
          m.layers[0]!.size = -1;
        },
      }),
  ],
  [
    'a layer digest that is a path',
    'BAD_MANIFEST',
    () =>
      altered({
        manifest: (m) => {
          m.layers[0]!.digest = 'sha256:..';
        },
      }),
  ],
  [
    'another DiffID in the config',
    'DIFFID_MISMATCH',
    () =>
      altered({
        config: (c) => {
          c.rootfs.diff_ids[0] = sha256(Buffer.from('x'));
        },
      }),
  ],
  [
    'more DiffIDs than layers',
    'BAD_MANIFEST',
    () =>
      altered({
        config: (c) => {
          c.rootfs.diff_ids.push(c.rootfs.diff_ids[0]!);
        },
      }),
  ],
  [
    'a config without rootfs',
    'BAD_CONFIG',
    () =>
      altered({
        config: (c) => {
          delete (c as Partial<Config>).rootfs;
        },
      }),
  ],
  ['a layer that leaves the root', 'PATH_TRAVERSAL', evil],
  ['indexes nested without end', 'BAD_LAYOUT', nested],
  ['a manifest.json that is no JSON', 'BAD_MANIFEST', () => docker('[{')],
  ['a manifest.json that is no list', 'BAD_MANIFEST', () => docker({ Config: 'config.json' })],
  ['a manifest.json with numbers for names', 'BAD_MANIFEST', () => docker(item({ Layers: [5] }))],
  ['a manifest.json without Config', 'BAD_MANIFEST', () => docker(item({ Config: undefined }))],
  ['a tag that is none', 'BAD_REFERENCE', () => docker(item({ RepoTags: ['No Tag'] }))],
  ['a tag with a digest', 'BAD_MANIFEST', () => docker(item({ RepoTags: [`a@sha256:${'0'.repeat(64)}`] }))],
  ['a config outside of the archive', 'PATH_TRAVERSAL', () => docker(item({ Config: '../../../../etc/passwd' }))],
  ['a config by absolute path', 'PATH_TRAVERSAL', () => docker(item({ Config: '/etc/passwd' }))],
  ['a layer outside of the archive', 'PATH_TRAVERSAL', () => docker(item({ Layers: ['../../../etc/passwd'] }))],
  ['a config that is missing', 'BLOB_MISSING', () => docker(item({ Config: 'none.json' }))],
  [
    'a layer that is missing',
    'BLOB_MISSING',
    () => docker(item({ Layers: ['none/layer.tar'] }), { 'l/layer.tar': '' }),
  ],
  ['a layer that is no tar', /TAR_BAD_CHECKSUM|TAR_TRUNCATED/, () => docker(item(), { 'l/layer.tar': noise(600_000) })],
  [
    'a layer that is another one',
    'DIFFID_MISMATCH',
    () => docker(item(), { 'l/layer.tar': lab.tar(lab.path('root'), '--format=posix') }),
  ],
  [
    'a config that is a layer',
    'ARCHIVE_DOCUMENT',
    () =>
      docker(item({ Config: 'l/big.tar' }), {
        'l/big.tar': Buffer.concat([layer.subarray(0, -1024), ...Array(5).fill(layer)]),
      }),
  ],
  ['more layers than DiffIDs', 'BAD_MANIFEST', () => docker(item({ Layers: ['l/layer.tar', 'l/layer.tar'] }))],
];

function nested(): Files {
  const out = blobs();
  let inner: object = describe(image());
  addBlobs(out, image());
  for (let i = 0; i < 8; i++) {
    const bytes = json({ schemaVersion: 2, mediaType: `${OCI}index.v1+json`, manifests: [inner] });
    inner = { mediaType: `${OCI}index.v1+json`, ...out.put(bytes) };
  }
  return layout(out, [inner]);
}

async function refuses(source: string | AsyncIterable<Uint8Array>, code: string | RegExp): Promise<void> {
  const store = lab.store();
  await assert.rejects(loadArchive(store, source), (error) => {
    assert.ok(isImagoError(error), String((error as Error).stack));
    assert.match(error.code, typeof code === 'string' ? new RegExp(`^${code}$`) : code, error.message);
    return true;
  });
  assert.deepEqual(store.listRefs(), [], 'no names');
  assert.deepEqual(inFlight(store), [], 'nothing in flight');
}

suite('every damage is told in words, and leaves no name and nothing in flight', () => {
  for (const [i, [name, code, files]] of cases.entries()) {
    it(name, async () => {
      const dir = lab.tree(`bad-${i}`, files());
      const tar = lab.tar(dir);
      writeFileSync(lab.path('bad.tar'), tar);
      await refuses(dir, code);
      await refuses(lab.path('bad.tar'), code);
      await refuses(chunks(tar), code);
    });
  }
});

suite('damage of the archive itself', () => {
  const whole = () => lab.tar(lab.tree('whole', layoutOf(image())));
  const forms: [string, string | RegExp, () => Uint8Array][] = [
    ['a tar cut in a header', 'TAR_TRUNCATED', () => whole().subarray(0, 700)],
    ['a tar cut in a layer', /TAR_TRUNCATED/, () => whole().subarray(0, 300_000)],
    ['a tar with a damaged header', /TAR_BAD_CHECKSUM/, () => flip(whole(), 20)],
    ['something else', /TAR_BAD_CHECKSUM|TAR_TRUNCATED/, () => noise(100_000)],
    ['an empty file', 'UNKNOWN_ARCHIVE', () => new Uint8Array(0)],
    ['gzip cut short', 'TRUNCATED_COMPRESSED', () => gzipSync(whole()).subarray(0, 400_000)],
    ['gzip damaged', /CORRUPT_COMPRESSED/, () => flip(gzipSync(whole()), 300_000)],
    ['gzip of something else', /TAR_BAD_CHECKSUM|TAR_TRUNCATED/, () => gzipSync(noise(100_000))],
  ];
  for (const [name, code, make] of forms) {
    it(name, async () => {
      const bytes = make();
      writeFileSync(lab.path('damaged'), bytes);
      await refuses(lab.path('damaged'), code);
      await refuses(chunks(bytes), code);
    });
  }

  it('a stream that fails in the middle passes its error on', async () => {
    const failure = new Error('the cable was pulled');
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield whole().subarray(0, 500_000);
      throw failure;
    }
    const store = lab.store();
    await assert.rejects(loadArchive(store, failing()), (e) => e === failure);
    assert.deepEqual([store.listRefs(), inFlight(store)], [[], []]);
  });

  it('a file that does not exist', () => refuses(lab.path('none'), 'NO_SUCH_FILE'));

  it('a link in a directory that leads out of it', async () => {
    const files = layoutOf(image());
    const config = blobOf(image().config);
    delete files[config];
    const dir = lab.tree('linked', files);
    writeFileSync(lab.path('outside'), image().config);
    symlinkSync(lab.path('outside'), join(dir, config));
    await refuses(dir, 'PATH_TRAVERSAL');
  });

  it('links in a tar that go in a circle', async () => {
    const dir = lab.tree('circle', docker(item({ Layers: ['x/layer.tar'] }), { 'l/layer.tar': '' }));
    const link = (path: string, linkname: string) => encodeHeader({ path, type: 'symlink', linkname });
    const tar = Buffer.concat([link('x/layer.tar', '../y'), link('y', 'x/layer.tar'), lab.tar(dir)]);
    await refuses(chunks(tar), 'BLOB_MISSING');
  });
});
