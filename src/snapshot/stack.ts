import { join } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { digestHex } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { LayerFacts } from '../formats/erofs/facts.ts';
import { chainIds } from '../oci/chain.ts';
import { FILES } from '../store/layer-job.ts';
import { layerRecord, layerTarPath } from '../store/layers.ts';
import type { Store } from '../store/store.ts';
import type { IndexedLayer } from './backend.ts';
import { PATCH_INDEX, readPatchRecord } from './patch.ts';
import { mayNeedPatch } from './patch-tree.ts';

/** One lower layer of a root file system: a layer of the image, or a patch over one. */
export interface StackPart extends IndexedLayer {
  /** Unique for its contents: `<diffid>` or `p-<chainid>`, in hex. */
  name: string;
  /** Its place in the store. */
  directory: string;
  /** It has an entry for the root directory. */
  describesRoot: boolean;
}

export interface Stack {
  /** From the bottom. */
  parts: StackPart[];
  /** The part that describes the root directory; it need not be among `parts`. */
  root: StackPart | undefined;
}

/**
 * The lower layers that show an image. Layers below one whose root is opaque are left out: overlayfs does not read
 * that mark on a root. `memory` is what the readers may have, in bytes. Throws `NOT_PREPARED` where `prepare` was not called before, `LAYER_MISSING`, `LAYER_DAMAGED`.
 */
export function listStack(store: Store, diffIds: readonly Digest[], memory?: number): Stack {
  let parts: StackPart[] = [];
  let root: StackPart | undefined;
  let chains: Digest[] | undefined;
  diffIds.forEach((diffId, number) => {
    const { facts, tarSize } = layerRecord(store, diffId);
    checkLength(store, diffId, tarSize);
    const directory = store.layerDirectory(diffId);
    const layer: StackPart = {
      name: digestHex(diffId),
      directory,
      index: join(directory, FILES.index),
      tars: [layerTarPath(store, diffId)],
      directIo: wantsDirectIo(facts, memory),
      describesRoot: !facts.rootImplied,
    };
    if (facts.rootOpaque) parts = [];
    parts.push(layer);
    if (layer.describesRoot) root = layer;
    if (!mayNeedPatch(facts) || number === 0) return;
    chains ??= chainIds(diffIds);
    const patch = patchPart(store, chains[number]!);
    if (patch !== undefined) parts.push(patch);
  });
  return { parts: withoutRepeats(parts), root };
}

/** The kernel mounts whatever it is given, and a tar that was cut short shows only where its end is read. */
function checkLength(store: Store, diffId: Digest, want: number): void {
  const got = store.blobSize(diffId);
  if (got === want || got === undefined) return;
  throw new ImagoError('LAYER_DAMAGED', "a layer's tar is not as long as it was", {
    path: layerTarPath(store, diffId),
    want: `${want} bytes`,
    got,
    remedy: "'imago verify' says what it belongs to and how to get it back",
  });
}

/**
 * Images do hold a layer several times (an empty one, mostly), but an overlay takes no directory twice (ELOOP). The
 * topmost is enough: what the layer brings or hides, it brings and hides there again.
 */
function withoutRepeats(parts: StackPart[]): StackPart[] {
  const last = new Map(parts.map((part, i) => [part.name, i]));
  return parts.filter((part, i) => last.get(part.name) === i);
}

/** Bytes; of the mean file. */
const LARGE_FILES = 1 << 20;

/**
 * EROFS over files keeps a file's pages twice, as its own and as the tar's. With direct I/O only once, so that a
 * 150 MB program stays cached under a limit of 200 MB (10 ms a read against 100). Where there is room for both, a
 * program of that size starts cold in 0.8 of the time without; and 34,000 small files take 2.0 s cold against 4.6, as
 * with direct I/O nothing is read ahead from one to the next.
 */
function wantsDirectIo(facts: LayerFacts, memory = Number.POSITIVE_INFINITY): boolean {
  // Twice, and as much again for what the program itself takes.
  return facts.files > 0 && facts.bytes / facts.files >= LARGE_FILES && memory < 4 * facts.bytes;
}

function patchPart(store: Store, chainId: Digest): StackPart | undefined {
  const record = readPatchRecord(store, chainId);
  if (record === undefined) throw notPrepared(chainId);
  if (!record.needed) return undefined;
  const directory = store.chainDirectory(chainId);
  return {
    name: `p-${digestHex(chainId)}`,
    directory,
    index: join(directory, PATCH_INDEX),
    tars: record.devices.map((device) => layerTarPath(store, device)),
    describesRoot: false,
  };
}

export function notPrepared(part: string): ImagoError {
  return new ImagoError('NOT_PREPARED', 'a layer was not made ready for mounting', { op: 'mount', ref: part });
}
