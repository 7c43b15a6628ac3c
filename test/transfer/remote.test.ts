import assert from 'node:assert/strict';
import { it, describe as suite } from 'node:test';
import { loadArchive } from '../../src/archive/load.ts';
import { inspectImage } from '../../src/image/inspect.ts';
import { listRemoteReferrers } from '../../src/transfer/referrers.ts';
import { inspectRemote, readRemoteConfig, readRemoteManifest } from '../../src/transfer/remote-inspect.ts';
import { listRemoteTags } from '../../src/transfer/tags.ts';
import { describe, Lab, layoutOf, type SampleImage, sampleImage, sha256 } from '../archive/lab.ts';
import { FakeRegistry } from '../registry/fake-registry.ts';

const INDEX = 'application/vnd.oci.image.index.v1+json';
const HTML = { status: 200, body: '<html>hello</html>', headers: { 'content-type': 'text/html' } };

function sample(lab: Lab, text: string, architecture?: string): SampleImage {
  return sampleImage(
    [lab.tar(lab.tree(`t-${text}`, { file: text }))],
    architecture === undefined ? {} : { architecture },
  );
}

async function gather(tags: AsyncIterable<string>): Promise<string[]> {
  const out: string[] = [];
  for await (const tag of tags) out.push(tag);
  return out;
}

suite('tags', () => {
  it('come page by page, and no more pages than are wanted', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start({ pageSize: 10 });
    const image = sample(lab, 'x');
    const wanted = Array.from({ length: 35 }, (_, i) => `v${String(i).padStart(2, '0')}`);
    for (const tag of wanted) registry.putImage('team/app', tag, image);
    const name = `${registry.host}/team/app`;
    assert.deepEqual(await gather(listRemoteTags(name)), wanted);
    assert.equal(registry.count('GET', /tags/), 4);
    assert.deepEqual(await gather(listRemoteTags(name, { limit: 12 })), wanted.slice(0, 12));
    assert.equal(registry.count('GET', /tags/), 6);
    assert.deepEqual(await gather(listRemoteTags(name, { limit: 0 })), []);
    assert.equal(registry.count('GET', /tags/), 6);
  });

  it('a name with a tag or digest is no repository', async () => {
    for (const name of ['debian:12', `debian@${sha256(Buffer.from(''))}`]) {
      await assert.rejects(gather(listRemoteTags(name)), { code: 'BAD_REFERENCE' });
    }
  });

  it('pages in a circle, a web page, a list that is none, and a repository that is missing', async () => {
    await using registry = await FakeRegistry.start();
    const name = `${registry.host}/a`;
    const page = (link: string, body: string) => ({
      status: 200,
      body,
      headers: { 'content-type': 'application/json', link },
    });
    const again = page('</v2/a/tags/list?n=1000>; rel="next"', '{"name":"a","tags":["x"]}');
    registry.fault({ path: /tags/ }, again, 50);
    await assert.rejects(gather(listRemoteTags(name)), { code: 'BAD_RESPONSE' });
    assert.ok(registry.count('GET', /tags/) < 5);
    registry.clearFaults();
    for (const fault of [
      HTML,
      { status: 200, body: '{"tags":{"a":1}}', headers: {} },
      { status: 200, body: '{"tags":["../x"]}' },
    ]) {
      registry.fault({ path: /tags/ }, fault, 9);
      await assert.rejects(gather(listRemoteTags(name)), { code: 'BAD_RESPONSE' });
      registry.clearFaults();
    }
    await assert.rejects(gather(listRemoteTags(name)), { name: 'ImagoError' });
  });
});

suite('inspect --remote', () => {
  it('tells what a local inspection does, and fetches no layer', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const image = sample(lab, 'x');
    registry.putImage('team/app', '1', image);
    const name = `${registry.host}/team/app:1`;
    const store = lab.store();
    await loadArchive(store, lab.tree('in', layoutOf(image, { 'io.containerd.image.name': name })));
    const { GraphDriver, Metadata, Size, ...local } = inspectImage(store, name);
    const remote = await inspectRemote(name);
    const layer = image.layers[0]!;
    assert.deepEqual(remote, {
      ...local,
      Size: layer.blob.length,
      Manifest: local.Descriptor,
      Layers: [{ mediaType: layer.mediaType, digest: sha256(layer.blob), size: layer.blob.length }],
    });
    assert.ok(GraphDriver.Name !== '' && Metadata !== undefined && Size > 0);
    assert.equal(registry.count('GET', new RegExp(sha256(layer.blob))), 0);
    assert.deepEqual(Buffer.from(await readRemoteManifest(name)), image.manifest);
    assert.deepEqual(Buffer.from(await readRemoteConfig(name)), image.config);
  });

  it('of an index, the platform that is asked for', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const [a, b] = [sample(lab, 'a', 'amd64'), sample(lab, 'b', 'arm64')];
    registry.putImage('app', undefined, a);
    registry.putImage('app', undefined, b);
    const manifests = [
      { ...describe(a), platform: { os: 'linux', architecture: 'amd64' } },
      { ...describe(b), platform: { os: 'linux', architecture: 'arm64' } },
      { ...describe(b), platform: { os: 'unknown', architecture: 'unknown' } },
    ];
    const digest = registry.putManifest('app', '1', { schemaVersion: 2, mediaType: INDEX, manifests });
    const name = `${registry.host}/app:1`;
    const found = await inspectRemote(name, { platform: { os: 'linux', architecture: 'arm64' } });
    assert.equal(found.Architecture, 'arm64');
    assert.equal(found.Descriptor.digest, digest);
    assert.equal(found.Manifest.digest, describe(b).digest);
    assert.deepEqual(found.Platforms, ['linux/amd64', 'linux/arm64']);
    assert.deepEqual(found.RepoDigests, [`${registry.host}/app@${digest}`]);
    const raw = await readRemoteManifest(name, { platform: { os: 'linux', architecture: 'arm64' } });
    assert.deepEqual(Buffer.from(raw), b.manifest);
    assert.equal(sha256(await readRemoteManifest(name)), digest);
    await assert.rejects(inspectRemote(name, { platform: { os: 'linux', architecture: 's390x' } }), {
      code: 'PLATFORM_MISMATCH',
    });
  });

  it('what is no image, and what lies', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    const image = sample(lab, 'x');
    registry.putImage('app', '1', image);
    const name = `${registry.host}/app:1`;
    const config = new RegExp(sha256(image.config));
    registry.fault({ path: config }, { corrupt: true }, 9);
    await assert.rejects(inspectRemote(name), { code: 'DIGEST_MISMATCH' });
    registry.clearFaults();
    registry.fault({ path: /manifests/ }, HTML, 9);
    await assert.rejects(inspectRemote(name), { code: 'BAD_RESPONSE' });
    registry.clearFaults();
    registry.fault({ path: /manifests/ }, { huge: 2 ** 30 }, 9);
    await assert.rejects(inspectRemote(name), { code: 'BAD_MANIFEST' });
    registry.clearFaults();
    const empty = {
      mediaType: 'application/vnd.oci.empty.v1+json',
      digest: registry.putBlob('app', Buffer.from('{}')),
      size: 2,
    };
    registry.putManifest('app', 'artifact', { schemaVersion: 2, artifactType: 'x/y', config: empty, layers: [] });
    await assert.rejects(inspectRemote(`${registry.host}/app:artifact`), { code: 'NOT_AN_IMAGE' });
  });
});

suite('referrers', () => {
  it('by tag or digest, by type, with the API and without', async () => {
    using lab = new Lab();
    const image = sample(lab, 'x');
    for (const referrers of [true, false]) {
      await using registry = await FakeRegistry.start({ referrers, pageSize: 2 });
      registry.putImage('app', '1', image);
      const subject = describe(image);
      const digests: string[] = [];
      const { pushArtifact } = await import('../../src/transfer/artifact-push.ts');
      for (const [i, artifactType] of ['x/a', 'x/b', 'x/a'].entries()) {
        const annotations = { n: String(i) };
        const pushed = await pushArtifact(`${registry.host}/app`, [], {
          artifactType,
          annotations,
          subject: subject.digest,
        });
        digests.push(pushed.descriptor.digest);
      }
      for (const name of [`${registry.host}/app:1`, `${registry.host}/app@${subject.digest}`]) {
        const all = await listRemoteReferrers(name);
        assert.equal(all.subject, subject.digest);
        assert.deepEqual(all.referrers.map(({ digest }) => digest).sort(), [...digests].sort());
        const some = await listRemoteReferrers(name, { artifactType: 'x/a' });
        assert.deepEqual(some.referrers.map(({ annotations }) => annotations!.n).sort(), ['0', '2']);
      }
      await assert.rejects(listRemoteReferrers(`${registry.host}/app:none`), { code: 'MANIFEST_UNKNOWN' });
      const nothing = await listRemoteReferrers(`${registry.host}/app@${sha256(Buffer.from('none'))}`);
      assert.deepEqual(nothing.referrers, []);
    }
  });

  it('a web page and a list of a million', async () => {
    using lab = new Lab();
    await using registry = await FakeRegistry.start();
    registry.putImage('app', '1', sample(lab, 'x'));
    // As from a registry that does not know the API: then the fallback tag must tell.
    registry.fault({ path: /referrers/ }, HTML, 9);
    assert.deepEqual((await listRemoteReferrers(`${registry.host}/app:1`)).referrers, []);
    registry.fault({ path: /manifests.sha256-/ }, HTML, 9);
    await assert.rejects(listRemoteReferrers(`${registry.host}/app:1`), { code: 'BAD_RESPONSE' });
    registry.clearFaults();
    registry.fault({ path: /referrers/ }, { huge: 2 ** 30 }, 9);
    await assert.rejects(listRemoteReferrers(`${registry.host}/app:1`), { name: 'ImagoError' });
    assert.ok(registry.bytesSent < 2 ** 28);
  });
});
