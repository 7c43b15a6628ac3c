/**
 * The bench's input, made once from real software: an OCI layout of three gzip layers (a Debian base, a Node binary,
 * an app with its node_modules), about 34,000 files and 450 MB of tar. Kept under `.bench/` (IMAGO_BENCH_DIR).
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';

export interface BenchInput {
  /** OCI image layout directory; its one image is named `bench:latest`. */
  layout: string;
  /** The same as one tar, with the manifest.json that docker wants beside the OCI layout. */
  archive: string;
  /** Uncompressed layer tars, lowest first. */
  tars: string[];
  /** The directory with node_modules (27,000 files) that builds COPY. */
  app: string;
}

interface Blob {
  digest: string;
  size: number;
}

const root: string = process.env.IMAGO_BENCH_DIR ?? join(import.meta.dirname, '..', '.bench');

export async function prepareInput(): Promise<BenchInput> {
  const dir = join(root, 'input');
  const input: BenchInput = {
    layout: join(dir, 'layout'),
    archive: join(dir, 'image.oci.tar'),
    tars: ['base.tar', 'node.tar', 'app.tar'].map((name) => join(dir, name)),
    app: join(dir, 'app'),
  };
  if (existsSync(join(dir, 'complete'))) return input;
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(input.app, { recursive: true });
  console.error('bench: making the input (Debian base, Node, 27,000 files of node_modules), once');
  const [base, node, app] = input.tars as [string, string, string];
  const lists = '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*';
  // Node wants libatomic.
  execFileSync('mmdebstrap', ['--quiet', '--variant=minbase', '--include=libatomic1', lists, 'bookworm', base], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });

  const nodeRoot = join(dir, 'node-root');
  mkdirSync(join(nodeRoot, 'usr/local/bin'), { recursive: true });
  copyFileSync(process.execPath, join(nodeRoot, 'usr/local/bin/node'));
  tar(node, nodeRoot, 'usr');
  rmSync(nodeRoot, { recursive: true });

  copyFileSync(join(import.meta.dirname, 'app.json'), join(input.app, 'package.json'));
  execFileSync('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--silent'], { cwd: input.app });
  writeFileSync(join(input.app, 'server.js'), "console.log('hello from', process.version);\n");
  tar(app, dir, 'app');
  await writeLayout(input);
  writeFileSync(join(dir, 'complete'), '');
  return input;
}

function tar(file: string, from: string, name: string): void {
  const fixed = [
    '--sort=name',
    '--numeric-owner',
    '--owner=0',
    '--group=0',
    '--format=pax',
    '--pax-option=delete=atime,delete=ctime',
  ];
  execFileSync('tar', ['-cf', file, ...fixed, '-C', from, name]);
}

async function writeLayout(input: BenchInput): Promise<void> {
  const blobs = join(input.layout, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const put = (bytes: string): Blob => {
    const hex = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(join(blobs, hex), bytes);
    return { digest: `sha256:${hex}`, size: Buffer.byteLength(bytes) };
  };
  const layers: (Blob & { mediaType: string })[] = [];
  const diffIds: string[] = [];
  for (const file of input.tars) {
    diffIds.push(`sha256:${await hashFile(file)}`);
    const packed = join(input.layout, 'layer.gz');
    await pipeline(createReadStream(file), createGzip({ level: 6 }), createWriteStream(packed));
    const hex = await hashFile(packed);
    layers.push({
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
      digest: `sha256:${hex}`,
      size: statSync(packed).size,
    });
    renameSync(packed, join(blobs, hex));
  }
  const config = put(
    JSON.stringify({
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: { Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], Cmd: ['/bin/bash'] },
      rootfs: { type: 'layers', diff_ids: diffIds },
      history: diffIds.map(() => ({ created_by: 'bench' })),
    }),
  );
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = put(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', ...config },
      layers,
    }),
  );
  writeFileSync(join(input.layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const annotations = {
    'io.containerd.image.name': 'docker.io/library/bench:latest',
    'org.opencontainers.image.ref.name': 'latest',
  };
  const index = { schemaVersion: 2, manifests: [{ mediaType, ...manifest, annotations }] };
  writeFileSync(join(input.layout, 'index.json'), JSON.stringify(index));
  const path = (blob: Blob): string => `blobs/sha256/${blob.digest.slice(7)}`;
  const legacy = [{ Config: path(config), RepoTags: ['bench:latest'], Layers: layers.map(path) }];
  writeFileSync(join(input.layout, 'manifest.json'), JSON.stringify(legacy));
  execFileSync('tar', ['-cf', input.archive, '-C', input.layout, 'oci-layout', 'index.json', 'manifest.json', 'blobs']);
  rmSync(join(input.layout, 'manifest.json'));
}

async function hashFile(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), hash);
  return hash.digest('hex');
}

if (import.meta.main) {
  const input = await prepareInput();
  for (const file of input.tars) console.log(file, statSync(file).size);
  console.log(input.archive, statSync(input.archive).size, readFileSync(join(input.layout, 'index.json'), 'utf8'));
}
