import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Digest } from '../../src/core/digest.ts';
import { Store } from '../../src/store/store.ts';

export function sha256(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Bytes that do not compress, always the same. */
export function noise(size: number): Buffer {
  return createHash('shake256', { outputLength: size }).update('noise').digest();
}

/** A directory with a store in it, removed at the end. */
export class Lab implements Disposable {
  readonly dir: string = mkdtempSync(join(tmpdir(), 'imago-archive-'));
  #stores = 0;

  store(): Store {
    const n = this.#stores++;
    return Store.open({ root: join(this.dir, `root${n}`), run: join(this.dir, `run${n}`) });
  }

  path(name: string): string {
    return join(this.dir, name);
  }

  /** Writes files below a directory; returns its path. */
  tree(name: string, files: Record<string, string | Uint8Array>): string {
    const root = this.path(name);
    mkdirSync(root, { recursive: true });
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), content);
    }
    return root;
  }

  /** GNU tar of a directory's contents, reproducible. */
  tar(directory: string, ...args: string[]): Buffer {
    const fixed = ['--sort=name', '--mtime=@1700000000', '--owner=0', '--group=0', '--numeric-owner'];
    return execFileSync('tar', [...fixed, ...args, '-C', directory, '-c', ...readdirSync(directory).sort()], {
      maxBuffer: 1 << 28,
    });
  }

  [Symbol.dispose](): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** What a store holds in flight: must be nothing once a command is done, whatever became of it. */
export function inFlight(store: Store): string[] {
  return ['ingest', 'leases'].flatMap((name) => readdirSync(join(store.root, name)));
}

export interface SampleImage {
  layers: { tar: Buffer; blob: Buffer; mediaType: string }[];
  config: Buffer;
  manifest: Buffer;
}

export interface Blobs {
  put(bytes: Uint8Array): { digest: Digest; size: number };
  files: Record<string, Uint8Array>;
}

export function blobs(): Blobs {
  const files: Record<string, Uint8Array> = {};
  return {
    files,
    put(bytes) {
      const digest = sha256(bytes);
      files[`blobs/${digest.replace(':', '/')}`] = bytes;
      return { digest, size: bytes.length };
    },
  };
}

export const OCI = 'application/vnd.oci.image.';

/** JSON as other tools write it: spaces, and members that nobody knows. */
export function json(value: object): Buffer {
  return Buffer.from(JSON.stringify({ 'x-unknown': 1, ...value }, null, 3));
}

/** An image with these tars as layers, gzip unless told otherwise. */
export function sampleImage(
  tars: Buffer[],
  options: { architecture?: string; variant?: string; gzip?: boolean; cmd?: string } = {},
): SampleImage {
  const {
    architecture = process.arch === 'arm64' ? 'arm64' : 'amd64',
    variant,
    gzip = true,
    cmd = '/bin/sh',
  } = options;
  const layers = tars.map((tar) => ({
    tar,
    blob: gzip ? gzipSync(tar, { level: 4 }) : tar,
    mediaType: `${OCI}layer.v1.tar${gzip ? '+gzip' : ''}`,
  }));
  const config = json({
    architecture,
    ...(variant === undefined ? {} : { variant }),
    os: 'linux',
    created: '2024-01-02T03:04:05Z',
    config: { Cmd: [cmd] },
    rootfs: { type: 'layers', diff_ids: tars.map(sha256) },
    history: tars.map((_, i) => ({ created_by: `step ${i}` })),
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: `${OCI}manifest.v1+json`,
    config: { mediaType: `${OCI}config.v1+json`, digest: sha256(config), size: config.length },
    layers: layers.map(({ blob, mediaType }) => ({ mediaType, digest: sha256(blob), size: blob.length })),
  });
  return { layers, config, manifest };
}

export function describe(image: SampleImage): { mediaType: string; digest: Digest; size: number } {
  return { mediaType: `${OCI}manifest.v1+json`, digest: sha256(image.manifest), size: image.manifest.length };
}

export function addBlobs(out: Blobs, image: SampleImage): void {
  for (const bytes of [image.manifest, image.config, ...image.layers.map((l) => l.blob)]) out.put(bytes);
}

/** The files of an OCI layout; `manifests` are the descriptors of its index. */
export function layout(out: Blobs, manifests: object[]): Record<string, Uint8Array> {
  return {
    ...out.files,
    'oci-layout': Buffer.from('{"imageLayoutVersion": "1.0.0"}\n'),
    'index.json': json({ schemaVersion: 2, manifests }),
  };
}

/** An OCI layout of one image. */
export function layoutOf(image: SampleImage, annotations?: Record<string, string>): Record<string, Uint8Array> {
  const out = blobs();
  addBlobs(out, image);
  return layout(out, [{ ...describe(image), ...(annotations === undefined ? {} : { annotations }) }]);
}

export async function* chunks(bytes: Uint8Array, size = 65536): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, Math.min(bytes.length, at + size));
}
