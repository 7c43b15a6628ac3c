/** The floor of bringing an image in: inflate, hash and write its gzip layers in two workers, and nothing else. */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import { createGunzip } from 'node:zlib';

async function inflate(file: string, to: string): Promise<void> {
  const packed = createHash('sha256');
  const plain = createHash('sha256');
  const tap = (hash: typeof packed): Transform =>
    new Transform({
      transform(chunk, _, done) {
        hash.update(chunk);
        done(null, chunk);
      },
    });
  const source = createReadStream(file, { highWaterMark: 1 << 18 });
  const out = createWriteStream(to, { highWaterMark: 1 << 20, flush: true });
  await pipeline(source, tap(packed), createGunzip({ chunkSize: 1 << 18 }), tap(plain), out);
  packed.digest('hex');
  plain.digest('hex');
}

if (isMainThread) {
  const layout = process.argv[2]!;
  const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'));
  const blob = (digest: string): string => join(layout, 'blobs/sha256', digest.slice(7));
  const manifest = JSON.parse(readFileSync(blob(index.manifests[0].digest), 'utf8'));
  const layers = manifest.layers.sort((a: { size: number }, b: { size: number }) => b.size - a.size);
  const scratch = mkdtempSync('floor-');
  const next = (worker: Worker): void => {
    const layer = layers.shift();
    if (layer === undefined) worker.postMessage(null);
    else worker.postMessage({ file: blob(layer.digest), to: join(scratch, layer.digest.slice(7)) });
  };
  const workers = [0, 1].map(() => new Worker(import.meta.filename));
  await Promise.all(
    workers.map(
      (worker) =>
        new Promise<void>((resolve, reject) => {
          worker.on('message', () => next(worker));
          worker.on('error', reject);
          worker.on('exit', () => resolve());
        }),
    ),
  );
  rmSync(scratch, { recursive: true });
} else {
  parentPort!.on('message', async (job: { file: string; to: string } | null) => {
    if (job === null) return parentPort!.close();
    await inflate(job.file, job.to);
    parentPort!.postMessage('ready');
  });
  parentPort!.postMessage('ready');
}
