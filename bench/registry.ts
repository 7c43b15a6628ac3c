/** `imago registry serve` beside Debian's docker-registry, files on the same disk, clients written in C. */
import { spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openRepository } from '../src/registry/client/repository.ts';
import { compete, run, type Times } from './measure.ts';
import { type RunningRegistry, startDockerRegistry, startImagoRegistry } from './registries.ts';

export interface RegistryBench {
  bin: string;
  rounds: number;
  /** A directory for what lives as long as the bench. */
  work: string;
  report(figure: string, times: Times, goal: string, extra?: string): void;
}

interface Blob {
  file: string;
  digest: string;
}

const BLOB_BYTES = 100e6;
const CLIENTS = 32;
const ACCEPT = 'Accept: application/vnd.oci.image.manifest.v1+json';

export async function benchRegistry({ bin, rounds, work, report }: RegistryBench): Promise<void> {
  for (const tool of ['docker-registry', 'curl', 'wrk']) {
    if (spawnSync(tool, ['--version']).error === undefined) continue;
    console.error(`bench: ${tool} is not installed, the registry is left out`);
    return;
  }
  const directory = join(work, 'registries');
  const blobs = makeBlobs(join(directory, 'blobs'));
  {
    await using own = await startImagoRegistry(bin, join(directory, 'imago'));
    await using other = await startDockerRegistry(join(directory, 'docker'));
    const both = [
      { name: 'imago', registry: own },
      { name: 'docker-registry', registry: other },
    ];
    for (const { registry } of both) await fill(registry.host, blobs);
    const race = (measure: (registry: RunningRegistry) => Promise<number | undefined>) =>
      compete(
        both.map(({ name, registry }) => ({ name, measure: () => measure(registry) })),
        rounds,
      );
    report('registry: 4 × 100 MB down', await race(({ host }) => download(host, blobs)), '≤ 1.0×');
    report('registry: 4 × 100 MB up, one client', await race(({ host }) => upload(host, blobs)), '≤ 0.5×');
    const before = own.peakMB();
    const many = await race(({ host }) => uploadAtOnce(host, blobs));
    const memory = `our peak memory ${before.toFixed(0)} MB before, ${own.peakMB().toFixed(0)} MB after ${rounds} rounds`;
    report(`registry: ${CLIENTS} clients push 100 MB each`, many, '≤ 0.5×, memory flat', memory);
    report('registry: 10,000 manifest GETs (wrk -t1 -c32)', await race(({ host }) => getManifests(host)), '≤ 0.5×');
  }
  rmSync(directory, { recursive: true });
}

function makeBlobs(directory: string): Blob[] {
  mkdirSync(directory, { recursive: true });
  return Array.from({ length: 4 }, (_, i) => {
    const bytes = randomBytes(BLOB_BYTES);
    const file = join(directory, String(i));
    writeFileSync(file, bytes);
    return { file, digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}` };
  });
}

/** An image of the blobs, as `bench:latest`. */
async function fill(host: string, blobs: Blob[]): Promise<void> {
  await upload(host, blobs);
  await using repository = openRepository({ domain: host, path: 'bench' });
  const config = Buffer.from('{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}');
  const digest = `sha256:${createHash('sha256').update(config).digest('hex')}` as const;
  await repository.uploadBlob({ digest, size: config.length }, async function* () {
    yield config;
  });
  const layers = blobs.map((blob) => ({
    mediaType: 'application/vnd.oci.image.layer.v1.tar',
    digest: blob.digest,
    size: statSync(blob.file).size,
  }));
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const own = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: config.length };
  const manifest = JSON.stringify({ schemaVersion: 2, mediaType, config: own, layers });
  await repository.putManifest('latest', Buffer.from(manifest), mediaType);
}

async function shell(script: string): Promise<number> {
  return (await run(['/bin/bash', '-ec', script])).seconds;
}

function download(host: string, blobs: Blob[]): Promise<number> {
  const urls = blobs.map(({ digest }) => `-o /dev/null http://${host}/v2/bench/blobs/${digest}`).join(' ');
  return shell(`curl -sf ${urls}`);
}

/** POST for a place, then the whole body to it, as a client pushes a layer. */
const PUT = `put() {
  at=$(curl -sf -X POST -o /dev/null -w '%header{location}' "http://$1/v2/$2/blobs/uploads/" -d '')
  case $at in /*) at=http://$1$at;; esac
  case $at in *\\?*) at="$at&";; *) at="$at?";; esac
  curl -sf -o /dev/null -H 'Expect:' -H 'Content-Type: application/octet-stream' -T "$3" "\${at}digest=$4"
}`;

function upload(host: string, blobs: Blob[]): Promise<number> {
  return shell([PUT, ...blobs.map(({ file, digest }) => `put ${host} bench ${file} ${digest}`)].join('\n'));
}

function uploadAtOnce(host: string, blobs: Blob[]): Promise<number> {
  const lines = Array.from({ length: CLIENTS }, (_, i) => {
    const { file, digest } = blobs[i % blobs.length]!;
    return `put ${host} client${i} ${file} ${digest} & all="$all $!"`;
  });
  return shell([PUT, ...lines, 'for one in $all; do wait $one; done'].join('\n'));
}

async function getManifests(host: string): Promise<number> {
  const { stdout } = await run(['wrk', '-t1', '-c32', '-d3', '-H', ACCEPT, `http://${host}/v2/bench/manifests/latest`]);
  if (/Non-2xx/.test(stdout)) throw new Error(stdout);
  return 10_000 / Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)![1]);
}
