import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { ingestLayer } from '../../src/store/ingest-layer.ts';
import type { IngestLayerOptions, LayerDownload } from '../../src/store/layer-options.ts';
import { hasLayer } from '../../src/store/layers.ts';
import { Partial } from '../../src/store/partials.ts';
import { prune } from '../../src/store/prune.ts';
import type { Store } from '../../src/store/store.ts';
import { inFlight, Lab, noise, sha256 } from '../archive/lab.ts';
import { until } from '../until.ts';

const HOURS = 3600;

let lab: Lab;
let store: Store;
let tar: Buffer;
let blob: Buffer;

before(() => {
  lab = new Lab();
  tar = lab.tar(lab.tree('files', { 'usr/data': noise(4 * 2 ** 20), 'etc/motd': 'hello\n' }));
  blob = gzipSync(tar, { level: 1 });
});
after(() => lab[Symbol.dispose]());
beforeEach(() => {
  store = lab.store();
});

const digest = (): ReturnType<typeof sha256> => sha256(blob);
const directory = (): string => join(store.root, 'ingest', `partial-${digest().slice(7)}`);

/** Serves the blob, and notes from where on; breaks before `breakAt`. */
class Source implements LayerDownload {
  readonly offsets: number[] = [];
  readonly #breakAt: number;

  constructor(breakAt = Infinity) {
    this.#breakAt = breakAt;
  }

  async *openAt(offset: number, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    this.offsets.push(offset);
    for (let at = offset; at < blob.length; at += 65_536) {
      if (at + 65_536 > this.#breakAt) throw new Error('the network is gone');
      // As a connection does that is slower than the thread.
      if (at % 2 ** 20 < 65_536) await new Promise((resolve) => setTimeout(resolve, 2));
      signal?.throwIfAborted();
      yield blob.subarray(at, at + 65_536);
    }
  }
}

async function download(
  source: Source,
  options: Pick<IngestLayerOptions, 'keepBlob' | 'signal' | 'onProgress'> = {},
): Promise<void> {
  using lease = store.lease('test');
  const expect = { digest: digest(), size: blob.length, diffId: sha256(tar) };
  await ingestLayer(store, lease, source, { expect, ...options });
  assert.ok(hasLayer(store, sha256(tar)));
}

/** What a download that was killed leaves. */
function leave(bytes: Uint8Array, hoursAgo = 0): void {
  const path = join(directory(), 'data');
  mkdirSync(dirname(path));
  writeFileSync(path, bytes);
  const then = Date.now() / 1000 - hoursAgo * HOURS;
  utimesSync(path, then, then);
}

describe('a download', () => {
  it('that ends leaves nothing but the layer', async () => {
    const source = new Source();
    await download(source);
    assert.deepEqual([source.offsets, inFlight(store)], [[0], []]);
    assert.ok(!store.hasBlob(digest()));
  });

  it('that breaks keeps what came, and the next one goes on there', async () => {
    await assert.rejects(download(new Source(3 * 2 ** 20)), /the network is gone/);
    assert.deepEqual(inFlight(store), [`partial-${digest().slice(7)}`]);
    const kept = statSync(join(directory(), 'data')).size;
    assert.ok(kept >= 2 ** 20, `${kept} bytes`);
    const source = new Source();
    await download(source);
    assert.deepEqual([source.offsets, inFlight(store)], [[kept], []]);
  });

  it('breaks and breaks, and gets there', async () => {
    for (const at of [2, 3, 4]) await assert.rejects(download(new Source(at * 2 ** 20)));
    await download(new Source());
    assert.deepEqual(inFlight(store), []);
  });

  it('makes the blob of the same file', async () => {
    leave(blob.subarray(0, 2_000_000));
    const source = new Source();
    await download(source, { keepBlob: true });
    assert.deepEqual([source.offsets, inFlight(store)], [[2_000_000], []]);
    assert.deepEqual(readFileSync(store.blobPath(digest())), blob);
    assert.equal(statSync(store.blobPath(digest())).mode & 0o777, 0o444);
  });

  it('of which all was kept asks for nothing', async () => {
    leave(blob);
    const source = new Source();
    await download(source);
    assert.deepEqual(source.offsets, []);
  });

  for (const [what, bytes] of [
    ['torn in the middle', () => Buffer.concat([blob.subarray(0, 1_000_000), Buffer.alloc(500_000)])],
    ['of something else', () => noise(1_500_000)],
    ['with one bit wrong near the end', () => flip(blob.subarray(0, 2_000_000), 1_999_999)],
  ] as [string, () => Uint8Array][]) {
    it(`with a beginning ${what} is fetched whole, once`, async () => {
      leave(bytes());
      const source = new Source();
      await download(source);
      assert.deepEqual([source.offsets, inFlight(store)], [[bytes().length, 0], []]);
    });
  }

  for (const [what, bytes] of [
    ['too short to matter', () => blob.subarray(0, 1000)],
    ['longer than the blob', () => Buffer.concat([blob, Buffer.from('x')])],
  ] as [string, () => Uint8Array][]) {
    it(`with a beginning ${what} begins anew`, async () => {
      leave(bytes());
      const source = new Source();
      await download(source);
      assert.deepEqual([source.offsets, inFlight(store)], [[0], []]);
    });
  }

  it('that another one does at the same time waits, and goes on where that one broke off', async () => {
    leave(blob.subarray(0, 1_000_000));
    const held = Partial.open(store, { digest: digest(), size: blob.length })!;
    const source = new Source();
    const seen: number[] = [];
    const waiting = download(source, { onProgress: (done) => seen.push(done) });
    await until('it waits', () => seen.length > 0);
    appendFileSync(held.path, blob.subarray(1_000_000, 2_000_000));
    await until('it sees what came', () => seen.length > 1);
    assert.deepEqual([source.offsets, seen], [[], [1_000_000, 2_000_000]]);
    held[Symbol.dispose]();
    await waiting;
    assert.deepEqual([source.offsets, inFlight(store)], [[2_000_000], []]);
  });

  it('that another one does and stands still is done apart', async (t) => {
    leave(blob.subarray(0, 2_000_000));
    using held = Partial.open(store, { digest: digest(), size: blob.length })!;
    const now = performance.now.bind(performance);
    t.mock.method(performance, 'now', () => now() * 50);
    const source = new Source();
    await download(source);
    assert.deepEqual(source.offsets, [0]);
    assert.deepEqual(readFileSync(held.path), blob.subarray(0, 2_000_000), 'the other one writes it alone');
  });

  it('that waits for another one can be given up', async () => {
    leave(blob.subarray(0, 2_000_000));
    using _held = Partial.open(store, { digest: digest(), size: blob.length })!;
    await assert.rejects(download(new Source(), { signal: AbortSignal.timeout(150) }), { name: 'TimeoutError' });
  });

  it('many at once fetches once', async () => {
    const sources = [0, 1, 2, 3].map(() => new Source());
    await Promise.all(sources.map((source) => download(source, { keepBlob: true })));
    assert.deepEqual([inFlight(store), sources.flatMap(({ offsets }) => offsets)], [[], [0]]);
    assert.deepEqual(readFileSync(store.blobPath(digest())), blob);
  });

  it('given up by its caller keeps what came', async () => {
    const stop = new AbortController();
    class Stopping extends Source {
      override async *openAt(offset: number): AsyncGenerator<Uint8Array> {
        yield* super.openAt(offset);
        await until('it is written', () => statSync(join(directory(), 'data')).size >= 3 * 2 ** 20);
        stop.abort(new Error('enough'));
      }
    }
    await assert.rejects(download(new Stopping(), { signal: stop.signal }), /enough/);
    assert.ok(statSync(join(directory(), 'data')).size >= 3 * 2 ** 20);
  });
});

describe('prune', () => {
  for (const [hours, kept] of [
    [0, true],
    [5.9, true],
    [6.1, false],
    [-7, false],
  ] as const) {
    it(`${kept ? 'leaves' : 'takes'} what came ${hours} hours ago`, async () => {
      leave(blob.subarray(0, 200_000), hours);
      await prune(store);
      assert.deepEqual(readdirSync(join(store.root, 'ingest')), kept ? [`partial-${digest().slice(7)}`] : []);
    });
  }

  it('leaves what is being written, however old', async () => {
    leave(blob.subarray(0, 200_000), 10);
    using _held = Partial.open(store, { digest: digest(), size: blob.length })!;
    await prune(store);
    assert.deepEqual(readdirSync(directory()), ['data']);
  });
});

function flip(bytes: Uint8Array, at: number): Buffer {
  const out = Buffer.from(bytes);
  out[at]! ^= 1;
  return out;
}
