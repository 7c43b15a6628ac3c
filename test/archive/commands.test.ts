import assert from 'node:assert/strict';
import { execFileSync, type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, it, describe as suite } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { describe, Lab, layoutOf, noise, sampleImage, sha256 } from './lab.ts';

const MAIN = join(import.meta.dirname, '../../src/cli/main.ts');

let lab: Lab;
let tar: Buffer;
let n = 0;
let place: string[];

before(() => {
  lab = new Lab();
  tar = lab.tar(lab.tree('root', { 'etc/os-release': 'ID=sample\n', 'usr/noise': noise(3 << 20) }));
  writeFileSync(lab.path('root.tar'), tar);
});
after(() => lab[Symbol.dispose]());

/** Chooses a store of its own for the commands that follow. */
function freshStore(): string {
  const root = lab.path(`root-${n}`);
  place = ['--root', root, '--run', lab.path(`run-${n++}`)];
  return root;
}

function imago(args: string[], options: { input?: Buffer | undefined; stdin?: number } = {}): SpawnSyncReturns<Buffer> {
  const { input, stdin } = options;
  return spawnSync(process.execPath, [MAIN, ...place, ...args], {
    ...(input === undefined ? {} : { input }),
    stdio: [stdin ?? (input === undefined ? 'ignore' : 'pipe'), 'pipe', 'pipe'],
    maxBuffer: 1 << 28,
  });
}

function succeeds(args: string[], options?: Parameters<typeof imago>[1]): string {
  const { status, stdout, stderr } = imago(args, options);
  assert.equal(status, 0, stderr.toString());
  return stdout.toString();
}

function fails(args: string[], message: RegExp, options?: Parameters<typeof imago>[1]): void {
  const { status, stderr } = imago(args, options);
  assert.equal(status, 1, stderr.toString());
  assert.match(stderr.toString(), message);
  assert.equal(stderr.toString().trim().split('\n').length, 1, 'one line');
}

suite('import, save and load on the command line', () => {
  it('prints what Docker prints', () => {
    freshStore();
    const id = succeeds(['import', '-c', 'CMD ["/bin/sh"]', '-m', 'hello', lab.path('root.tar'), 'sample:1']);
    assert.match(id, /^sha256:[0-9a-f]{64}\n$/);
    succeeds(['save', '-o', lab.path('sample.tar'), 'sample:1']);
    freshStore();
    assert.equal(succeeds(['load', '-i', lab.path('sample.tar')]), 'Loaded image: sample:1\n');
    assert.equal(succeeds(['image', 'load', '--input', lab.path('sample.tar'), '-q']), 'Loaded image: sample:1\n');
    writeFileSync(lab.path('byid.tar'), imago(['save', id.trim()]).stdout);
    freshStore();
    assert.equal(succeeds(['load', '-i', lab.path('byid.tar')]), `Loaded image ID: ${id}`);
  });

  it('reads the standard input, whether it is a file or a pipe', () => {
    for (const source of ['file', 'pipe', 'offset']) {
      const root = freshStore();
      // A file that somebody has read from already is no path any more: it counts from where it stands.
      const skip = source === 'offset' ? 1000 : 0;
      writeFileSync(lab.path('stdin'), Buffer.concat([noise(skip), tar]));
      const stdin = openSync(lab.path('stdin'), 'r');
      readSync(stdin, Buffer.alloc(skip));
      succeeds(['import', '-', 'sample:1'], source === 'pipe' ? { input: gzipSync(tar) } : { stdin });
      closeSync(stdin);
      assert.ok(existsSync(join(root, 'blobs', sha256(tar).replace(':', '/'))));
      const archive = imago(['save', 'sample:1']).stdout;
      freshStore();
      assert.equal(succeeds(['load'], { input: archive }), 'Loaded image: sample:1\n');
      assert.equal(succeeds(['load', '-i', '-'], { input: gzipSync(archive) }), 'Loaded image: sample:1\n');
    }
  });

  it('tells of a name that was taken', () => {
    freshStore();
    const id = succeeds(['import', lab.path('root.tar'), 'sample:1']).trim();
    const dir = lab.tree('other', layoutOf(sampleImage([tar]), { 'io.containerd.image.name': 'sample:1' }));
    assert.equal(
      succeeds(['load', '-i', dir]),
      `The image sample:1 already exists, renaming the old one with ID ${id} to empty string\nLoaded image: sample:1\n`,
    );
    succeeds(['save', '--format', 'oci-dir', '-o', lab.path('other-out'), 'sample:1']);
    const [manifest] = JSON.parse(readFileSync(lab.path('other-out/index.json'), 'utf8')).manifests;
    assert.equal(manifest.digest, describe(sampleImage([tar])).digest);
  });

  it('fails in one line with status 1', () => {
    freshStore();
    fails(['load', '-i', lab.path('none')], /^imago: '.*none' does not exist\n$/);
    fails(['load', '-i', lab.path('root.tar')], /neither an OCI layout nor a Docker archive: .*imago import/);
    fails(['load'], /TAR|not a tar|neither/, { input: noise(5000) });
    fails(['import', lab.path('none')], /does not exist/);
    fails(['import', '-', 'Not:A:Name'], /invalid reference format|must be lowercase/, { input: tar });
    fails(['save', 'none'], /No such image: none:latest/);
    fails(['save', '--format', 'zip', 'none'], /unknown format: wanted docker-archive, oci-archive, oci-dir/);
    fails(['save', '--format', 'oci-dir', 'none'], /name it with -o/);
    fails(['load', '--platform', 'a/b/c/d'], /invalid platform/, { input: tar });
  });

  const script = spawnSync('script', ['--version']).error ? 'script (util-linux) is not installed' : undefined;
  it('refuses a terminal', { skip: script }, () => {
    freshStore();
    succeeds(['import', lab.path('root.tar'), 'sample:1']);
    for (const [args, message] of [
      [['save', 'sample:1'], /refusing to save to a terminal/],
      [['load'], /the standard input is a terminal/],
    ] as const) {
      const line = [process.execPath, MAIN, ...place, ...args].map((word) => `'${word}'`).join(' ');
      const { stdout, status } = spawnSync('script', ['-qec', line, '/dev/null'], {
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      assert.match(stdout.toString(), message);
      assert.equal(status, 1);
    }
  });
});

it('a load that fails gives its disk back; so does what a stream had beside its images', () => {
  const root = freshStore();
  const kept = () => ['blobs/sha256', 'layers'].map((name) => readdirSync(join(root, name)).length);
  const files = layoutOf(sampleImage([tar]), { 'io.containerd.image.name': 'sample:1' });
  const other = lab.tar(lab.tree('beside', { file: noise(700_000) }));
  const beside = lab.tar(lab.tree('with-more', { ...files, 'unused.tar': other, 'unused.tar.gz': gzipSync(other) }));
  assert.equal(succeeds(['load'], { input: beside }), 'Loaded image: sample:1\n');
  // Config, manifest, the compressed layer, its tar; one index.
  assert.deepEqual(kept(), [4, 1]);
  const broken = sampleImage([other, lab.tar(lab.tree('top', { file: noise(9) }))]);
  const cut = {
    ...layoutOf(broken),
    [`blobs/${sha256(broken.layers[1]!.blob).replace(':', '/')}`]: noise(broken.layers[1]!.blob.length),
  };
  const dir = lab.tree('broken', cut);
  fails(['load', '-i', dir], /not what its digest says/);
  fails(['load'], /not what its digest says|is not the layer/, { input: lab.tar(dir) });
  assert.deepEqual(kept(), [4, 1]);
});

suite('stopped in the middle', () => {
  /** Starts an import whose input does not end, and waits until it writes. */
  async function startImport(root: string): Promise<ReturnType<typeof spawn>> {
    const child = spawn(process.execPath, [MAIN, ...place, 'import', '-', 'sample:1'], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    child.stdin!.on('error', () => {});
    child.stdin!.write(tar.subarray(0, 2 << 20));
    const ingest = join(root, 'ingest');
    for (let i = 0; i < 1000 && child.exitCode === null; i++) {
      if (existsSync(ingest) && readdirSync(ingest).length > 0) return child;
      await wait(20);
    }
    child.kill('SIGKILL');
    throw new Error('the import did not begin to write');
  }
  const left = (root: string) => ['ingest', 'leases', 'refs'].flatMap((name) => readdirSync(join(root, name)));

  it('by Ctrl-C: status 130, nothing left', async () => {
    const root = freshStore();
    const child = await startImport(root);
    const errors: Buffer[] = [];
    child.stderr!.on('data', (chunk) => errors.push(chunk));
    child.kill('SIGINT');
    const [status] = await once(child, 'close');
    assert.equal(status, 130);
    assert.equal(Buffer.concat(errors).toString(), '');
    assert.deepEqual(left(root), []);
  });

  it('by kill -9: the next import works', async () => {
    const root = freshStore();
    const child = await startImport(root);
    child.kill('SIGKILL');
    await once(child, 'close');
    succeeds(['import', lab.path('root.tar'), 'sample:1']);
    assert.equal(readdirSync(join(root, 'refs')).length, 1);
  });
});

const noRoot = process.getuid?.() === 0 ? undefined : 'mounting a small file system needs root';
it('a full disk: told in words, nothing left, and with room again it works', { skip: noRoot }, () => {
  const root = freshStore();
  mkdirSync(root);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'imago-test', root]);
  try {
    fails(['import', lab.path('root.tar'), 'sample:1'], /no space left on the disk/);
    const dir = lab.tree('full', layoutOf(sampleImage([tar])));
    fails(['load', '-i', dir], /no space left on the disk/);
    assert.deepEqual(
      ['ingest', 'leases', 'refs'].flatMap((name) => readdirSync(join(root, name))),
      [],
    );
    execFileSync('mount', ['-o', 'remount,size=40m', root]);
    succeeds(['import', lab.path('root.tar'), 'sample:1']);
    const output = lab.path('full.tar');
    succeeds(['save', '-o', output, 'sample:1']);
    writeFileSync(output, 'old');
    const small = lab.path('small');
    mkdirSync(small);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'imago-test', small]);
    try {
      fails(['save', '-o', join(small, 'x.tar'), 'sample:1'], /ENOSPC|no space left/);
      assert.deepEqual(readdirSync(small), []);
    } finally {
      execFileSync('umount', [small]);
    }
  } finally {
    execFileSync('umount', [root]);
  }
});
