import { closeSync, existsSync, mkdirSync, openSync, readFileSync, readSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '../core/digest.ts';
import type { Patch } from '../formats/erofs/patch.ts';
import { chainIds } from '../oci/chain.ts';
import { Ingest } from '../store/ingest.ts';
import { readLayerEntries } from '../store/layer-entries.ts';
import { layerRecord, layerTarPath } from '../store/layers.ts';
import type { Store } from '../store/store.ts';
import { syncDirectory } from '../system/atomic.ts';
import { applyLayer } from '../tree/merge.ts';
import { newTree, type TreeNode } from '../tree/node.ts';
import { listPatch, mayNeedPatch, planPatch } from './patch-tree.ts';

export const PATCH_INDEX = 'patch.erofs';
const PATCH_RECORD = 'patch.json';

/** chains/<chainid>/patch.json: written last, so that what it names is there. */
export interface PatchRecord {
  /** False where the stack shows the right tree without a patch. */
  needed: boolean;
  /** Layers whose tars are the patch's devices, in slot order. */
  devices: Digest[];
}

/** Undefined where it was not looked into yet. */
export function readPatchRecord(store: Store, chainId: Digest): PatchRecord | undefined {
  let text: string;
  try {
    text = readFileSync(join(store.chainDirectory(chainId), PATCH_RECORD), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return JSON.parse(text) as PatchRecord;
  } catch {
    // Made again: it is a function of the layers.
    return undefined;
  }
}

/** Numbers of the layers of a stack that may need a patch right above them. The lowest may where it is broken. */
export function patchCandidates(store: Store, diffIds: readonly Digest[]): number[] {
  return diffIds.flatMap((diffId, number) => {
    const { facts } = layerRecord(store, diffId);
    return mayNeedPatch(facts) && (number > 0 || facts.lowerLinks.length > 0) ? [number] : [];
  });
}

/** A patch as the layers give it, undefined where none is needed; with the tree that it was made of. */
export interface PlannedPatch {
  chainId: Digest;
  tree: TreeNode | undefined;
  /** Not called unless the bytes are needed. */
  build(): Promise<Patch | undefined>;
}

/**
 * What each of `numbers` (ascending layer numbers) needs above it, from the layers' tars; nothing is written.
 * Throws `BAD_HARDLINK` for a link to what is in no layer.
 */
export function planPatches(store: Store, diffIds: readonly Digest[], numbers: readonly number[]): PlannedPatch[] {
  const chains = chainIds(diffIds);
  const merged = newTree();
  const out: PlannedPatch[] = [];
  const last = numbers.at(-1) ?? -1;
  for (let number = 0; number <= last; number++) {
    applyLayer(merged, readLayerEntries(store, diffIds[number]!), number);
    if (!numbers.includes(number)) continue;
    const tree = planPatch(merged, layerRecord(store, diffIds[number]!).facts);
    const chainId = chains[number]!;
    // Now, not later: the next layer changes the nodes of files' directories in place.
    const parts = tree === undefined ? undefined : listPatch(tree);
    out.push({
      chainId,
      tree,
      async build() {
        if (parts === undefined) return undefined;
        const { buildPatch } = await import('../formats/erofs/patch.ts');
        for (const link of parts.links) link.source = withTail(store, diffIds[link.layer]!, link.source);
        const layers = diffIds.map((diffId) => ({ diffId, tarSize: layerRecord(store, diffId).tarSize }));
        return buildPatch({ chainId, layers, ...parts });
      },
    });
  }
  return out;
}

/**
 * The patch of a whole stack, as it should be in the store: undefined where none belongs there. For `verify`, which
 * compares it with what is there; a missing or damaged one is mended by deleting the chain's directory.
 */
export async function regeneratePatch(store: Store, diffIds: readonly Digest[]): Promise<Patch | undefined> {
  const number = diffIds.length - 1;
  if (!patchCandidates(store, diffIds).includes(number)) return undefined;
  return planPatches(store, diffIds, [number])[0]!.build();
}

/** Stores what was planned: patch.erofs where one is needed, and the record. Another command may have been first. */
export async function storePatch(store: Store, planned: PlannedPatch): Promise<void> {
  const patch = await planned.build();
  using ingest = Ingest.create(store, 'patch');
  const directory = ingest.path('chain');
  mkdirSync(directory, { mode: 0o700 });
  if (patch !== undefined) ingest.writeFile(`chain/${PATCH_INDEX}`, patch.image);
  const record: PatchRecord = { needed: patch !== undefined, devices: patch?.devices ?? [] };
  ingest.writeFile(`chain/${PATCH_RECORD}`, `${JSON.stringify(record)}\n`);
  syncDirectory(directory);
  const target = store.chainDirectory(planned.chainId);
  // A directory without a readable record is what a crash or damage left.
  if (existsSync(target) && readPatchRecord(store, planned.chainId) === undefined) {
    rmSync(target, { recursive: true, force: true });
  }
  try {
    renameSync(directory, target);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
  }
  syncDirectory(join(store.root, 'chains'));
}

/** A member with what only a reader of its data knows: the bytes before padding that is not all zero. */
function withTail(store: Store, diffId: Digest, entry: PlannedSource): PlannedSource {
  const partial = entry.dataSize % 512;
  if (entry.type !== 'file' || partial === 0) return entry;
  const fd = openSync(layerTarPath(store, diffId), 'r');
  try {
    const block = Buffer.alloc(512);
    const got = readSync(fd, block, 0, 512, entry.dataOffset + entry.dataSize - partial);
    if (got === 512 && block.subarray(partial).every((byte) => byte === 0)) return entry;
    return { ...entry, dirtyPadding: true, tail: Uint8Array.from(block.subarray(0, partial)) };
  } finally {
    closeSync(fd);
  }
}

type PlannedSource = NonNullable<TreeNode['entry']>;
