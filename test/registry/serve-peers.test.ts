import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe as suite, test } from 'node:test';
import { promisify } from 'node:util';
import { serveRegistry } from '../../src/engine/registry-serve.ts';
import type { RunningRegistry } from '../../src/registry/server/serve.ts';
import { describe, Lab, layoutOf, noise, type SampleImage, sampleImage } from '../archive/lab.ts';
import { ask, type Rig, ServeLab, sha256 } from './serve-lab.ts';

/** A command prefix that runs newer clients elsewhere (IMAGO_TEST_PEERS), and a directory that both sides see. */
const prefix = (process.env.IMAGO_TEST_PEERS ?? '').split(' ').filter((word) => word !== '');
const shared = process.env.IMAGO_TEST_PEERS_DIR ?? tmpdir();
const execute = promisify(execFile);

const RULES = `
  htpasswd: users
  rules:
    - { users: ann, actions: [pull, push, delete, catalog] }
    - { users: bob, repositories: 'team/**', actions: pull }
`;

let lab: Lab;
let serveLab: ServeLab;
let dir: string;
let image: SampleImage;
/** How clients log in: Basic alone, or with tokens and anonymous pulls. */
const rigs: Record<'passwords' | 'tokens', Rig | undefined> = { passwords: undefined, tokens: undefined };

before(async () => {
  lab = new Lab();
  serveLab = new ServeLab();
  serveLab.htpasswd({ ann: 'secret', bob: 'hidden' }, 'users');
  rigs.passwords = await serveLab.serve(`auth:${RULES}`);
  rigs.tokens = await serveLab.serve(`auth:${RULES}  anonymousPull: 'public/**'\n`);
  dir = mkdtempSync(join(shared, 'imago-serve-peers-'));
  chmodSync(dir, 0o755);
  const base = lab.tar(lab.tree('l1', { 'etc/os-release': 'ID=sample\n', 'usr/noise': noise(2 << 20) }));
  image = sampleImage([base], { cmd: '/bin/true' });
  const layout = lab.tree('layout', layoutOf(image, { 'org.opencontainers.image.ref.name': 'v1' }));
  await run('cp', '-r', layout, join(dir, 'layout'));
  for (const rig of Object.values(rigs))
    for (const name of ['team/app', 'public/app']) await seed(rig!, name, 'ann:secret');
});
after(async () => {
  await serveLab[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
  lab[Symbol.dispose]();
});

async function run(...[command, ...args]: string[]): Promise<string> {
  const { stdout } = await execute(command!, args, { maxBuffer: 2 ** 24, timeout: 120_000 });
  return stdout;
}

/** Runs a shell script where the peers are. `refused CMD…` is for what must fail with words of a refusal. */
function peers(script: string): Promise<string> {
  const refused = `refused() { if "$@" > told 2>&1; then echo "not refused: $*" >&2; exit 1; fi
    # oras 1.2 may panic where two of its requests are refused at once.
    grep -qiE 'sync/atomic|denied|unauthorized|invalid username|not allowed|wrong|authentication required|no basic auth|credential not found' told || { cat told >&2; exit 1; }; }`;
  writeFileSync(
    join(dir, 'script'),
    `set -e\ncd '${dir}'\nexport HOME=$PWD REGISTRY_AUTH_FILE=$PWD/auth.json\n${refused}\n${script}`,
  );
  return run(...prefix, 'sh', join(dir, 'script'));
}

function lacks(name: string, version = '--version'): string | false {
  const [command, ...args] = [...prefix, name, version];
  if (spawnSync(command!, args, { stdio: 'ignore' }).status === 0) return false;
  return `${name} is neither installed nor behind IMAGO_TEST_PEERS`;
}

async function seed({ url }: Rig, repository: string, user?: string): Promise<void> {
  const as = user === undefined ? {} : { user };
  for (const body of [image.config, ...image.layers.map(({ blob }) => blob)]) {
    const headers = { 'content-type': 'application/octet-stream' };
    await ask(`${url}/v2/${repository}/blobs/uploads/?digest=${sha256(body)}`, {
      ...as,
      method: 'POST',
      body,
      headers,
    });
  }
  const { status } = await ask(`${url}/v2/${repository}/manifests/v1`, {
    ...as,
    method: 'PUT',
    body: image.manifest,
    headers: { 'content-type': describe(image).mediaType },
  });
  assert.equal(status, 201);
}

for (const kind of ['passwords', 'tokens'] as const) {
  const host = (): string => `127.0.0.1:${rigs[kind]!.port}`;
  const anonymous = kind === 'tokens';

  suite(`skopeo, with ${kind}`, { skip: lacks('skopeo') }, () => {
    test('logs in, pushes, pulls, and is refused what it may not', async () => {
      const s = 'skopeo --insecure-policy';
      await peers(`
        refused skopeo login --tls-verify=false -u ann -p wrong ${host()}
        refused ${s} copy -q --dest-tls-verify=false oci:layout:v1 docker://${host()}/sk/a:v1
        skopeo login --tls-verify=false -u ann -p secret ${host()}
        ${s} copy -q --dest-tls-verify=false oci:layout:v1 docker://${host()}/sk/a:v1
        ${s} copy -q --src-tls-verify=false --dest-tls-verify=false docker://${host()}/sk/a:v1 docker://${host()}/sk/b:v1
        ${s} delete --tls-verify=false docker://${host()}/sk/b:v1
        skopeo logout ${host()}
        skopeo login --tls-verify=false -u bob -p hidden ${host()}
        ${s} inspect --tls-verify=false docker://${host()}/team/app:v1
        refused ${s} inspect --tls-verify=false docker://${host()}/sk/a:v1
        refused ${s} copy -q --dest-tls-verify=false oci:layout:v1 docker://${host()}/team/app:v2
        skopeo logout ${host()}
        refused ${s} inspect --tls-verify=false docker://${host()}/team/app:v1
        ${anonymous ? '' : 'refused'} ${s} inspect --tls-verify=false docker://${host()}/public/app:v1`);
    });
  });

  suite(`podman, with ${kind}`, { skip: lacks('podman') }, () => {
    test('logs in, pushes, pulls, and is refused what it may not', async () => {
      await peers(`
        refused podman login --tls-verify=false -u ann -p wrong ${host()}
        podman login --tls-verify=false -u ann -p secret ${host()}
        podman pull -q --tls-verify=false ${host()}/team/app:v1
        podman push -q --tls-verify=false ${host()}/team/app:v1 ${host()}/pod/a:v1
        podman logout ${host()}
        podman login --tls-verify=false -u bob -p hidden ${host()}
        refused podman push -q --tls-verify=false ${host()}/team/app:v1 ${host()}/team/app:v2
        podman logout ${host()}
        ${anonymous ? '' : 'refused'} podman pull -q --tls-verify=false ${host()}/public/app:v1
        podman rmi -f ${host()}/team/app:v1 ${host()}/public/app:v1`);
    });
  });

  suite(`oras, with ${kind}`, { skip: lacks('oras', 'version') }, () => {
    test('logs in, pushes, lists, and is refused what it may not', async () => {
      const told = await peers(`
        echo hello > hello.txt
        refused oras login --plain-http -u ann -p wrong ${host()}
        oras login --plain-http -u ann -p secret ${host()}
        oras push --plain-http ${host()}/oras/a:v1 hello.txt:text/plain
        oras copy --from-plain-http --to-plain-http ${host()}/oras/a:v1 ${host()}/oras/b:v1
        oras repo ls --plain-http ${host()}
        oras logout ${host()}
        oras login --plain-http -u bob -p hidden ${host()}
        oras repo tags --plain-http ${host()}/team/app
        refused oras push --plain-http ${host()}/team/app:v2 hello.txt:text/plain
        oras logout ${host()}
        ${anonymous ? '' : 'refused'} oras manifest fetch --plain-http ${host()}/public/app:v1`);
      assert.match(told, /^oras\/b$/m);
    });
  });
}

suite('docker', { skip: lacks('dockerd') }, () => {
  let cache: RunningRegistry;
  let origin: Rig;
  before(async () => {
    origin = await serveLab.serve();
    await seed(origin, 'library/app');
    cache = await serveRegistry({
      config: serveLab.file('mirror.yaml', `proxy: { url: "${origin.url}", spool: . }`),
      storage: join(serveLab.directory, 'mirror'),
      address: '127.0.0.1:0',
      write: () => {},
    });
  });
  after(() => cache?.stop());

  test('logs in, pushes, is refused, pulls without a password, and takes the cache for a mirror of its hub', async () => {
    const { passwords, tokens } = rigs;
    const told = await peers(`
      mkdir -p docker
      export DOCKER_HOST=unix://$PWD/docker/sock
      dockerd --host $DOCKER_HOST --data-root $PWD/docker/data --exec-root $PWD/docker/exec --pidfile $PWD/docker/pid \\
        --registry-mirror ${cache.url} --iptables=false --ip6tables=false --bridge=none > docker/log 2>&1 & pid=$!
      trap 'kill $pid; wait $pid || true; umount -R $PWD/docker/data 2>/dev/null || true' EXIT
      for i in $(seq 150); do docker version > /dev/null 2>&1 && break; sleep 0.2; done
      for host in 127.0.0.1:${passwords!.port} 127.0.0.1:${tokens!.port}; do
        refused docker login -u ann -p wrong $host
        refused docker pull -q $host/team/app:v1
        docker login -u ann -p secret $host
        docker pull -q $host/team/app:v1
        docker tag $host/team/app:v1 $host/docker/a:v1
        docker push -q $host/docker/a:v1
        docker logout $host
        docker login -u bob -p hidden $host
        docker tag $host/team/app:v1 $host/team/app:v2
        refused docker push -q $host/team/app:v2
        docker logout $host
      done
      docker pull -q 127.0.0.1:${tokens!.port}/public/app:v1
      docker pull app:v1
      docker image inspect app:v1 --format '{{.RepoDigests}}'`);
    assert.ok(told.includes(`app@${describe(image).digest}`), told);
    assert.equal((await ask(`${cache.url}/v2/_catalog`)).body.toString().trim(), '{"repositories":["library/app"]}');
  });
});
