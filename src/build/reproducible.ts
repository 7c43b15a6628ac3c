import { readSync } from 'node:fs';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { Time } from '../core/time.ts';
import type { TarEntry } from '../formats/tar/entry.ts';
import { encodeHeader, padding } from '../formats/tar/write.ts';
import { type ImageDraft, tarLayer } from '../image/draft.ts';
import { ingestLayer } from '../store/ingest-layer.ts';
import { readLayerEntries } from '../store/layer-entries.ts';
import { layerRecord } from '../store/layers.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import { BuildCache, stepKey } from './cache.ts';
import { INLINE_CACHE } from './cache-format.ts';
import { ImageFiles } from './context/image-source.ts';
import { ChunkWriter, finishTar } from './copy/stream.ts';

const PIECE = 1 << 20;

/** The draft with nothing but the base's history younger than the epoch in its config. */
export function limitTimes(draft: ImageDraft, epoch: Date): ImageDraft {
  const { config, baseHistory = 0 } = draft;
  const latest = epoch.toISOString();
  const limit = (time: string | undefined): string =>
    time === undefined || Date.parse(time) > epoch.getTime() ? latest : time;
  const history = config.history?.map((entry, i) =>
    i < baseHistory ? entry : { ...entry, created: limit(entry.created) },
  );
  return { ...draft, config: { ...config, created: limit(config.created), ...(history && { history }) } };
}

/**
 * The draft with new layers in which nothing is younger than the epoch (BuildKit's `rewrite-timestamp`). Layers of
 * the base and their history stay as they are. The same layers and epoch give the same layers again.
 */
export async function rewriteTimes(
  store: Store,
  lease: Lease,
  draft: ImageDraft,
  epoch: Date,
  signal?: AbortSignal,
): Promise<ImageDraft> {
  const base = draft.baseLayers ?? 0;
  const latest: Time = { sec: Math.floor(epoch.getTime() / 1000), nsec: 0 };
  const layers = [...draft.layers];
  for (let i = base; i < layers.length; i++) {
    const { diffId, descriptor } = layers[i]!;
    const clamped = await clampLayer(store, lease, diffId, latest, signal);
    if (clamped === diffId) continue;
    const { annotations } = descriptor;
    const made = tarLayer({ diffId: clamped, tarSize: layerRecord(store, clamped).tarSize });
    layers[i] = annotations === undefined ? made : { ...made, descriptor: { ...made.descriptor, annotations } };
  }
  // Steps that look into an inline cache want the layers as they were made.
  const { [INLINE_CACHE]: _, ...config } = draft.config as ImageDraft['config'] & { [INLINE_CACHE]?: unknown };
  const diffIds = layers.map(({ diffId }) => diffId);
  return { ...draft, layers, config: { ...config, rootfs: { ...config.rootfs, diff_ids: diffIds } } };
}

async function clampLayer(
  store: Store,
  lease: Lease,
  diffId: Digest,
  latest: Time,
  signal: AbortSignal | undefined,
): Promise<Digest> {
  const cache = new BuildCache(store, lease);
  const key = stepKey(['rewrite-timestamp', diffId, latest.sec]);
  const hit = cache.get(key);
  if (hit !== undefined) return hit.layer ?? diffId;
  const entries = readLayerEntries(store, diffId);
  const created = new Date(latest.sec * 1000).toISOString();
  let layer: Digest | null = null;
  if (entries.some(({ mtime }) => isAfter(mtime, latest))) {
    using files = new ImageFiles(store, [diffId]);
    layer = (await ingestLayer(store, lease, rewriteTar(files.tar(0), entries, latest), { signal })).diffId;
  }
  cache.set(key, '', { layer, created });
  return layer ?? diffId;
}

/** Member by member: all but the times stays, whatever the members mean. */
async function* rewriteTar(fd: number, entries: readonly TarEntry[], latest: Time): AsyncGenerator<Uint8Array> {
  const out = new ChunkWriter();
  for (const entry of entries) {
    const mtime = isAfter(entry.mtime, latest) ? latest : entry.mtime;
    const sparse = entry.sparse?.map(({ offset, length }) => ({ offset, length }));
    yield* out.write(encodeHeader({ ...entry, mtime, sparse }));
    const segments = entry.sparse ?? [{ dataOffset: entry.dataOffset, length: entry.dataSize }];
    let stored = 0;
    for (const { dataOffset, length } of segments) {
      yield* copyBytes(out, fd, dataOffset, length);
      stored += length;
    }
    yield* out.zeros(padding(stored));
  }
  yield* finishTar(out);
}

function* copyBytes(out: ChunkWriter, fd: number, offset: number, length: number): Generator<Uint8Array> {
  const buffer = Buffer.allocUnsafe(Math.min(PIECE, length));
  for (let done = 0; done < length; ) {
    const got = readSync(fd, buffer, 0, Math.min(buffer.length, length - done), offset + done);
    if (got === 0) throw new ImagoError('BLOB_TRUNCATED', 'a layer grew shorter while it was read');
    yield* out.write(buffer.subarray(0, got));
    done += got;
  }
}

function isAfter(a: Time, b: Time): boolean {
  return a.sec > b.sec || (a.sec === b.sec && a.nsec > b.nsec);
}
