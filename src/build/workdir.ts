import { byteString } from '../core/bytes.ts';
import { ingestLayer } from '../store/ingest-layer.ts';
import { stepKey } from './cache.ts';
import type { LayerContext, LayerStep } from './copy.ts';
import type { ImageFiles } from './image-source.ts';
import { resolveOwner } from './owner.ts';
import { Placement } from './place.ts';
import { diffIds, runConfig, type StageState } from './state.ts';
import { ChunkWriter, finishTar, writeMembers } from './stream.ts';

/** The layer of the directories that WORKDIR has to make; none where it is there. They belong to USER. */
export async function executeWorkdir(
  path: string,
  state: StageState,
  files: ImageFiles,
  { store, lease, cache, noCache, now, signal }: LayerContext,
): Promise<LayerStep> {
  if (path === '/') return { cached: true, diffId: undefined };
  const user = runConfig(state).User ?? '';
  const key = stepKey(['WORKDIR', diffIds(state), path, user]);
  const hit = noCache ? undefined : cache.get(key);
  if (hit !== undefined) return { cached: true, diffId: hit.layer ?? undefined };
  const owner = user === '' ? { uid: 0, gid: 0 } : resolveOwner(user, () => files);
  const placement = new Placement(files.tree, { now });
  placement.makeDirectories(byteString(path), { ...owner, mode: 0o755 });
  if (!placement.changes) {
    cache.set(key, '', { layer: null });
    return { cached: false, diffId: undefined };
  }
  const tar = (async function* () {
    const out = new ChunkWriter();
    yield* writeMembers(out, placement.take(), new Map());
    yield* finishTar(out);
  })();
  const { diffId } = await ingestLayer(store, lease, tar, { signal });
  cache.set(key, '', { layer: diffId });
  return { cached: false, diffId };
}
