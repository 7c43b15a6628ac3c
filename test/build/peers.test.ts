import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createReadStream, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { ingestLayer } from '../../src/store/ingest-layer.ts';
import { attributeCases } from './copy-attribute-cases.ts';
import { type CopyCase, copyCases, FILES, writeArchives } from './copy-cases.ts';
import { patternCases } from './copy-pattern-cases.ts';
import { placeCases } from './copy-place-cases.ts';
import { BuildLab } from './lab.ts';

/** A command prefix under which newer tools are found than in PATH. */
const prefix: string[] = (process.env.IMAGO_TEST_PEERS ?? '').split(' ').filter((word) => word !== '');

function run(words: string[], cwd: string): { status: number | null; stdout: string; stderr: string } {
  const [program, ...args] = [...prefix, ...words] as [string, ...string[]];
  const { status, stdout, stderr } = spawnSync(program, args, { cwd, encoding: 'utf8' });
  return { status, stdout: stdout ?? '', stderr: stderr ?? '' };
}

function whyNot(engine: 'buildah' | 'docker'): string | false {
  if (process.getuid?.() !== 0) return 'mounting what the other engine made needs root';
  const hint = '(IMAGO_TEST_PEERS: a prefix for it)';
  if (engine === 'buildah') {
    const version = /version 1\.(\d+)\./.exec(run(['buildah', '--version'], '/').stdout)?.[1];
    if (version === undefined) return `buildah is not installed ${hint}`;
    return Number(version) < 33 && `buildah 1.${version} knows no heredocs, 1.33 does ${hint}`;
  }
  // --link is what it says with images in containerd only.
  const script = `${DAEMON}\ndocker info -f '{{.DriverStatus}}' | grep -q io.containerd.snapshotter && docker buildx version`;
  return run(['sh', '-c', script], '/tmp').status === 0
    ? false
    : `no docker with buildx and the containerd image store answers, nor is one here to start ${hint}`;
}

/** A Docker of our own where there is a prefix to run it under, else the one that runs. */
const DAEMON =
  prefix.length === 0
    ? ''
    : `
command -v dockerd >/dev/null && command -v containerd >/dev/null || exit 1
state=$(mktemp -d /run/imago-peer-XXXXXX)
echo '{"features":{"containerd-snapshotter":true}}' >$state/daemon.json
containerd --root $state/c --state $state/cs --address $state/c.sock >/dev/null 2>&1 & c=$!
dockerd --config-file $state/daemon.json --data-root $state/d --exec-root $state/x -p $state/pid \\
  --containerd $state/c.sock -H unix://$state/sock --iptables=false --ip6tables=false --bridge=none >/dev/null 2>&1 & d=$!
trap 'kill $d; wait $d; kill $c; wait $c; rm -rf $state' EXIT
export DOCKER_HOST=unix://$state/sock
for try in $(seq 100); do docker version >/dev/null 2>&1 && break; sleep 0.2; done
`;

/** Build each case's Dockerfile, and take the result's files as a tar. */
const SCRIPTS = {
  buildah: `
for f in *.dockerfile; do
  i=\${f%.dockerfile}
  buildah bud -q --layers=false -f "$f" -t "imago-case-$i" "$i" >/dev/null || exit 1
  c=$(buildah from "imago-case-$i") && m=$(buildah mount "$c") && tar -C "$m" --numeric-owner -cf "$i.tar" . || exit 1
  buildah rm "$c" >/dev/null; buildah rmi -f "imago-case-$i" >/dev/null
done
`,
  docker: `${DAEMON}
for f in *.dockerfile; do
  i=\${f%.dockerfile}
  docker buildx build -q --no-cache -f "$f" -o "type=tar,dest=$i.tar" "$i" || exit 1
done
`,
};

const all: CopyCase[] = [
  ...copyCases,
  ...[...placeCases, ...attributeCases, ...patternCases].map((item) => ({
    ...item,
    name: `${item.group}: ${item.name}`,
  })),
];

async function compare(engine: 'buildah' | 'docker', t: TestContext): Promise<void> {
  using lab = new BuildLab();
  const place = join(lab.directory, 'cases');
  const cases = all.filter(({ differs }) => differs?.[engine] === undefined);
  for (const [i, { files, lines, archive }] of cases.entries()) {
    const context = join(place, String(i));
    mkdirSync(context, { recursive: true });
    lab.write({ ...FILES, ...files }, context);
    if (archive) writeArchives(context);
    writeFileSync(join(place, `${i}.dockerfile`), `FROM scratch\n${lines}\n`);
  }
  const { status, stderr } = run(['sh', '-c', SCRIPTS[engine]], place);
  assert.equal(status, 0, stderr);
  using lease = lab.store.lease('test');
  for (const [i, { name, want }] of cases.entries()) {
    const { diffId } = await ingestLayer(lab.store, lease, createReadStream(join(place, `${i}.tar`)));
    await t.test(name, () => assert.deepEqual(lab.list({ diffIds: [diffId] }), want));
  }
}

for (const engine of ['buildah', 'docker'] as const) {
  describe(`COPY and ADD as ${engine} does them`, { skip: whyNot(engine) }, () => {
    it('every case gives the same tree', { timeout: 300_000 }, (t) => compare(engine, t));
  });
}
