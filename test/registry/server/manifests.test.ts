import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { MEDIA_TYPES } from '../../../src/oci/media-types.ts';
import { blobLinkKey, condemnedKey, manifestKey, tagKey } from '../../../src/registry/server/keys.ts';
import type { RegistryStorage } from '../../../src/registry/storage/storage.ts';
import { assertError, descriptorOf, digestOf, imageOf, indexOf, RegistryLab } from './lab.ts';

let lab: RegistryLab;
before(async () => {
  lab = await RegistryLab.start();
});
after(() => lab[Symbol.asyncDispose]());

const CONFIG = '{"architecture":"amd64","os":"linux"}';

function put(repository: string, reference: string, body: string | object, type: string = MEDIA_TYPES.manifest) {
  const bytes = typeof body === 'string' ? body : JSON.stringify(body);
  return lab.send('PUT', `/v2/${repository}/manifests/${reference}`, { 'Content-Type': type }, bytes);
}

describe('manifests', () => {
  it('come back byte by byte, by tag and by digest', async () => {
    const config = descriptorOf(MEDIA_TYPES.config, CONFIG);
    await lab.pushBlob('exact', CONFIG);
    const text = ` ${JSON.stringify(imageOf(config, [], { 'org.example.unknown': [1.0, null, 'é'] }), null, 3)}\n\n`;
    const answer = await put('exact', 'v1', text);
    assert.equal(answer.status, 201);
    assert.equal(answer.headers.location, `/v2/exact/manifests/${digestOf(text)}`);
    assert.equal(answer.headers['docker-content-digest'], digestOf(text));
    for (const reference of ['v1', digestOf(text)]) {
      const got = await lab.get(`/v2/exact/manifests/${reference}`, { Accept: 'application/x-other' });
      assert.equal(got.status, 200);
      assert.equal(got.body.toString(), text);
      assert.equal(got.headers['content-type'], MEDIA_TYPES.manifest);
      assert.equal(got.headers['docker-content-digest'], digestOf(text));
      const head = await lab.send('HEAD', `/v2/exact/manifests/${reference}`);
      assert.equal(head.status, 200);
      assert.equal(head.headers['content-length'], String(Buffer.byteLength(text)));
      assert.equal(head.headers['content-type'], MEDIA_TYPES.manifest);
      assert.equal(head.headers['docker-content-digest'], digestOf(text));
      assert.equal(head.body.length, 0);
      const fresh = await lab.get(`/v2/exact/manifests/${reference}`, { 'If-None-Match': `"${digestOf(text)}"` });
      assert.equal(fresh.status, 304);
    }
  });

  it('are pushed by sha512, with tags as parameters', async () => {
    await lab.pushBlob('wide', CONFIG);
    const text = JSON.stringify(imageOf(descriptorOf(MEDIA_TYPES.config, CONFIG), []));
    const digest = digestOf(text, 'sha512');
    const answer = await put('wide', `${digest}?tag=1&tag=1.2&tag=latest&tag=1`, text);
    assert.equal(answer.status, 201);
    assert.equal(answer.headers['oci-tag'], '1, 1.2, latest');
    assert.equal(answer.headers['docker-content-digest'], digest);
    for (const reference of ['1', '1.2', 'latest', digest]) {
      const got = await lab.get(`/v2/wide/manifests/${reference}`);
      assert.equal(got.headers['docker-content-digest'], digest);
      assert.equal(got.body.toString(), text);
    }
    assertError(await lab.get(`/v2/wide/manifests/${digestOf(text)}`), 404, 'MANIFEST_UNKNOWN');
  });

  it('of unknown types are kept as they are, and their blobs must be there', async () => {
    const type = 'application/vnd.oci.artifact.manifest.v1+json';
    const blob = descriptorOf('text/plain', 'of an artifact');
    const text = JSON.stringify({ mediaType: type, artifactType: 'a/b', blobs: [blob] });
    assertError(await put('artifacts', 'v1', text, type), 404, 'MANIFEST_BLOB_UNKNOWN');
    await lab.pushBlob('artifacts', 'of an artifact');
    assert.equal((await put('artifacts', 'v1', text, type)).status, 201);
    const got = await lab.get('/v2/artifacts/manifests/v1');
    assert.equal(got.headers['content-type'], type);
    assert.equal(got.body.toString(), text);
  });

  it('whose type is only in the document, or nowhere', async () => {
    await lab.pushBlob('types', CONFIG);
    const config = descriptorOf(MEDIA_TYPES.config, CONFIG);
    for (const type of ['application/json', 'application/vnd.oci.image.manifest.v1+json; charset=utf-8']) {
      assert.equal((await put('types', 'v1', imageOf(config, []), type)).status, 201);
      assert.equal((await lab.get('/v2/types/manifests/v1')).headers['content-type'], MEDIA_TYPES.manifest);
    }
    const bare = JSON.stringify({ schemaVersion: 2, manifests: [] });
    assert.equal((await lab.send('PUT', '/v2/types/manifests/v2', {}, bare)).status, 201);
    assert.equal((await lab.get('/v2/types/manifests/v2')).headers['content-type'], MEDIA_TYPES.index);
  });

  it('may name children, foreign layers and subjects that are not here', async () => {
    const child = {
      ...descriptorOf(MEDIA_TYPES.manifest, 'absent child'),
      platform: { os: 'linux', architecture: 'arm64' },
    };
    const nested = descriptorOf(MEDIA_TYPES.index, 'absent index');
    assert.equal((await put('sparse', 'index', indexOf([child, nested]), MEDIA_TYPES.index)).status, 201);
    await lab.pushBlob('sparse', CONFIG);
    const foreign = { ...descriptorOf(MEDIA_TYPES.layerForeignGzip, 'elsewhere'), urls: ['https://example.com/x'] };
    const image = imageOf(descriptorOf(MEDIA_TYPES.config, CONFIG), [foreign], { subject: child });
    const answer = await put('sparse', 'image', image);
    assert.equal(answer.status, 201);
    assert.equal(answer.headers['oci-subject'], child.digest);
  });

  it('must have their blobs, in this repository', async () => {
    await lab.pushBlob('elsewhere', CONFIG);
    await lab.pushBlob('lacking', 'a layer');
    const layer = descriptorOf(MEDIA_TYPES.layer, 'a layer');
    const image = JSON.stringify(imageOf(descriptorOf(MEDIA_TYPES.config, CONFIG), [layer]));
    const answer = await put('lacking', 'v1', image);
    assertError(answer, 404, 'MANIFEST_BLOB_UNKNOWN');
    assert.ok(answer.body.includes(digestOf(CONFIG)) && !answer.body.includes(layer.digest));
    for (const reference of ['v1', digestOf(image)]) {
      assertError(await lab.get(`/v2/lacking/manifests/${reference}`), 404, 'MANIFEST_UNKNOWN');
    }
  });

  it('may lack more or less, as the registry is told', async () => {
    await using strict = await RegistryLab.start({ sparse: 'nothing' });
    await using loose = await RegistryLab.start({ sparse: 'everything' });
    const image = JSON.stringify(imageOf(descriptorOf(MEDIA_TYPES.config, CONFIG), []));
    const index = JSON.stringify(indexOf([descriptorOf(MEDIA_TYPES.manifest, image)]));
    const send = (to: RegistryLab, body: string, type: string) =>
      to.send('PUT', '/v2/a/manifests/v1', { 'Content-Type': type }, body);
    assertError(await send(strict, index, MEDIA_TYPES.index), 404, 'MANIFEST_BLOB_UNKNOWN');
    assert.equal((await send(loose, index, MEDIA_TYPES.index)).status, 201);
    assert.equal((await send(loose, image, MEDIA_TYPES.manifest)).status, 201);
  });
});

describe('bad manifests', () => {
  const config = descriptorOf(MEDIA_TYPES.config, CONFIG);
  const cases: [what: string, body: string | object, type?: string][] = [
    ['no JSON', 'not json'],
    ['cut short', '{"schemaVersion":2,"mani'],
    ['a list', '[]'],
    ['nothing', ''],
    ['null', 'null'],
    ['no config', { schemaVersion: 2, layers: [] }],
    ['schema version 3', { ...imageOf(config, []), schemaVersion: 3 }],
    ['another type inside', imageOf(config, []), MEDIA_TYPES.index],
    ['two things at once', { ...imageOf(config, []), manifests: [] }],
    ['a digest that is none', imageOf({ ...config, digest: 'sha256:../../x' }, [])],
    ['a negative size', imageOf({ ...config, size: -1 }, [])],
    ['a layer that is a string', { ...imageOf(config, []), layers: ['x'] }],
    ['annotations that are no strings', imageOf(config, [], { annotations: { a: 1 } })],
    ['schema 1', { schemaVersion: 1, fsLayers: [], history: [] }, MEDIA_TYPES.dockerSchema1Signed],
    ['a type that is none', { mediaType: 'x y', a: 1 }, 'x y'],
    ['a type with a line break', { mediaType: 'a/b\r\nX-Evil: 1' }, 'application/json'],
  ];
  for (const [what, body, type] of cases) {
    it(what, async () => {
      await lab.pushBlob('bad', CONFIG);
      assertError(await put('bad', 'v1', body, type), 400, 'MANIFEST_INVALID');
      assertError(await lab.get('/v2/bad/manifests/v1'), 404, 'MANIFEST_UNKNOWN');
    });
  }

  it('another digest than the path says', async () => {
    const text = JSON.stringify(indexOf([]));
    for (const digest of [digestOf('other'), digestOf('other', 'sha512')]) {
      assertError(await put('bad', digest, text, MEDIA_TYPES.index), 400, 'DIGEST_INVALID');
      assertError(await lab.get(`/v2/bad/manifests/${digest}`), 404, 'MANIFEST_UNKNOWN');
    }
    assertError(await put('bad', 'sha256:baddigeststring', text, MEDIA_TYPES.index), 400, 'DIGEST_INVALID');
  });

  it('of 4 MiB are taken, larger ones are not', async () => {
    const limit = 4 * 2 ** 20;
    const bare = JSON.stringify(indexOf([], { x: '' })).length;
    const largest = JSON.stringify(indexOf([], { x: 'x'.repeat(limit - bare) }));
    assert.equal(largest.length, limit);
    assert.equal((await put('large', 'v1', largest, MEDIA_TYPES.index)).status, 201);
    assert.equal((await lab.get('/v2/large/manifests/v1')).body.toString(), largest);
    assertError(await put('large', 'v2', `${largest} `, MEDIA_TYPES.index), 413, 'SIZE_INVALID');
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 40; i++) yield Buffer.alloc(2 ** 20, ' ');
    }
    const type = { 'Content-Type': MEDIA_TYPES.index };
    assertError(await lab.send('PUT', '/v2/large/manifests/v2', type, endless()), 413, 'SIZE_INVALID');
    const event = lab.events.at(-1)!;
    assert.ok(event.bytesIn < 2 * limit, `read ${event.bytesIn} bytes`);
  });

  it('too many tags at once, and tags that are none', async () => {
    const text = JSON.stringify(indexOf([]));
    const many = Array.from({ length: 101 }, (_, i) => `tag=t${i}`).join('&');
    assertError(await put('bad', `${digestOf(text)}?${many}`, text, MEDIA_TYPES.index), 414, 'UNSUPPORTED');
    assertError(await put('bad', `${digestOf(text)}?tag=../x`, text, MEDIA_TYPES.index), 400, 'TAG_INVALID');
    assertError(await lab.get('/v2/bad/manifests/t0'), 404, 'MANIFEST_UNKNOWN');
  });

  it('too many references', async () => {
    const children = Array.from({ length: 10_001 }, (_, i) => descriptorOf(MEDIA_TYPES.manifest, String(i)));
    assertError(await put('bad', 'v1', indexOf(children), MEDIA_TYPES.index), 400, 'MANIFEST_INVALID');
  });
});

describe('tags', () => {
  it('move, and conditions hold them', async () => {
    const one = await lab.pushManifest('moving', indexOf([], { n: 1 }), 'v', MEDIA_TYPES.index);
    const two = JSON.stringify(indexOf([], { n: 2 }));
    const send = (headers: Record<string, string>) =>
      lab.send('PUT', '/v2/moving/manifests/v', { 'Content-Type': MEDIA_TYPES.index, ...headers }, two);
    assertError(await send({ 'If-None-Match': '*' }), 412, 'PRECONDITION_FAILED');
    assertError(await send({ 'If-Match': `"${digestOf('other')}"` }), 412, 'PRECONDITION_FAILED');
    assert.equal((await lab.get('/v2/moving/manifests/v')).headers['docker-content-digest'], one);
    assert.equal((await send({ 'If-Match': `"${one}"` })).status, 201);
    assert.equal((await lab.get('/v2/moving/manifests/v')).headers['docker-content-digest'], digestOf(two));
    assert.equal((await lab.get(`/v2/moving/manifests/${one}`)).status, 200);
    const fresh = { 'Content-Type': MEDIA_TYPES.index, 'If-None-Match': '*' };
    assert.equal((await lab.send('PUT', '/v2/moving/manifests/new', fresh, two)).status, 201);
  });

  it('of two pushes at once with the same expectation, one wins', async () => {
    const one = await lab.pushManifest('race', indexOf([], { n: 0 }), 'v', MEDIA_TYPES.index);
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, n) =>
        lab.send(
          'PUT',
          '/v2/race/manifests/v',
          { 'Content-Type': MEDIA_TYPES.index, 'If-Match': `"${one}"` },
          JSON.stringify(indexOf([], { n: n + 1 })),
        ),
      ),
    );
    assert.deepEqual(answers.map(({ status }) => status).sort(), [201, ...Array(7).fill(412)]);
  });

  it('are deleted alone, and with their manifest', async () => {
    const digest = await lab.pushImage('gone', 'a');
    await lab.pushImage('gone', 'b');
    assert.equal((await lab.send('DELETE', '/v2/gone/manifests/a')).status, 202);
    assertError(await lab.get('/v2/gone/manifests/a'), 404, 'MANIFEST_UNKNOWN');
    assertError(await lab.send('DELETE', '/v2/gone/manifests/a'), 404, 'MANIFEST_UNKNOWN');
    assert.equal((await lab.get('/v2/gone/manifests/b')).status, 200);
    assert.equal((await lab.send('DELETE', `/v2/gone/manifests/${digest}`)).status, 202);
    for (const reference of ['b', digest]) {
      assertError(await lab.get(`/v2/gone/manifests/${reference}`), 404, 'MANIFEST_UNKNOWN');
    }
    assert.deepEqual(JSON.parse((await lab.get('/v2/gone/tags/list')).body.toString()).tags, []);
    assertError(await lab.send('DELETE', `/v2/gone/manifests/${digest}`), 404, 'MANIFEST_UNKNOWN');
  });

  it('and manifests that another replica deletes or moves are so at once', async () => {
    await using other = await RegistryLab.start({ storage: lab.storage });
    const one = await lab.pushManifest('shared', indexOf([], { n: 1 }), 'v', MEDIA_TYPES.index);
    assert.equal((await other.get('/v2/shared/manifests/v')).headers['docker-content-digest'], one);
    const two = await lab.pushManifest('shared', indexOf([], { n: 2 }), 'v', MEDIA_TYPES.index);
    assert.equal((await other.get('/v2/shared/manifests/v')).headers['docker-content-digest'], two);
    await lab.send('DELETE', `/v2/shared/manifests/${two}`);
    assertError(await other.get('/v2/shared/manifests/v'), 404, 'MANIFEST_UNKNOWN');
    assertError(await other.get(`/v2/shared/manifests/${two}`), 404, 'MANIFEST_UNKNOWN');
  });
});

describe('a push beside the collector', () => {
  const layer = descriptorOf(MEDIA_TYPES.layer, 'layer of collected');

  async function condemn(repository: string): Promise<void> {
    await lab.pushBlob(repository, CONFIG);
    await lab.pushBlob(repository, 'layer of collected');
    const { version } = (await lab.storage.statBlob(layer.digest))!;
    await lab.storage.writeDocument(condemnedKey(layer.digest), Buffer.from(JSON.stringify({ version })));
  }

  const image = JSON.stringify(imageOf(descriptorOf(MEDIA_TYPES.config, CONFIG), [layer]));

  it('is not told that a condemned blob exists', async () => {
    await condemn('collected');
    const target = `/v2/collected/blobs/${layer.digest}`;
    assert.equal((await lab.send('HEAD', target)).status, 404);
    const mount = await lab.send('POST', `/v2/other/blobs/uploads/?mount=${layer.digest}&from=collected`);
    assert.equal(mount.status, 202);
    assert.equal((await lab.get(target)).status, 200);
    await lab.pushBlob('collected', 'layer of collected');
    assert.equal((await lab.send('HEAD', target)).status, 200);
    assert.equal((await put('collected', 'v1', image)).status, 201);
  });

  it('waits for the verdict, and fails whole where the blob was taken', async () => {
    await condemn('doomed');
    const pushed = put('doomed', 'v1', image);
    const written = await until(() => lab.storage.readDocument(manifestKey('doomed', digestOf(image))));
    assert.ok(written, 'the manifest is there before the verdict is read');
    const { version } = (await lab.storage.statBlob(layer.digest))!;
    await lab.storage.removeBlob(layer.digest, version);
    await lab.storage.deleteDocument(condemnedKey(layer.digest));
    assertError(await pushed, 404, 'MANIFEST_BLOB_UNKNOWN');
    assertError(await lab.get(`/v2/doomed/manifests/${digestOf(image)}`), 404, 'MANIFEST_UNKNOWN');
    assert.equal(await lab.storage.readDocument(tagKey('doomed', 'v1')), undefined);
  });

  it('waits for the verdict, and succeeds where the blob was pardoned', async () => {
    await condemn('pardoned');
    const pushed = put('pardoned', 'v1', image);
    await until(() => lab.storage.readDocument(manifestKey('pardoned', digestOf(image))));
    await lab.storage.deleteDocument(condemnedKey(layer.digest));
    assert.equal((await pushed).status, 201);
  });

  it('makes a link young that it is told of', async () => {
    await using old = await RegistryLab.start({ storage: aged(lab.storage, 3_600_000) });
    await lab.pushBlob('touched', 'x');
    const key = blobLinkKey('touched', digestOf('x'));
    const before = (await lab.storage.readDocument(key))!;
    assert.equal((await lab.send('HEAD', `/v2/touched/blobs/${digestOf('x')}`)).status, 200);
    assert.equal((await lab.storage.readDocument(key))!.version, before.version);
    assert.equal((await old.send('HEAD', `/v2/touched/blobs/${digestOf('x')}`)).status, 200);
    assert.notEqual((await lab.storage.readDocument(key))!.version, before.version);
  });
});

/** The storage as it looks some milliseconds later. */
function aged(storage: RegistryStorage, milliseconds: number): RegistryStorage {
  return {
    ...storage,
    readDocument: async (key) => {
      const document = await storage.readDocument(key);
      return document && { ...document, modified: document.modified - milliseconds };
    },
  };
}

async function until<T>(probe: () => Promise<T | undefined>): Promise<T | undefined> {
  for (let i = 0; i < 200; i++) {
    const value = await probe();
    if (value !== undefined) return value;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return undefined;
}
