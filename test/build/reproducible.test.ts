import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, it } from 'node:test';
import { parseEpoch } from '../../src/build/epoch.ts';
import { loadImages } from '../../src/engine/load.ts';
import { saveImages } from '../../src/engine/save.ts';
import { resolveImage } from '../../src/image/resolve.ts';
import { readLayerEntries } from '../../src/store/layer-entries.ts';
import { BuildLab, whyNoRun } from './lab.ts';

const EPOCH = 1_700_000_000;
const MAIN = resolve(import.meta.dirname, '../../src/cli/main.ts');

const NAMES = ['zeta', 'alpha', 'Mid', 'ähnlich', '10', '9', 'b.txt', 'B.txt', 'sub/two', 'sub/one', 'sub/deeper/x'];

const DOCKERFILE = `FROM base
ARG SOURCE_DATE_EPOCH
COPY . /app/
COPY --chown=7:8 alpha /made/by/copy/
COPY <<EOF /inline
text
EOF
WORKDIR /work/dir
RUN for n in z a Q 3 11 é; do echo $n > /work/$n; done; mkdir -p /deep/er; mv /app/sub /deep/er/moved; rm /app/zeta; \\
  ln /work/a /work/hard; ln -s a /work/soft; echo $SOURCE_DATE_EPOCH > /epoch; touch /old/file; \\
  ls -1 /app > /listing; chmod 700 /made; id > /id; env > /environment
RUN echo more >> /epoch && mkdir /etc/new
ADD some.tar /unpacked/
LABEL made=here
`;

/** One of two machines that have nothing in common but the files' contents, names and modes. */
interface Machine {
  order: (names: readonly string[]) => string[];
  directory: string;
  uid: number;
  /** Of the context's files. */
  mtime: number;
  env: Record<string, string>;
  umask: string;
  hostName: string;
}

const MACHINES: Machine[] = [
  {
    order: (names) => [...names],
    directory: tmpdir(),
    uid: 0,
    mtime: EPOCH + 1000,
    env: { LC_ALL: 'C', TZ: 'UTC', HOME: '/root', USER: 'root' },
    umask: '022',
    hostName: 'one',
  },
  {
    order: (names) => [...names].reverse(),
    directory: '/dev/shm',
    uid: 4711,
    mtime: EPOCH + 90_000,
    env: { LC_ALL: 'tr_TR.UTF-8', LANG: 'de_DE.UTF-8', TZ: 'Pacific/Kiritimati', HOME: '/nowhere', USER: 'other' },
    umask: '077',
    hostName: 'two',
  },
];

function labIn(directory: string): BuildLab {
  const before = process.env.TMPDIR;
  process.env.TMPDIR = directory;
  try {
    return new BuildLab();
  } finally {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
  }
}

/** The tar is the same everywhere: it is an input. */
function writeContext(context: string, { order, uid, mtime }: Machine, tar: Buffer): void {
  for (const name of order(NAMES)) {
    const path = join(context, name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, `content of ${name}\n`);
    chmodSync(path, name === 'alpha' ? 0o755 : 0o644);
  }
  writeFileSync(join(context, 'some.tar'), tar);
  symlinkSync('alpha', join(context, 'link'));
  for (const name of (readdirSync(context, { recursive: true }) as string[]).sort().reverse()) {
    const path = join(context, name);
    if (name === 'link') {
      lutimesSync(path, mtime, mtime);
      continue;
    }
    if (statSync(path).isDirectory()) chmodSync(path, 0o755);
    chownSync(path, uid, uid);
    utimesSync(path, mtime, mtime);
  }
}

function build(lab: BuildLab, machine: Machine, args: string[]): string {
  const [dockerfile, iid] = [join(lab.directory, 'Dockerfile'), join(lab.directory, 'iid')];
  const words = ['build', '-q', '-t', 'made:1', '--iidfile', iid, ...args, '-f', dockerfile, lab.context];
  const script = `umask ${machine.umask}; hostname ${machine.hostName}; exec "$0" "$@"`;
  const result = spawnSync('unshare', ['-u', 'sh', '-c', script, process.execPath, MAIN, ...words], {
    encoding: 'utf8',
    timeout: 100_000,
    env: {
      PATH: process.env.PATH,
      SOURCE_DATE_EPOCH: String(EPOCH),
      IMAGO_ROOT: lab.store.root,
      IMAGO_RUN: lab.store.run,
      ...machine.env,
    },
  });
  assert.equal(result.status, 0, result.stderr);
  return readFileSync(iid, 'utf8');
}

describe('two builds on two stores', { skip: whyNoRun() }, () => {
  it('give the same digests whatever the machine, and nothing in them is younger than the epoch', async () => {
    const made: { id: string; manifest: string; oci: Buffer }[] = [];
    using first = new BuildLab();
    await first.importBase({ 'old/file': 'x', 'etc/hostname': 'base' });
    await saveImages(first.store, ['base'], { output: join(first.directory, 'base-image.tar') });
    first.write({ 'arc/b': 'b', 'arc/a': 'a' }, first.directory);
    spawnSync('tar', ['-C', join(first.directory, 'arc'), '-cf', join(first.directory, 'some.tar'), 'b', 'a']);
    for (const machine of MACHINES) {
      using lab = labIn(machine.directory);
      await loadImages(lab.store, join(first.directory, 'base-image.tar'));
      writeFileSync(join(lab.directory, 'Dockerfile'), DOCKERFILE);
      writeContext(lab.context, machine, readFileSync(join(first.directory, 'some.tar')));
      const out = join(lab.directory, 'out.tar');
      const id = build(lab, machine, ['--rewrite-timestamp', '-o', `type=oci,dest=${out}`, '--load']);
      const image = resolveImage(lab.store, 'made:1');
      const base = resolveImage(lab.store, 'base');
      assert.deepEqual(image.diffIds.slice(0, base.diffIds.length), base.diffIds);
      assert.deepEqual(image.config.history!.slice(0, base.config.history!.length), base.config.history);
      for (const diffId of image.diffIds.slice(base.diffIds.length)) {
        for (const { path, mtime } of readLayerEntries(lab.store, diffId)) {
          assert.ok(mtime.sec < EPOCH || (mtime.sec === EPOCH && mtime.nsec === 0), path);
        }
      }
      assert.equal(lab.read(image, 'epoch'), `${EPOCH}\nmore\n`);
      assert.equal(image.config.created, new Date(EPOCH * 1000).toISOString());
      // The cache gives the same, too.
      assert.equal(build(lab, machine, ['--rewrite-timestamp']), id);
      made.push({ id, manifest: image.descriptor.digest, oci: readFileSync(out) });
    }
    assert.equal(made[1]!.id, made[0]!.id);
    assert.equal(made[1]!.manifest, made[0]!.manifest);
    assert.ok(made[0]!.oci.equals(made[1]!.oci), 'the archives differ');
  });

  it('without rewriting, times of files stay what they are', async () => {
    using lab = new BuildLab();
    await lab.importBase();
    lab.write({ a: 'a' });
    utimesSync(join(lab.context, 'a'), EPOCH + 5, EPOCH + 5);
    const epoch = new Date(EPOCH * 1000);
    const { image } = await lab.build('FROM base\nCOPY a /a\n', { epoch });
    const entry = readLayerEntries(lab.store, image.diffIds.at(-1)!).find(({ path }) => path === 'a');
    assert.equal(entry?.mtime.sec, EPOCH + 5);
    const rewritten = await lab.build('FROM base\nCOPY a /a\n', { epoch, rewriteTimestamp: true });
    assert.notEqual(rewritten.image.diffIds.at(-1), image.diffIds.at(-1));
    assert.equal(rewritten.image.diffIds[0], image.diffIds[0]);
    assert.equal(lab.read(rewritten.image, 'a'), 'a');
    assert.ok(rewritten.cached.includes('COPY a /a'));
  });
});

describe('SOURCE_DATE_EPOCH', () => {
  it('may be a build argument; what is no time is an error', async () => {
    using lab = new BuildLab();
    const buildArgs = { SOURCE_DATE_EPOCH: String(EPOCH) };
    const { image } = await lab.build('FROM scratch\nWORKDIR /a\n', { buildArgs });
    assert.equal(image.config.created, new Date(EPOCH * 1000).toISOString());
    assert.equal(parseEpoch(''), undefined);
    for (const text of ['x', '-1', '1.5', '9'.repeat(20)]) assert.throws(() => parseEpoch(text), { code: 'BAD_EPOCH' });
    const bad = lab.build('FROM scratch\n', { buildArgs: { SOURCE_DATE_EPOCH: 'now' } });
    await assert.rejects(bad, { code: 'BAD_EPOCH' });
  });
});
