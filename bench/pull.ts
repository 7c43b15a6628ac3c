/** Pulling from Debian's docker-registry on loopback: the whole image, and a second one that shares two of its layers. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { parseReference } from '../src/oci/reference.ts';
import { openRepository } from '../src/registry/client/repository.ts';
import type { Engine } from './engines.ts';
import type { BenchInput } from './input.ts';
import { compete, median, run, type Sample, type Times } from './measure.ts';
import { startDockerRegistry } from './registries.ts';

export interface PullBench {
  input: BenchInput;
  engines: Engine[];
  rounds: number;
  /** A directory for what lives as long as the bench. */
  work: string;
  report(figure: string, times: Times, goal: string, extra?: string): void;
}

export async function benchPull({ input, engines, rounds, work, report }: PullBench): Promise<void> {
  if (spawnSync('docker-registry', ['--version']).error !== undefined) {
    console.error('bench: docker-registry is not installed, pull is left out');
    return;
  }
  await using registry = await startDockerRegistry(join(work, 'registry'));
  const second = await fillRegistry(registry.host, input);
  let peak = 0;
  const contestants = engines.map((engine) => ({
    name: engine.name,
    before: () => engine.removeAll(),
    measure: async () => {
      const sample = await engine.pull(`${registry.host}/bench:latest`);
      if (engine.name === 'imago') peak = Math.max(peak, sample.peakMB);
      return sample.seconds;
    },
  }));
  const floor = { name: 'floor', measure: async () => (await runFloor(work, input.layout)).seconds };
  const times = await compete([...contestants, floor], rounds);
  const bare = median(times.get('floor')!);
  times.delete('floor');
  const ratio = (median(times.get('imago')!) / bare).toFixed(2);
  const note = `${ratio}× a bare inflate + hash + write in two workers (${bare.toFixed(2)} s; goal ≤ 1.4×); peak memory ${peak.toFixed(0)} MB (goal ≤ 300)`;
  report('pull to runnable, from docker-registry', times, '≤ 0.25× peers', note);
  await benchShared(registry.host, second, { engines, report });
}

/** All engines have the first image by now. */
async function benchShared(
  host: string,
  layerSize: number,
  { engines, report }: Pick<PullBench, 'engines' | 'report'>,
): Promise<void> {
  const times: Times = new Map();
  const bytes: string[] = [];
  for (const engine of engines) {
    await using proxy = await CountingProxy.start(host);
    times.set(engine.name, [(await engine.pull(`${proxy.host}/second:latest`)).seconds]);
    bytes.push(`${engine.name} ${(proxy.received / 1e6).toFixed(2)} MB`);
  }
  const note = `received ${bytes.join(', ')}; the third layer is ${(layerSize / 1e6).toFixed(2)} MB`;
  report('pull a second image that shares two layers', times, 'only the third travels', note);
}

function runFloor(work: string, layout: string): Promise<Sample> {
  return run([process.execPath, join(import.meta.dirname, 'floor.ts'), layout], { cwd: work });
}

/** Puts the input in, and an image of its lower two layers and one of its own. Returns that one's compressed size. */
async function fillRegistry(host: string, input: BenchInput): Promise<number> {
  const read = (digest: string): Buffer => readFileSync(join(input.layout, 'blobs/sha256', digest.slice(7)));
  const index = JSON.parse(readFileSync(join(input.layout, 'index.json'), 'utf8')) as { manifests: [Descriptor] };
  const bytes = read(index.manifests[0].digest);
  const manifest = JSON.parse(bytes.toString()) as Manifest;
  await putImage(host, 'bench', bytes, [manifest.config, ...manifest.layers], (digest) =>
    createReadStream(join(input.layout, 'blobs/sha256', digest.slice(7))),
  );
  // The first 20 MB of the app.
  const tar = cutTar(readFileSync(input.tars[2]!), 20_000_000);
  const layer = gzipSync(tar);
  const config = JSON.parse(read(manifest.config.digest).toString()) as Config;
  config.rootfs.diff_ids[2] = sha256(tar);
  const configBytes = Buffer.from(JSON.stringify(config));
  const own = new Map<string, Buffer>([layer, configBytes].map((blob) => [sha256(blob), blob] as const));
  manifest.layers[2] = { ...manifest.layers[2]!, digest: sha256(layer), size: layer.length };
  manifest.config = { ...manifest.config, digest: sha256(configBytes), size: configBytes.length };
  const parts = [manifest.config, ...manifest.layers];
  await putImage(host, 'second', Buffer.from(JSON.stringify(manifest)), parts, (digest) =>
    stream(own.get(digest) ?? read(digest)),
  );
  return layer.length;
}

interface Descriptor {
  mediaType: string;
  digest: `sha256:${string}`;
  size: number;
}
interface Manifest {
  mediaType: string;
  config: Descriptor;
  layers: Descriptor[];
}
interface Config {
  rootfs: { diff_ids: string[] };
}

async function putImage(
  host: string,
  name: string,
  manifest: Buffer,
  blobs: Descriptor[],
  open: (digest: Descriptor['digest']) => AsyncIterable<Uint8Array>,
): Promise<void> {
  await using repository = openRepository(parseReference(`${host}/${name}`));
  for (const blob of blobs) await repository.uploadBlob(blob, () => open(blob.digest));
  await repository.putManifest('latest', manifest, (JSON.parse(manifest.toString()) as Manifest).mediaType);
}

async function* stream(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** Whole members up to about `size` bytes, and the end of an archive. */
function cutTar(tar: Buffer, size: number): Buffer {
  let end = 0;
  for (let at = 0; at < size; ) {
    const length = Number.parseInt(tar.toString('latin1', at + 124, at + 135), 8) || 0;
    // A PAX header belongs to what follows it.
    const header = tar[at + 156] === 0x78;
    at += 512 + Math.ceil(length / 512) * 512;
    if (!header) end = at;
  }
  return Buffer.concat([tar.subarray(0, end), Buffer.alloc(1024)]);
}

function sha256(bytes: Uint8Array): `sha256:${string}` {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Passes TCP on, and counts what comes back. */
class CountingProxy implements AsyncDisposable {
  received = 0;
  readonly #server: Server;

  private constructor(target: string) {
    const [address, port] = target.split(':') as [string, string];
    this.#server = createServer((client) => {
      const upstream = connect(Number(port), address);
      upstream.on('data', (chunk) => {
        this.received += chunk.length;
      });
      client.pipe(upstream).pipe(client);
      for (const socket of [client, upstream]) {
        socket.on('error', () => {
          client.destroy();
          upstream.destroy();
        });
      }
    });
  }

  static async start(target: string): Promise<CountingProxy> {
    const proxy = new CountingProxy(target);
    await once(proxy.#server.listen(0, '127.0.0.1'), 'listening');
    return proxy;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
  }
}
