import { byteString } from '../core/bytes.ts';
import { ImagoError, isImagoError } from '../core/errors.ts';
import { ingestLayer } from '../store/ingest-layer.ts';
import { stepKey } from './cache.ts';
import type { ImageFiles } from './context/image-source.ts';
import { type LayerContext, type LayerStep, timeText } from './copy/copy.ts';
import { resolveOwner } from './copy/owner.ts';
import { Placement } from './copy/place.ts';
import { ChunkWriter, finishTar, writeMembers } from './copy/stream.ts';
import { diffIds, runConfig, type StageState } from './state.ts';

/** The layer of the directories that WORKDIR has to make; none where it is there. They belong to USER. */
export async function executeWorkdir(
  path: string,
  state: StageState,
  files: ImageFiles,
  { store, lease, cache, noCache, now, epoch, signal }: LayerContext,
): Promise<LayerStep> {
  if (path === '/') return { cached: true, layer: null, created: state.created };
  const user = runConfig(state).User ?? '';
  const key = stepKey(['WORKDIR', diffIds(state), path, user, epoch]);
  const hit = noCache ? undefined : await cache.find(key);
  if (hit !== undefined) return { ...hit, cached: true };
  const owner = user === '' ? { uid: 0, gid: 0 } : resolveOwner(user, () => files);
  const placement = new Placement(files, { now });
  try {
    placement.makeDirectories(byteString(path), { ...owner, mode: 0o755 });
  } catch (error) {
    if (!isImagoError(error, 'NOT_A_DIRECTORY')) throw error;
    throw new ImagoError(error.code, `${path} cannot be the working directory: it is no directory in the image`, {
      remedy: 'name another, or remove it in a RUN before',
      cause: error,
    });
  }
  const created = timeText(now);
  if (!placement.changes) {
    cache.set(key, '', { layer: null, created });
    return { cached: false, layer: null, created };
  }
  const tar = (async function* () {
    const out = new ChunkWriter();
    yield* writeMembers(out, placement.take(), new Map());
    yield* finishTar(out);
  })();
  const { diffId: layer } = await ingestLayer(store, lease, tar, { signal });
  cache.set(key, '', { layer, created });
  return { cached: false, layer, created };
}
