import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { loadArchive } from '../../src/archive/load.ts';
import { saveImages } from '../../src/engine/save.ts';
import { readImage } from '../../src/image/image.ts';
import { origins } from '../../src/store/origins.ts';
import { type CopyEvent, type CopyOptions, copyImage } from '../../src/transfer/copy.ts';
import { parsePlace } from '../../src/transfer/copy-ends.ts';
import { pullImage } from '../../src/transfer/pull.ts';
import { inFlight, Lab, layoutOf, noise, type SampleImage, sampleImage, sha256 } from '../archive/lab.ts';
import { Sample } from '../image/sample.ts';
import { QUICK } from '../registry/client/quick.ts';
import { FakeRegistry } from '../registry/fake-registry.ts';

const ARCHITECTURE = process.arch === 'arm64' ? 'arm64' : 'amd64';
const INDEX = 'application/vnd.oci.image.index.v1+json';
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

let lab: Lab;
let image: SampleImage;
let foreign: SampleImage;
let digest: string;
before(() => {
  lab = new Lab();
  const big = lab.tar(lab.tree('big', { 'usr/noise': noise(1 << 20), 'usr/words': 'again '.repeat(100_000) }));
  image = sampleImage([big, lab.tar(lab.tree('small', { 'app/main': 'print()\n' }))]);
  foreign = sampleImage([lab.tar(lab.tree('foreign', { 'a/b': 'c' }))], { architecture: 's390x' });
  digest = sha256(image.manifest);
});
after(() => lab[Symbol.dispose]());

let count = 0;
function fresh(name: string): string {
  return lab.path(`${name}${count++}`);
}

async function copy(from: string, to: string, options: CopyOptions = {}): Promise<string> {
  return (await copyImage(from, to, { source: QUICK, target: QUICK, ...options })).digest;
}

/** Both platforms, with an attestation. */
function putIndex(registry: FakeRegistry, name: string): string {
  registry.putImage(name, undefined, image);
  registry.putImage(name, undefined, foreign);
  const child = (manifest: Buffer, architecture: string, os = 'linux') => ({
    mediaType: MANIFEST,
    digest: sha256(manifest),
    size: manifest.length,
    platform: { os, architecture },
  });
  const config = registry.putBlob(name, Buffer.from('{}'));
  const attestation = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: config, size: 2 },
      layers: [{ mediaType: 'application/vnd.in-toto+json', digest: config, size: 2 }],
    }),
  );
  registry.putManifest(name, undefined, attestation);
  const manifests = [
    child(foreign.manifest, 's390x'),
    child(image.manifest, ARCHITECTURE),
    child(attestation, 'unknown', 'unknown'),
  ];
  return registry.putManifest(name, '1', { schemaVersion: 2, mediaType: INDEX, manifests });
}

describe('copy keeps every byte', () => {
  it('around through all places, and back', async () => {
    await using registry = await FakeRegistry.start();
    const store = lab.store();
    const openStore = () => store;
    registry.putImage('team/app', '1', image);
    const [directory, archive, docker] = [fresh('oci'), fresh('oci.tar'), fresh('docker.tar')];
    const round = [
      `docker://${registry.host}/team/app:1`,
      `oci:${directory}:1.0`,
      `oci-archive:${archive}:tagged`,
      `docker-archive:${docker}:team/app:2`,
      `${registry.host}/round:1`,
      'store:app:3',
      `oci:${directory}:2.0`,
      `${registry.host}/round:2`,
    ];
    for (const [i, to] of round.slice(1).entries()) {
      assert.equal(await copy(round[i]!, to, { openStore }), digest, to);
      assert.deepEqual(inFlight(store), []);
    }
    for (const tag of ['1', '2']) {
      const at = registry.repository('round').tags.get(tag)!;
      assert.ok(registry.repository('round').manifests.get(at)!.bytes.equals(image.manifest));
    }
    assert.deepEqual(
      readImage(store, store.getRef('docker.io/library/app:3')!).diffIds,
      image.layers.map(({ tar }) => sha256(tar)),
    );
    // Loads and saves read what a copy wrote.
    for (const file of [archive, docker, directory]) {
      const other = lab.store();
      const [loaded] = await loadArchive(other, file);
      assert.equal(loaded!.descriptor.digest, digest);
    }
    const saved = fresh('saved.tar');
    const kept = lab.store();
    await copy(`oci:${directory}:2.0`, 'store:app:3', { openStore: () => kept });
    await saveImages(kept, ['app:3'], { output: saved });
    assert.equal(await copy(`docker-archive:${saved}`, `oci:${fresh('oci')}`), digest);
  });

  it('takes one platform of an index, or all that it names', async () => {
    await using registry = await FakeRegistry.start();
    await using elsewhere = await FakeRegistry.start();
    const index = putIndex(registry, 'multi');
    const from = `${registry.host}/multi:1`;
    const to = `${elsewhere.host}/multi`;
    const events: CopyEvent[] = [];
    assert.equal(await copy(from, `${to}:host`, { onEvent: (event) => events.push(event) }), digest);
    assert.ok(events.some((event) => event.type === 'chosen' && event.index === index));
    const s390x = { os: 'linux', architecture: 's390x' };
    assert.equal(await copy(from, `${to}:other`, { platform: s390x }), sha256(foreign.manifest));
    assert.equal(await copy(from, `${to}:all`, { all: true }), index);
    const directory = fresh('oci');
    assert.equal(await copy(from, `oci:${directory}:x`, { all: true }), index);
    assert.equal(readdirSync(join(directory, 'blobs/sha256')).length, registry.blobs.size + 4);
    assert.equal(await copy(`oci:${directory}:x`, `oci-archive:${fresh('tar')}`, { all: true }), index);
    assert.equal(await copy(`oci:${directory}`, `${to}:again`, { platform: s390x }), sha256(foreign.manifest));
    const store = lab.store();
    const openStore = () => store;
    assert.equal(await copy(from, 'store:multi', { all: true, openStore }), index);
    assert.equal(await copy('store:multi', `${elsewhere.host}/back:1`, { all: true, openStore }), index);
    await assert.rejects(() => copy(from, `${to}:x`, { platform: { os: 'linux', architecture: 'riscv64' } }), {
      code: 'PLATFORM_MISMATCH',
    });
    await assert.rejects(() => copy(`${to}:other`, `${to}:x`, { platform: { os: 'linux', architecture: 'riscv64' } }), {
      code: 'PLATFORM_MISMATCH',
    });
    const archive = fresh('docker.tar');
    await assert.rejects(() => copy(from, `docker-archive:${archive}`, { all: true }), { code: 'CANNOT_HOLD' });
    assert.ok(!existsSync(archive));
  });

  it('mounts within a registry, and sends nothing twice', async () => {
    await using registry = await FakeRegistry.start();
    registry.putImage('team/app', '1', image);
    assert.equal(await copy(`${registry.host}/team/app:1`, `${registry.host}/mine:1`), digest);
    assert.equal(registry.bytesReceived, image.manifest.length);
    assert.equal(await copy(`${registry.host}/team/app:1`, `${registry.host}/mine:2`), digest);
    assert.equal(registry.bytesReceived, 2 * image.manifest.length);
    registry.options.mounts = false;
    assert.equal(await copy(`${registry.host}/team/app:1`, `${registry.host}/other:1`), digest);
    assert.equal(registry.uploads.size, 0);
  });

  it('goes on after cut connections', async () => {
    await using from = await FakeRegistry.start();
    await using to = await FakeRegistry.start();
    from.putImage('team/app', '1', image);
    from.fault({ method: 'GET', path: /blobs/ }, { cutAfter: 300_000 }, 2);
    to.fault({ path: /uploads\/\w/ }, { cutRequestAfter: 500_000 }, 3);
    assert.equal(await copy(`${from.host}/team/app:1`, `${to.host}/app:1`), digest);
    for (const { blob } of image.layers) assert.ok(to.blobs.get(sha256(blob))!.equals(blob));
  });

  it('remembers for the store where an image came from, and then keeps no compressed bytes', async () => {
    await using registry = await FakeRegistry.start();
    const store = lab.store();
    registry.putImage('team/app', '1', image);
    await copy(`${registry.host}/team/app:1`, 'store:a', { openStore: () => store });
    const layer = image.layers[0]!;
    assert.deepEqual(origins(store, sha256(layer.tar))[0]!.repositories, [`${registry.host}/team/app`]);
    assert.ok(!store.hasBlob(sha256(layer.blob)));
    const kept = lab.store();
    const directory = lab.tree(`layout${count++}`, layoutOf(image));
    await copy(`oci:${directory}`, 'store:a', { openStore: () => kept });
    assert.ok(kept.hasBlob(sha256(layer.blob)));
  });

  it('takes from the store what was built, pulled and kept', async () => {
    await using sample = new Sample();
    await using registry = await FakeRegistry.start();
    const { store } = sample;
    const openStore = () => store;
    const built = await sample.image('built:1', [{ 'bin/app': 'x' }]);
    assert.equal(await copy('store:built:1', `oci:${fresh('oci')}`, { openStore }), built.digest);
    registry.putImage('team/app', '1', image);
    await pullImage(store, `${registry.host}/team/app:1`, QUICK);
    assert.equal(await copy(`store:${registry.host}/team/app:1`, `oci-archive:${fresh('tar')}`, { openStore }), digest);
    registry.repository('team/app').blobs.clear();
    const archive = fresh('tar');
    await assert.rejects(() => copy(`store:${registry.host}/team/app:1`, `oci-archive:${archive}`, { openStore }), {
      code: 'LAYER_BYTES_GONE',
    });
    assert.ok(!existsSync(archive));
  });
});

describe('Docker archives without a layout', () => {
  function dockerArchive(): string {
    const files: Record<string, Uint8Array> = { 'config.json': image.config };
    for (const [i, { tar }] of image.layers.entries()) files[`${i}/layer.tar`] = tar;
    const item = { Config: 'config.json', RepoTags: ['app:1'], Layers: image.layers.map((_, i) => `${i}/layer.tar`) };
    files['manifest.json'] = Buffer.from(JSON.stringify([item]));
    const path = fresh('docker.tar');
    writeFileSync(path, lab.tar(lab.tree(`tree${count++}`, files)));
    return path;
  }

  it('get the manifest that a load gives them', async () => {
    await using registry = await FakeRegistry.start();
    const archive = dockerArchive();
    const store = lab.store();
    const [loaded] = await loadArchive(store, archive);
    for (const name of ['', ':app:1', `:${sha256(image.config)}`]) {
      assert.equal(await copy(`docker-archive:${archive}${name}`, `${registry.host}/app:1`), loaded!.descriptor.digest);
    }
    await assert.rejects(() => copy(`docker-archive:${archive}:app:2`, `${registry.host}/app:1`), {
      code: 'IMAGE_NOT_FOUND',
    });
  });
});

describe('bad places', () => {
  it('are told', async () => {
    const file = fresh('file');
    writeFileSync(file, 'no tar');
    const gz = fresh('gz');
    writeFileSync(gz, Buffer.from('1f8b0800000000000003', 'hex'));
    const full = fresh('full');
    mkdirSync(full);
    writeFileSync(join(full, 'x'), '');
    const layout = lab.tree(`layout${count++}`, layoutOf(image, { 'org.opencontainers.image.ref.name': 'v1' }));
    const cases: [from: string, to: string, code: string][] = [
      ['dir:x', 'oci:y', 'BAD_TRANSPORT'],
      ['docker-daemon:x', 'oci:y', 'BAD_TRANSPORT'],
      ['docker://', 'oci:y', 'BAD_TRANSPORT'],
      ['oci:', 'oci:y', 'BAD_TRANSPORT'],
      [`oci:${layout}:`, 'oci:y', 'BAD_TRANSPORT'],
      ['oci:/nonexistent', `oci:${fresh('o')}`, 'NO_SUCH_FILE'],
      [`oci-archive:${gz}`, `oci:${fresh('o')}`, 'ARCHIVE_COMPRESSED'],
      [`oci:${full}`, `oci:${fresh('o')}`, 'UNKNOWN_ARCHIVE'],
      [`oci:${layout}`, `oci:${full}`, 'OUTPUT_EXISTS'],
      [`oci:${layout}`, `oci-archive:${full}`, 'OUTPUT_EXISTS'],
      [`oci:${layout}:v2`, `oci:${fresh('o')}`, 'IMAGE_NOT_FOUND'],
      [`oci:${layout}`, 'oci-archive:/nonexistent/x.tar', 'CANNOT_WRITE'],
      [`oci:${layout}`, `127.0.0.1:1/x@sha256:${'0'.repeat(64)}`, 'DIGEST_MISMATCH'],
      [`oci:${layout}`, 'UPPER', 'BAD_REFERENCE'],
    ];
    for (const [from, to, code] of cases) await assert.rejects(() => copy(from, to), { code }, `${from} ${to}`);
    // Where no directory can be made, and Node's own way of making several never ends.
    const registry = await FakeRegistry.start();
    registry.putImage('a', '1', image);
    await assert.rejects(() => copy(`${registry.host}/a:1`, 'oci:/proc/imago/x'), {
      code: /^(?:ENOENT|EACCES|EPERM)$/,
    });
    await registry[Symbol.asyncDispose]();
    assert.deepEqual(parsePlace('oci:a:b:c'), { transport: 'oci', path: 'a', name: 'b:c' });
    assert.deepEqual(parsePlace('localhost:5000/oci:1'), {
      transport: 'docker',
      path: '',
      name: 'localhost:5000/oci:1',
    });
    assert.equal(await copy(`oci:${layout}:v1`, `oci:${fresh('o')}`), digest);
  });

  it('of which one blob is damaged leave nothing behind', async () => {
    await using registry = await FakeRegistry.start();
    const files = layoutOf(image);
    const name = `blobs/${sha256(image.layers[0]!.blob).replace(':', '/')}`;
    const bad = Buffer.from(files[name]!);
    bad[bad.length - 3] = bad.at(-3)! ^ 1;
    const layout = lab.tree(`layout${count++}`, { ...files, [name]: bad });
    const store = lab.store();
    const openStore = () => store;
    const archive = fresh('tar');
    const directory = fresh('oci');
    for (const to of [`oci-archive:${archive}`, `oci:${directory}`, `${registry.host}/x:1`, 'store:x']) {
      await assert.rejects(() => copy(`oci:${layout}`, to, { openStore }), { code: 'DIGEST_MISMATCH' }, to);
    }
    assert.ok(!existsSync(archive));
    assert.ok(!existsSync(join(directory, 'index.json')));
    assert.ok(!readdirSync(join(directory, 'blobs/sha256')).some((blob) => blob === name.slice(13)));
    assert.equal(registry.repository('x').tags.size, 0);
    assert.equal(registry.uploads.size, 0);
    assert.deepEqual(store.listRefs(), []);
    assert.deepEqual(inFlight(store), []);
  });

  it('keep what was in a layout before', async () => {
    const directory = lab.tree(`layout${count++}`, layoutOf(image, { 'org.opencontainers.image.ref.name': 'v1' }));
    const other = lab.tree(`layout${count++}`, layoutOf(foreign));
    await copy(`oci:${other}`, `oci:${directory}:v2`, { all: true });
    await copy(`oci:${other}`, `oci:${directory}:v2`, { all: true });
    const { manifests } = JSON.parse(readFileSync(join(directory, 'index.json'), 'utf8'));
    assert.deepEqual(
      manifests.map((m: { digest: string }) => m.digest),
      [digest, sha256(foreign.manifest)],
    );
    await assert.rejects(() => copy(`oci:${directory}`, `oci:${fresh('o')}`), { code: 'AMBIGUOUS_NAME' });
    assert.equal(await copy(`oci:${directory}:v1`, `oci-archive:${fresh('tar')}`), digest);
    assert.equal(await copy(`oci:${directory}:${digest}`, `oci-archive:${fresh('tar')}`), digest);
  });
});
