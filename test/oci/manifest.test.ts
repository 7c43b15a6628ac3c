import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ImagoError } from '../../src/core/errors.ts';
import { parseConfig } from '../../src/oci/config.ts';
import { encodeJson } from '../../src/oci/json.ts';
import { parseImageManifest, parseManifest } from '../../src/oci/manifest.ts';
import { layerKind, layerMediaType, MEDIA_TYPES } from '../../src/oci/media-types.ts';

const DIGEST = `sha256:${'1'.repeat(64)}`;
const descriptor = (mediaType: string): object => ({ mediaType, digest: DIGEST, size: 7 });
const oci = {
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.manifest,
  config: descriptor(MEDIA_TYPES.config),
  layers: [descriptor(MEDIA_TYPES.layerGzip)],
};
const index = {
  schemaVersion: 2,
  mediaType: MEDIA_TYPES.index,
  manifests: [{ ...descriptor(MEDIA_TYPES.manifest), platform: { os: 'linux', architecture: 'amd64' } }],
};
const bytes = (value: unknown): Uint8Array =>
  new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value, undefined, 3));

describe('parseManifest', () => {
  it('keeps the bytes and what it does not know', () => {
    const input = bytes({ ...oci, 'x-unknown': { a: [1] }, annotations: { k: 'v' } });
    const parsed = parseManifest(input);
    assert.equal(parsed.kind, 'image');
    assert.equal(parsed.bytes, input);
    assert.deepEqual((parsed.value as unknown as Record<string, unknown>)['x-unknown'], { a: [1] });
    assert.equal(parsed.mediaType, MEDIA_TYPES.manifest);
  });

  it('reads an index, a Docker list, and a document without a media type', () => {
    assert.equal(parseManifest(bytes(index)).kind, 'index');
    assert.equal(parseManifest(bytes({ ...index, mediaType: MEDIA_TYPES.dockerList })).kind, 'index');
    assert.equal(parseManifest(bytes({ ...oci, mediaType: undefined })).mediaType, MEDIA_TYPES.manifest);
    assert.equal(parseManifest(bytes({ ...index, mediaType: undefined })).mediaType, MEDIA_TYPES.index);
    const docker = { ...oci, mediaType: MEDIA_TYPES.dockerManifest, config: descriptor(MEDIA_TYPES.dockerConfig) };
    assert.equal(parseManifest(bytes(docker)).kind, 'image');
  });

  it('takes the media type of the header where the document has none', () => {
    const parsed = parseManifest(bytes({ ...oci, mediaType: undefined }), {
      mediaType: `${MEDIA_TYPES.dockerManifest}; charset=utf-8`,
    });
    assert.equal(parsed.mediaType, MEDIA_TYPES.dockerManifest);
    assert.equal(parseManifest(bytes(oci), { mediaType: 'application/json' }).kind, 'image');
  });

  it('null counts as absent', () => {
    const parsed = parseImageManifest(bytes({ ...oci, layers: null, annotations: null }));
    assert.deepEqual(parsed.value.layers, []);
  });

  it('an artifact with an empty config', () => {
    const artifact = {
      ...oci,
      artifactType: 'application/x',
      config: descriptor(MEDIA_TYPES.empty),
      subject: descriptor(MEDIA_TYPES.manifest),
    };
    assert.equal(parseImageManifest(bytes(artifact)).value.artifactType, 'application/x');
  });

  const refused: [name: string, value: unknown, code: string, message: RegExp, mediaType?: string][] = [
    ['not JSON', '{"a":', 'BAD_MANIFEST', /not JSON/],
    ['not UTF-8', 'latin1', 'BAD_MANIFEST', /not JSON/],
    ['a list', [], 'BAD_MANIFEST', /the document: wanted an object, got \[\]/],
    ['schema 1', { schemaVersion: 1, fsLayers: [], history: [] }, 'SCHEMA1_MANIFEST', /schema 1/],
    ['schema 1 by its header', oci, 'SCHEMA1_MANIFEST', /schema 1/, MEDIA_TYPES.dockerSchema1Signed],
    ['no schemaVersion', { ...oci, schemaVersion: undefined }, 'BAD_MANIFEST', /schemaVersion: wanted 2, got nothing/],
    ['no config', { ...oci, config: undefined }, 'BAD_MANIFEST', /config: wanted a descriptor/],
    [
      'a bad digest',
      { ...oci, config: { ...oci.config, digest: 'sha256:1' } },
      'BAD_MANIFEST',
      /config\.digest: wanted sha256/,
    ],
    ['a negative size', { ...oci, layers: [{ ...oci.layers[0], size: -1 }] }, 'BAD_MANIFEST', /layers\[0\]\.size/],
    [
      'a size past 2^53',
      { ...oci, layers: [{ ...oci.layers[0], size: 2 ** 53 }] },
      'BAD_MANIFEST',
      /layers\[0\]\.size/,
    ],
    ['layers as an object', { ...oci, layers: {} }, 'BAD_MANIFEST', /layers: wanted a list, got \{\}/],
    ['annotations with numbers', { ...oci, annotations: { a: 1 } }, 'BAD_MANIFEST', /annotations\.a: wanted a string/],
    [
      'an image and an index in one',
      { ...oci, manifests: [] },
      'BAD_MANIFEST',
      /either manifests, or config and layers/,
    ],
    ['another type than announced', oci, 'BAD_MANIFEST', /mediaType: wanted .*index/, MEDIA_TYPES.index],
    ['an unknown type', { ...oci, mediaType: 'text/plain' }, 'UNKNOWN_MANIFEST', /text\/plain/],
    [
      'a platform without os',
      { ...index, manifests: [{ ...descriptor('a'), platform: {} }] },
      'BAD_MANIFEST',
      /platform\.os/,
    ],
    ['5 MiB', ' '.repeat(5 << 20), 'BAD_MANIFEST', /too large/],
  ];
  for (const [name, value, code, message, mediaType] of refused) {
    it(`refuses ${name}`, () => {
      const input = value === 'latin1' ? Uint8Array.of(0x22, 0xff, 0x22) : bytes(value);
      assert.throws(
        () => parseManifest(input, { mediaType }),
        (error) => {
          assert.ok(error instanceof ImagoError);
          assert.equal(error.code, code);
          assert.match(error.message, message);
          return true;
        },
      );
    });
  }

  it('parseImageManifest refuses an index', () =>
    assert.throws(() => parseImageManifest(bytes(index)), { code: 'NOT_AN_IMAGE' }));
});

describe('parseConfig', () => {
  const config = { architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: [DIGEST] } };
  it('takes what Docker writes', () => {
    const parsed = parseConfig(
      bytes({
        ...config,
        config: {
          Cmd: null,
          Env: ['A=b'],
          ExposedPorts: { '80/tcp': {} },
          Labels: null,
          Healthcheck: { Test: ['NONE'] },
        },
        history: [{ created: '2026-01-01T00:00:00Z', created_by: 'x' }],
        container_config: { anything: 1 },
      }),
    );
    assert.deepEqual(parsed.value.rootfs.diff_ids, [DIGEST]);
    assert.deepEqual((parsed.value as unknown as Record<string, unknown>).container_config, { anything: 1 });
  });
  it('no layers', () =>
    assert.deepEqual(
      parseConfig(bytes({ ...config, rootfs: { type: 'layers', diff_ids: null } })).value.rootfs.diff_ids,
      [],
    ));
  const refused: [value: object, message: RegExp][] = [
    [{ ...config, rootfs: undefined }, /rootfs: wanted an object/],
    [{ ...config, rootfs: { type: 'zip' } }, /rootfs\.type: wanted "layers"/],
    [{ ...config, rootfs: { type: 'layers', diff_ids: ['../../x'] } }, /rootfs\.diff_ids\[0\]/],
    [{ ...config, config: { Env: 'A=b' } }, /config\.Env: wanted a list/],
    [{ ...config, config: { Cmd: [1] } }, /config\.Cmd\[0\]: wanted a string, got 1/],
    [{ ...config, config: { Labels: { a: {} } } }, /config\.Labels\.a/],
    [{ ...config, history: [{ empty_layer: 'yes' }] }, /history\[0\]\.empty_layer: wanted a boolean/],
    [{ ...config, os: 3 }, /os: wanted a string/],
  ];
  for (const [value, message] of refused) {
    it(`refuses ${message.source}`, () =>
      assert.throws(() => parseConfig(bytes(value)), { code: 'BAD_CONFIG', message }));
  }
});

it('encodeJson: same value, same bytes', () => {
  const text = (value: unknown): string => new TextDecoder().decode(encodeJson(value));
  assert.equal(text({ b: 1, a: { d: undefined, c: [{ z: 1, y: 2 }] } }), '{"a":{"c":[{"y":2,"z":1}]},"b":1}');
  assert.equal(text(JSON.parse('{"__proto__":{"b":1,"a":2}}')), '{"__proto__":{"a":2,"b":1}}');
});

it('layer media types', () => {
  assert.deepEqual(layerKind(MEDIA_TYPES.dockerLayerForeignGzip), {
    compression: 'gzip',
    foreign: true,
    family: 'docker',
  });
  assert.equal(layerKind(`${MEDIA_TYPES.layerGzip}+encrypted`), undefined);
  for (const compression of ['none', 'gzip', 'zstd'] as const) {
    for (const family of ['oci', 'docker'] as const) {
      assert.deepEqual(layerKind(layerMediaType(compression, family)), { compression, family, foreign: false });
    }
  }
});
