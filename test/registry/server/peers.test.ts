import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it, describe as suite } from 'node:test';
import { promisify } from 'node:util';
import { describe, Lab, layoutOf, noise, type SampleImage, sampleImage } from '../../archive/lab.ts';
import { RegistryLab } from './lab.ts';

/** A command prefix that runs newer clients elsewhere (IMAGO_TEST_PEERS), and a directory that both sides see. */
const prefix = (process.env.IMAGO_TEST_PEERS ?? '').split(' ').filter((word) => word !== '');
const shared = process.env.IMAGO_TEST_PEERS_DIR ?? tmpdir();
const execute = promisify(execFile);

let lab: Lab;
let registry: RegistryLab;
let host: string;
let dir: string;
let image: SampleImage;

before(async () => {
  lab = new Lab();
  registry = await RegistryLab.start();
  host = `127.0.0.1:${registry.port}`;
  dir = mkdtempSync(join(shared, 'imago-registry-peers-'));
  chmodSync(dir, 0o755);
  const base = lab.tar(lab.tree('l1', { 'etc/os-release': 'ID=sample\n', 'usr/noise': noise(8 << 20) }));
  image = sampleImage([base, lab.tar(lab.tree('l2', { 'app/main': 'print()\n' }))], { cmd: '/app/main' });
  const layout = lab.tree('layout', layoutOf(image, { 'org.opencontainers.image.ref.name': 'v1' }));
  await run('cp', '-r', layout, join(dir, 'layout'));
});
after(async () => {
  await registry[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
  lab[Symbol.dispose]();
});

/** Not the `Sync` kind: the registry is in this process. */
async function run(...[command, ...args]: string[]): Promise<string> {
  const { stdout } = await execute(command!, args, { maxBuffer: 2 ** 24, timeout: 120_000 });
  return stdout;
}

/** Runs a shell script where the peers are: what belongs together is one call. */
function peers(script: string): Promise<string> {
  writeFileSync(join(dir, 'script'), `set -e\ncd '${dir}'\n${script}`);
  return run(...prefix, 'sh', join(dir, 'script'));
}

function lacks(name: string, version = '--version', root = false): string | false {
  const [command, ...args] = [...prefix, name, version];
  if (spawnSync(command!, args, { stdio: 'ignore' }).status !== 0) {
    return `${name} is neither installed nor behind IMAGO_TEST_PEERS`;
  }
  return root && process.getuid?.() !== 0 && 'needs root';
}

async function digestAt(name: string): Promise<string | undefined> {
  const answer = await registry.send('HEAD', `/v2/${name.replace(':', '/manifests/')}`);
  return answer.status === 200 ? (answer.headers['docker-content-digest'] as string) : undefined;
}

async function assertWhole(name: string): Promise<void> {
  const manifest = await registry.get(`/v2/${name.replace(':', '/manifests/')}`);
  assert.equal(manifest.status, 200);
  const { config, layers } = JSON.parse(manifest.body.toString()) as Record<string, { digest: string; size: number }[]>;
  for (const { digest, size } of [config as unknown as { digest: string; size: number }, ...layers!]) {
    const blob = await registry.get(`/v2/${name.split(':')[0]}/blobs/${digest}`);
    assert.equal(blob.body.length, size);
  }
}

/** So that there is something to pull, whichever clients are here. */
async function seed(name: string): Promise<void> {
  const [repository, tag] = name.split(':');
  for (const bytes of [image.config, ...image.layers.map(({ blob }) => blob)])
    await registry.pushBlob(repository!, bytes);
  await registry.pushManifest(repository!, image.manifest.toString(), tag, describe(image).mediaType);
}

suite('skopeo', { skip: lacks('skopeo') }, () => {
  it('copies to, from and inside of it, lists and deletes', async () => {
    const told = await peers(`
      skopeo --insecure-policy copy -q --dest-tls-verify=false oci:layout:v1 docker://${host}/sk/a:v1
      skopeo --insecure-policy copy -q --src-tls-verify=false --dest-tls-verify=false docker://${host}/sk/a:v1 docker://${host}/sk/b:v2
      skopeo --insecure-policy copy -q --src-tls-verify=false docker://${host}/sk/b:v2 dir:sk-dir
      skopeo inspect --tls-verify=false --format '{{.Digest}}' docker://${host}/sk/b:v2
      skopeo list-tags --tls-verify=false docker://${host}/sk/b
      skopeo delete --tls-verify=false docker://${host}/sk/b:v2`);
    assert.ok(told.startsWith(describe(image).digest));
    assert.match(told, /"v2"/);
    assert.equal(readFileSync(join(dir, 'sk-dir/manifest.json'), 'utf8'), image.manifest.toString());
    assert.equal(await digestAt('sk/a:v1'), describe(image).digest);
    assert.equal(await digestAt('sk/b:v2'), undefined);
    await assertWhole('sk/a:v1');
  });
});

suite('ctr', { skip: lacks('ctr') || lacks('containerd', '--version', true) }, () => {
  it('pulls, and pushes what it pulled', async () => {
    await seed('ctr/a:v1');
    const told = await peers(`
      d=$(mktemp -d)
      printf 'version = 2\\nroot = "%s/root"\\nstate = "%s/state"\\n[grpc]\\naddress = "%s/sock"\\n[ttrpc]\\naddress = "%s/tsock"\\n' $d $d $d $d > $d/config.toml
      containerd --config $d/config.toml --log-level error > $d/log 2>&1 & pid=$!
      trap 'kill $pid; wait $pid || true; rm -rf $d' EXIT
      c="ctr --address $d/sock"
      for i in $(seq 100); do $c version > /dev/null 2>&1 && break; sleep 0.1; done
      $c content fetch --plain-http ${host}/ctr/a:v1 > /dev/null
      $c images tag ${host}/ctr/a:v1 ${host}/ctr/b:v1 > /dev/null
      $c images push --plain-http ${host}/ctr/b:v1 > /dev/null
      $c images list -q`);
    assert.match(told, /ctr\/b:v1/);
    assert.equal(await digestAt('ctr/b:v1'), describe(image).digest);
    await assertWhole('ctr/b:v1');
  });
});

suite('podman and buildah', { skip: lacks('podman', '--version', true) || lacks('buildah') }, () => {
  it('pull, and push what they pulled', async () => {
    await seed('pod/a:v1');
    const told = await peers(`
      podman pull -q --tls-verify=false ${host}/pod/a:v1
      podman image inspect ${host}/pod/a:v1 --format '{{.Digest}}'
      podman tag ${host}/pod/a:v1 ${host}/pod/b:v1
      podman push -q --tls-verify=false ${host}/pod/b:v1
      buildah push -q --tls-verify=false --compression-format zstd --force-compression ${host}/pod/a:v1 docker://${host}/pod/c:v1
      podman rmi -f ${host}/pod/a:v1 ${host}/pod/b:v1 > /dev/null
      buildah pull -q --tls-verify=false ${host}/pod/c:v1
      podman manifest create ${host}/pod/list:v1 > /dev/null
      podman manifest add --tls-verify=false ${host}/pod/list:v1 docker://${host}/pod/c:v1 > /dev/null
      podman manifest push --all --tls-verify=false ${host}/pod/list:v1 docker://${host}/pod/list:v1 > /dev/null
      podman manifest rm ${host}/pod/list:v1 > /dev/null
      podman rmi -f ${host}/pod/c:v1 > /dev/null`);
    assert.match(told, new RegExp(describe(image).digest));
    for (const name of ['pod/b:v1', 'pod/c:v1']) await assertWhole(name);
    const list = JSON.parse((await registry.get('/v2/pod/list/manifests/v1')).body.toString());
    assert.equal(list.manifests[0].digest, await digestAt('pod/c:v1'));
  });
});

suite('docker', { skip: lacks('dockerd', '--version', true) }, () => {
  it('pulls, and pushes what it pulled', async () => {
    await seed('docker/a:v1');
    const told = await peers(`
      mkdir -p docker
      export DOCKER_HOST=unix://$PWD/docker/sock
      dockerd --host $DOCKER_HOST --data-root $PWD/docker/data --exec-root $PWD/docker/exec --pidfile $PWD/docker/pid \\
        --iptables=false --ip6tables=false --bridge=none > docker/log 2>&1 & pid=$!
      trap 'kill $pid; wait $pid || true; umount -R $PWD/docker/data 2>/dev/null || true' EXIT
      for i in $(seq 150); do docker version > /dev/null 2>&1 && break; sleep 0.2; done
      docker pull -q ${host}/docker/a:v1
      docker tag ${host}/docker/a:v1 ${host}/docker/b:v1
      docker push -q ${host}/docker/b:v1
      printf 'FROM ${host}/docker/a:v1\\nLABEL a=b\\n' | DOCKER_BUILDKIT=0 docker build -q -t ${host}/docker/c:v1 - 2>/dev/null || true
      docker image inspect ${host}/docker/c:v1 > /dev/null 2>&1 && docker push -q ${host}/docker/c:v1
      docker image inspect ${host}/docker/b:v1 --format '{{.RepoDigests}}'`);
    assert.match(told, /docker\/b@sha256:/);
    await assertWhole('docker/b:v1');
  });
});

suite('oras', { skip: lacks('oras', 'version') }, () => {
  it('pushes, attaches, discovers and pulls', async () => {
    const told = await peers(`
      export HOME=$PWD
      mkdir -p oras out; echo hello > oras/hello.txt; echo '{}' > oras/sbom.json; cd oras
      oras push --plain-http ${host}/oras/a:v1,latest hello.txt:text/plain --artifact-type application/vnd.example.thing > /dev/null
      oras attach --plain-http ${host}/oras/a:v1 --artifact-type application/vnd.example.sbom sbom.json:application/json > /dev/null
      oras discover --plain-http --format json ${host}/oras/a:v1
      oras pull --plain-http ${host}/oras/a:latest -o ../out > /dev/null
      oras copy --from-plain-http --to-plain-http -r ${host}/oras/a:v1 ${host}/oras/b:v1 > /dev/null
      oras repo tags --plain-http ${host}/oras/a
      oras repo ls --plain-http ${host}
      oras blob push --plain-http ${host}/oras/a hello.txt > /dev/null
      oras manifest delete --plain-http -f ${host}/oras/b:v1 > /dev/null`);
    assert.match(told, /application\/vnd\.example\.sbom/);
    assert.match(told, /^latest$/m);
    assert.match(told, /^oras\/b$/m);
    assert.equal(readFileSync(join(dir, 'out/hello.txt'), 'utf8'), 'hello\n');
    const subject = await digestAt('oras/a:v1');
    const referrers = JSON.parse((await registry.get(`/v2/oras/a/referrers/${subject}`)).body.toString());
    assert.equal(referrers.manifests[0].artifactType, 'application/vnd.example.sbom');
    // The client used the API: there is no tag of the fallback scheme.
    assert.equal(await digestAt(`oras/a:${subject!.replace(':', '-')}`), undefined);
    assert.equal(await digestAt('oras/b:v1'), undefined);
    assert.ok(existsSync(join(dir, 'oras/sbom.json')));
  });
});
