import assert from 'node:assert/strict';
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it, describe as suite } from 'node:test';
import { promisify } from 'node:util';
import { loadArchive } from '../../src/archive/load.ts';
import type { ImageIndex } from '../../src/oci/manifest.ts';
import type { Store } from '../../src/store/store.ts';
import { pullArtifact } from '../../src/transfer/artifact-pull.ts';
import { pushArtifact } from '../../src/transfer/artifact-push.ts';
import { annotateList } from '../../src/transfer/manifest-annotate.ts';
import { createList } from '../../src/transfer/manifest-create.ts';
import { inspectManifest } from '../../src/transfer/manifest-inspect.ts';
import { pushList } from '../../src/transfer/manifest-push.ts';
import { pushName } from '../../src/transfer/push.ts';
import { listRemoteReferrers } from '../../src/transfer/referrers.ts';
import { inspectRemote, readRemoteManifest } from '../../src/transfer/remote-inspect.ts';
import { listRemoteTags } from '../../src/transfer/tags.ts';
import { Lab, layoutOf, type SampleImage, sampleImage } from '../archive/lab.ts';
import { DockerRegistry, dockerRegistryMissing } from '../registry/docker-registry.ts';
import { ServeLab } from '../registry/serve-lab.ts';

/** A command prefix that runs oras and docker elsewhere (IMAGO_TEST_PEERS), and a directory that both sides see. */
const prefix = (process.env.IMAGO_TEST_PEERS ?? '').split(' ').filter((word) => word !== '');
const shared = process.env.IMAGO_TEST_PEERS_DIR ?? tmpdir();

/** Not synchronous: one of the registries is in this process. */
async function run(file: string, ...args: string[]): Promise<string> {
  return (await promisify(execFile)(file, args, { timeout: 60_000, maxBuffer: 1 << 26 })).stdout;
}

function peer(...command: string[]): Promise<string> {
  const [file, ...args] = [...prefix, ...command];
  return run(file!, ...args);
}

function missing(...command: string[]): string | undefined {
  const [file, ...args] = [...prefix, ...command];
  return spawnSync(file!, args, { stdio: 'ignore' }).status === 0 ? undefined : `${command[0]} is not installed`;
}

const noOras = missing('oras', 'version');
const noDocker = missing('docker', 'manifest', '--help');
const noSkopeo =
  spawnSync('skopeo', ['--version'], { stdio: 'ignore' }).status === 0 ? undefined : 'skopeo is not installed';

async function gather(tags: AsyncIterable<string>): Promise<string[]> {
  const out: string[] = [];
  for await (const tag of tags) out.push(tag);
  return out;
}

interface Place extends AsyncDisposable {
  host: string;
}

const places: { name: string; skip: string | undefined; start: () => Promise<Place>; referrers: boolean }[] = [
  { name: 'docker-registry', skip: dockerRegistryMissing, start: () => DockerRegistry.start(), referrers: false },
  {
    name: 'imago registry',
    skip: undefined,
    referrers: true,
    async start() {
      const lab = new ServeLab();
      const { port } = await lab.serve();
      return { host: `127.0.0.1:${port}`, [Symbol.asyncDispose]: () => lab[Symbol.asyncDispose]() };
    },
  },
];

for (const place of places) {
  suite(`at ${place.name}`, { skip: place.skip }, () => {
    let registry: Place;
    let lab: Lab;
    let dir: string;
    let store: Store;
    let images: Record<'amd64' | 'arm64', SampleImage>;
    before(async () => {
      registry = await place.start();
      lab = new Lab();
      dir = mkdtempSync(join(shared, 'imago-peers-'));
      chmodSync(dir, 0o755);
      store = lab.store();
      const image = (architecture: string): SampleImage =>
        sampleImage([lab.tar(lab.tree(`t-${architecture}`, { file: architecture }))], { architecture });
      images = { amd64: image('amd64'), arm64: image('arm64') };
      for (const architecture of ['amd64', 'arm64'] as const) {
        const name = `${registry.host}/team/app:${architecture}`;
        const files = layoutOf(images[architecture], { 'io.containerd.image.name': name });
        await loadArchive(store, lab.tree(architecture, files), { platform: { os: 'linux', architecture } });
        await pushName(store, name);
      }
    });
    after(async () => {
      rmSync(dir, { recursive: true, force: true });
      lab[Symbol.dispose]();
      await registry[Symbol.asyncDispose]();
    });

    /** What `tree` makes, in a directory that a peer sees. */
    function files(): string {
      const tree = execFileSync('mktemp', ['-d', join(dir, 'in-XXXX')])
        .toString()
        .trim();
      execFileSync(
        'sh',
        [
          '-c',
          'mkdir -p d/sub; echo hello >a.txt; head -c 300000 /dev/zero >d/sub/b; echo 1 >d/ü; ln -s sub/b d/link; echo "#!/bin/sh" >d/run; chmod 755 d/run',
        ],
        { cwd: tree },
      );
      return tree;
    }

    function check(directory: string): void {
      assert.deepEqual(
        readdirSync(directory, { recursive: true }).sort(),
        ['a.txt', 'd', 'd/link', 'd/run', 'd/sub', 'd/sub/b', 'd/ü'].sort(),
      );
      assert.equal(readFileSync(join(directory, 'a.txt'), 'utf8'), 'hello\n');
      assert.equal(statSync(join(directory, 'd/sub/b')).size, 300_000);
      assert.equal(readlinkSync(join(directory, 'd/link')), 'sub/b');
      assert.equal(statSync(join(directory, 'd/run')).mode & 0o777, 0o755);
    }

    it('oras pulls what we push', { skip: noOras }, async () => {
      const name = `${registry.host}/art/ours:1`;
      const tree = files();
      await pushArtifact(name, [{ path: join(tree, 'a.txt') }, { path: join(tree, 'd') }], {
        artifactType: 'application/x-test',
      });
      const out = join(dir, 'oras-out');
      await peer('oras', 'pull', '--plain-http', '-o', out, name);
      check(out);
      const manifest = JSON.parse(await peer('oras', 'manifest', 'fetch', '--plain-http', name));
      assert.equal(manifest.artifactType, 'application/x-test');
    });

    it('we pull what oras pushes, and inspect it', { skip: noOras }, async () => {
      const name = `${registry.host}/art/theirs:1`;
      const tree = files();
      await peer(
        'sh',
        '-c',
        `cd ${tree} && oras push --plain-http --artifact-type application/x-test ${name} a.txt:text/plain d`,
      );
      const directory = lab.path('from-oras');
      const { files: names, artifactType } = await pullArtifact(name, { directory });
      assert.deepEqual([names, artifactType], [['a.txt', 'd'], 'application/x-test']);
      check(directory);
      const raw = await readRemoteManifest(name);
      assert.equal(Buffer.from(raw).toString(), await peer('oras', 'manifest', 'fetch', '--plain-http', name));
    });

    it('what is attached is found by both', { skip: noOras }, async () => {
      const subject = `${registry.host}/team/app:amd64`;
      const tree = files();
      await pushArtifact(`${registry.host}/team/app`, [{ path: join(tree, 'a.txt') }], {
        subject,
        artifactType: 'x/ours',
      });
      await peer('sh', '-c', `cd ${tree} && oras attach --plain-http --artifact-type x/theirs ${subject} a.txt`);
      const { referrers } = await listRemoteReferrers(subject);
      assert.deepEqual(referrers.map(({ artifactType }) => artifactType).sort(), ['x/ours', 'x/theirs']);
      const told = await peer('oras', 'discover', '--plain-http', '--format', 'json', subject);
      for (const { digest } of referrers) assert.ok(told.includes(digest), told);
      const [ours] = (await listRemoteReferrers(subject, { artifactType: 'x/ours' })).referrers;
      const directory = lab.path('referrer');
      await pullArtifact(`${registry.host}/team/app@${ours!.digest}`, { directory });
      assert.deepEqual(readdirSync(directory), ['a.txt']);
    });

    it('tags and inspections agree with skopeo', { skip: noSkopeo }, async () => {
      const skopeo = (...args: string[]) => run('skopeo', ...args);
      const name = `${registry.host}/team/app`;
      const tags = await gather(listRemoteTags(name));
      const theirs = JSON.parse(await skopeo('list-tags', '--tls-verify=false', `docker://${name}`)) as {
        Tags: string[];
      };
      assert.deepEqual(tags, theirs.Tags);
      const inspected = await inspectRemote(`${name}:amd64`);
      const other = JSON.parse(await skopeo('inspect', '--tls-verify=false', `docker://${name}:amd64`));
      assert.equal(inspected.Descriptor.digest, other.Digest);
      assert.deepEqual(
        inspected.Layers.map(({ digest }) => digest),
        other.Layers,
      );
      const raw = await skopeo('inspect', '--raw', '--tls-verify=false', `docker://${name}:amd64`);
      assert.equal(Buffer.from(await readRemoteManifest(`${name}:amd64`)).toString(), raw);
    });

    it('a list that we push is what docker makes of the same', { skip: noDocker }, async () => {
      const name = `${registry.host}/team/app`;
      await createList(store, `${name}:ours`, [`${name}:amd64`, `docker://${name}:arm64`]);
      annotateList(store, `${name}:ours`, `${name}:arm64`, { variant: 'v8' });
      const { digest } = await pushList(store, `${name}:ours`);
      const steps = [
        `docker manifest create --insecure ${name}:theirs ${name}:amd64 ${name}:arm64`,
        `docker manifest annotate --variant v8 ${name}:theirs ${name}:arm64`,
        `docker manifest push --insecure ${name}:theirs >&2`,
        `docker manifest inspect --insecure ${name}:theirs`,
      ];
      const theirs = JSON.parse(await peer('sh', '-ec', `export HOME=/tmp; ${steps.join(' >&2; ')}`)) as ImageIndex;
      const ours = JSON.parse(await peer('docker', 'manifest', 'inspect', '--insecure', `${name}:ours`)) as ImageIndex;
      assert.deepEqual(ours.manifests, theirs.manifests);
      assert.deepEqual(await inspectManifest(store, `${name}:theirs`), theirs);
      const { RepoDigests, Platforms } = await inspectRemote(`${name}:ours`, {
        platform: { os: 'linux', architecture: 'amd64' },
      });
      assert.deepEqual([RepoDigests, Platforms], [[`${name}@${digest}`], ['linux/amd64', 'linux/arm64/v8']]);
    });

    it('a list goes to another repository with its images', async () => {
      const name = `${registry.host}/other/app:all`;
      await createList(store, name, [`${registry.host}/team/app:amd64`, `docker://${registry.host}/team/app:arm64`]);
      await pushList(store, name);
      for (const architecture of ['amd64', 'arm64'] as const) {
        const { Layers } = await inspectRemote(name, { platform: { os: 'linux', architecture } });
        assert.equal(Layers[0]!.size, images[architecture].layers[0]!.blob.length);
      }
    });

    it('an artifact of some size goes there and back', async () => {
      const tree = lab.tree('large', { blob: randomBytes(20_000_000) });
      symlinkSync('blob', join(tree, 'link'));
      const name = `${registry.host}/art/large:1`;
      await pushArtifact(name, [{ path: join(tree, 'blob') }, { path: tree }]);
      const directory = lab.path('large-out');
      await pullArtifact(name, { directory });
      const want = readFileSync(join(tree, 'blob'));
      assert.ok(readFileSync(join(directory, 'blob')).equals(want));
      assert.ok(readFileSync(join(directory, 'large/blob')).equals(want));
    });
  });
}
