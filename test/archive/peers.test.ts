import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it, describe as suite } from 'node:test';
import { loadArchive } from '../../src/archive/load.ts';
import { saveImages } from '../../src/engine/save.ts';
import { readImage } from '../../src/image/image.ts';
import type { Store } from '../../src/store/store.ts';
import { describe, Lab, layoutOf, noise, type SampleImage, sampleImage, sha256 } from './lab.ts';

/** A command prefix that runs podman and docker elsewhere (IMAGO_TEST_PEERS), and a directory that both sides see. */
const prefix = (process.env.IMAGO_TEST_PEERS ?? '').split(' ').filter((word) => word !== '');
const shared = process.env.IMAGO_TEST_PEERS_DIR ?? tmpdir();

let lab: Lab;
let dir: string;
let store: Store;
let image: SampleImage;

before(async () => {
  lab = new Lab();
  dir = mkdtempSync(join(shared, 'imago-peers-'));
  chmodSync(dir, 0o755);
  const base = lab.tar(lab.tree('l1', { 'etc/os-release': 'ID=sample\n', 'usr/noise': noise(1 << 20) }));
  image = sampleImage([base, lab.tar(lab.tree('l2', { 'app/main': 'print()\n' }))], { cmd: '/app/main' });
  store = lab.store();
  await loadArchive(store, lab.tree('in', layoutOf(image, { 'io.containerd.image.name': 'imago-test/sample:1' })));
});
after(() => {
  rmSync(dir, { recursive: true, force: true });
  lab[Symbol.dispose]();
});

function has(...command: string[]): boolean {
  return spawnSync(command[0]!, command.slice(1), { stdio: 'ignore' }).status === 0;
}

function run(...command: string[]): string {
  return execFileSync(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] }).toString();
}

/** What must be the same wherever the image went: how it runs, and the tars of its layers. */
async function checkLoaded(archive: string, names: string[]): Promise<void> {
  const other = lab.store();
  const [loaded] = await loadArchive(other, archive);
  const { config, diffIds } = readImage(other, loaded!.descriptor);
  assert.deepEqual(config.config?.Cmd, ['/app/main']);
  assert.deepEqual(
    diffIds,
    image.layers.map((l) => sha256(l.tar)),
  );
  assert.deepEqual(loaded!.names, names);
}

const skopeo = has('skopeo', '--version') ? undefined : 'skopeo is not installed';
suite('skopeo', { skip: skopeo }, () => {
  const copy = (from: string, to: string) => run('skopeo', '--insecure-policy', 'copy', '--quiet', from, to);

  it('reads what is saved, with the digests that were loaded', async () => {
    const archive = join(dir, 'saved.tar');
    await saveImages(store, ['imago-test/sample:1'], { output: archive });
    await saveImages(store, ['imago-test/sample:1'], { output: join(dir, 'saved'), format: 'oci-dir' });
    for (const source of [`oci-archive:${archive}`, `oci:${join(dir, 'saved')}`]) {
      assert.equal(run('skopeo', 'inspect', '--raw', source), image.manifest.toString());
      assert.equal(run('skopeo', 'inspect', '--raw', '--config', source), image.config.toString());
    }
    const inspected = JSON.parse(run('skopeo', 'inspect', `docker-archive:${archive}:docker.io/imago-test/sample:1`));
    assert.deepEqual(
      inspected.Layers,
      image.layers.map((l) => sha256(l.tar)),
    );
    assert.equal(run('skopeo', 'inspect', '--raw', '--config', `docker-archive:${archive}`), image.config.toString());
  });

  it('copies all of it, every digest checked', async () => {
    const archive = join(dir, 'copied.tar');
    await saveImages(store, ['imago-test/sample:1'], { output: archive });
    copy(`oci-archive:${archive}`, `dir:${join(dir, 'copied')}`);
    assert.equal(readFileSync(join(dir, 'copied/manifest.json'), 'utf8'), image.manifest.toString());
  });

  it('writes what can be loaded: oci, oci-archive, docker-archive', async () => {
    const archive = join(dir, 'from.tar');
    await saveImages(store, ['imago-test/sample:1'], { output: archive });
    const source = `oci-archive:${archive}`;
    copy(source, `oci:${join(dir, 'sk-oci')}:sk:1`);
    await checkLoaded(join(dir, 'sk-oci'), ['docker.io/library/sk:1']);
    copy(source, `oci-archive:${join(dir, 'sk-oci.tar')}`);
    await checkLoaded(join(dir, 'sk-oci.tar'), []);
    copy(source, `docker-archive:${join(dir, 'sk-docker.tar')}:sk:2`);
    await checkLoaded(join(dir, 'sk-docker.tar'), ['docker.io/library/sk:2']);
  });
});

/** Runs a shell script where the peers are: what belongs together is one call. */
function peers(script: string): string {
  writeFileSync(join(dir, 'script'), `set -e\ncd '${dir}'\n${script}`);
  const [command, ...args] = [...prefix, 'sh', join(dir, 'script')];
  return execFileSync(command!, args, { stdio: ['ignore', 'pipe', 'pipe'] }).toString();
}

function hasPeer(name: string): string | undefined {
  const [command, ...args] = [...prefix, name, '--version'];
  return has(command!, ...args) ? undefined : `${name} is neither installed nor behind IMAGO_TEST_PEERS`;
}

suite('podman', { skip: hasPeer('podman') ?? (process.getuid?.() === 0 ? undefined : 'needs root') }, () => {
  it('loads what is saved and saves what can be loaded', async () => {
    await saveImages(store, ['imago-test/sample:1'], { output: join(dir, 'to-podman.tar') });
    await saveImages(store, ['imago-test/sample:1'], { output: join(dir, 'to-podman-oci.tar'), format: 'oci-archive' });
    const told = peers(`
      podman load -q -i to-podman.tar; podman load -q -i to-podman-oci.tar
      podman image inspect imago-test/sample:1 --format '{{.Id}} {{.Digest}}'
      podman save -q -o podman-docker.tar imago-test/sample:1
      podman save -q --format oci-archive -o podman-oci.tar imago-test/sample:1
      podman rmi -f imago-test/sample:1 >/dev/null`);
    assert.match(told, new RegExp(`${sha256(image.config).slice(7)} ${describe(image).digest}`));
    await checkLoaded(join(dir, 'podman-docker.tar'), ['docker.io/imago-test/sample:1']);
    await checkLoaded(join(dir, 'podman-oci.tar'), ['docker.io/imago-test/sample:1']);
  });
});

suite('docker', { skip: hasPeer('dockerd') ?? (process.getuid?.() === 0 ? undefined : 'needs root') }, () => {
  it('loads what is saved and saves what can be loaded', async () => {
    await saveImages(store, ['imago-test/sample:1'], { output: join(dir, 'to-docker.tar') });
    mkdirSync(join(dir, 'docker'));
    const told = peers(`
      export DOCKER_HOST=unix://$PWD/docker/sock
      dockerd --host $DOCKER_HOST --data-root $PWD/docker/data --exec-root $PWD/docker/exec --pidfile $PWD/docker/pid \\
        --bridge none --iptables=false --ip6tables=false >docker/log 2>&1 &
      trap 'kill $!; wait $! || true' EXIT
      for i in $(seq 100); do docker version >/dev/null 2>&1 && break; sleep 0.2; done
      docker load -i to-docker.tar
      docker image inspect imago-test/sample:1 --format '{{.Id}}'
      docker save -o from-docker.tar imago-test/sample:1
      docker rmi -f imago-test/sample:1 >/dev/null`);
    assert.match(told, /Loaded image: imago-test\/sample:1/);
    assert.match(told, new RegExp(sha256(image.config)));
    await checkLoaded(join(dir, 'from-docker.tar'), ['docker.io/imago-test/sample:1']);
    // Docker keeps the config's bytes: the ID is the same on both sides.
    const other = lab.store();
    copyFileSync(join(dir, 'from-docker.tar'), join(dir, 'again.tar'));
    assert.equal((await loadArchive(other, join(dir, 'again.tar')))[0]!.id, sha256(image.config));
    assert.ok(existsSync(other.blobPath(sha256(image.layers[0]!.tar))));
  });
});
