import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { pushName } from '../../src/transfer/push.ts';
import { FakeRegistry } from '../registry/fake-registry.ts';
import { BuildLab } from './lab.ts';

/** A command prefix under which newer tools are found than in PATH. */
const prefix: string[] = (process.env.IMAGO_TEST_PEERS ?? '').split(' ').filter((word) => word !== '');

/** A Docker of our own: only its image store in containerd writes caches. Its files are on a file system of memory. */
const DAEMON = `
set -u
command -v dockerd >/dev/null && command -v containerd >/dev/null && docker buildx version >/dev/null || exit 77
state=$(mktemp -d /run/imago-cache-XXXXXX)
echo '{"features":{"containerd-snapshotter":true}}' >$state/daemon.json
dockerd --config-file $state/daemon.json --data-root $state/d --exec-root $state/x -p $state/pid \\
  -H unix://$state/sock --iptables=false --ip6tables=false --bridge=none >$state/log 2>&1 & d=$!
trap 'kill $d; wait $d; rm -rf $state' EXIT
export DOCKER_HOST=unix://$state/sock
for try in $(seq 100); do docker version >/dev/null 2>&1 && break; sleep 0.2; done
build() { docker buildx build --progress=plain --network=none "$@" context 2>&1 || echo BUILD-FAILED; }
`;

const skip: string | false =
  process.getuid?.() !== 0
    ? 'a Docker daemon needs root'
    : spawnSync('sh', ['-c', prefix.length > 0 ? 'exit 0' : 'command -v dockerd && docker buildx version']).status === 0
      ? false
      : 'no dockerd with buildx is here to start (IMAGO_TEST_PEERS: a prefix for it)';

async function runScript(script: string, cwd: string): Promise<string> {
  const [program, ...args] = [...prefix, 'sh', '-c', `${DAEMON}${script}`];
  return (await promisify(execFile)(program!, args, { cwd, encoding: 'utf8', timeout: 120_000 })).stdout;
}

const TEXT =
  'FROM scratch AS s\nCOPY d /d/\nFROM scratch\nWORKDIR /w\nCOPY a.txt ./\nWORKDIR /w\nCOPY --from=s /d/x /x\n';

describe('caches and BuildKit', { skip }, () => {
  it('each reads what the other wrote', async () => {
    await using registry = await FakeRegistry.start();
    using lab = new BuildLab();
    lab.write({ 'a.txt': 'one', 'd/x': 'x', Dockerfile: TEXT });
    const ref = (tag: string): string => `${registry.host}/team/cache:${tag}`;
    const local = join(lab.directory, 'ours');
    const cacheTo = [
      `type=registry,ref=${ref('image')},mode=max`,
      `type=registry,ref=${ref('index')},mode=max,image-manifest=false`,
      `type=registry,ref=${ref('docker')},mode=max,oci-mediatypes=false`,
      `type=local,dest=${local},mode=max`,
    ];
    await lab.build(TEXT, { cacheTo });
    const image = `${registry.host}/team/app:1`;
    await lab.build(TEXT, { cacheTo: ['type=inline'], tags: [image] });
    await pushName(lab.store, image);
    const output = await runScript(
      `
for tag in image index docker; do build --cache-from type=registry,ref=${registry.host}/team/cache:$tag; done
build --cache-from type=registry,ref=${image}
build --cache-from type=local,src=ours
for manifest in true false; do build --cache-to type=registry,ref=${ref('theirs')}-$manifest,mode=max,image-manifest=$manifest,oci-mediatypes=true; done
build --cache-to type=local,dest=theirs,mode=max
build --cache-to type=inline --output type=image,name=${registry.host}/team/app:2,push=true
`,
      lab.directory,
    );
    assert.doesNotMatch(output, /ERROR|WARN|BUILD-FAILED/);
    assert.equal(output.match(/inferred cache manifest type/g)?.length, 5, output);
    const cacheFrom = [ref('theirs-true'), ref('theirs-false'), `${registry.host}/team/app:2`];
    const theirs = join(lab.directory, 'theirs');
    const run = await lab.build(TEXT, { cacheFrom: [...cacheFrom, `type=local,src=${theirs}`] });
    assert.ok(!run.events.some((event) => event.type === 'warning' && event.text.startsWith('cache ')));
    assert.equal(run.done.filter((name) => name.startsWith('importing')).length, 4);
  });
});
