import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { createRing, RingWriter } from '../../src/system/ring.ts';

/** A thread that hashes what comes through the ring, slowly where told. */
function reader(ring: SharedArrayBuffer, delay = 0): Promise<{ size: number; sha256: string }> {
  const script = `
    const { parentPort, workerData } = require('node:worker_threads');
    const { createHash } = require('node:crypto');
    import(workerData.module).then(({ readRing }) => {
      const hash = createHash('sha256');
      let size = 0;
      for (const bytes of readRing(workerData.ring)) {
        hash.update(bytes);
        size += bytes.length;
        if (workerData.delay) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, workerData.delay);
      }
      parentPort.postMessage({ size, sha256: hash.digest('hex') });
    });`;
  const module = new URL('../../src/system/ring.ts', import.meta.url).href;
  const worker = new Worker(script, { eval: true, workerData: { ring, module, delay } });
  return new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
}

describe('ring', () => {
  for (const [name, sizes, delay] of [
    ['nothing', [], 0],
    ['one byte', [1], 0],
    ['small and large pieces', [1, 70_000, 2 ** 20, 3, 5_000_000, 2 ** 20 - 3, 0, 9], 0],
    ['more than it holds, to a slow reader', Array(10).fill(1_500_000), 10],
  ] as [string, number[], number][]) {
    it(`passes ${name}`, async () => {
      const ring = createRing();
      const read = reader(ring, delay);
      const writer = new RingWriter(ring);
      const hash = createHash('sha256');
      for (const [i, size] of sizes.entries()) {
        const bytes = Buffer.alloc(size, i + 1);
        hash.update(bytes);
        assert.equal(await writer.write(bytes), true);
        // The writer has its own copy.
        bytes.fill(0);
      }
      await writer.end();
      assert.deepEqual(await read, { size: sizes.reduce((a, b) => a + b, 0), sha256: hash.digest('hex') });
    });
  }

  it('lets go of a writer whose reader is gone', async () => {
    const writer = new RingWriter(createRing());
    const written = writer.write(Buffer.alloc(9_000_000));
    setTimeout(() => writer.cancel(), 20);
    assert.equal(await written, false);
    assert.equal(await writer.write(Buffer.alloc(1)), false);
    await writer.end();
  });
});
