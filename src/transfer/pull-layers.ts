import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { runTogether } from '../core/limit.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Repository } from '../registry/client/repository.ts';
import { ingestLayer } from '../store/ingest-layer.ts';
import { hasLayer } from '../store/layers.ts';
import type { Lease } from '../store/lease.ts';
import { addOrigin } from '../store/origins.ts';
import type { Store } from '../store/store.ts';
import type { OnPullEvent } from './pull-events.ts';

export interface PullLayersOptions {
  /** How errors call the image. */
  name: string;
  keepBlobs?: boolean;
  signal?: AbortSignal;
  onEvent?: OnPullEvent;
  /** What came into the store. */
  onStored?: (digest: Digest) => void;
}

interface WantedLayer {
  /** As it travels. */
  descriptor: Descriptor;
  diffId: Digest;
}

/** As Docker's `max-concurrent-downloads`. */
const AT_ONCE = 3;

/**
 * Brings the layers of an image in, three at a time and the largest first. Those that are here are not fetched: that
 * the repository has them, and how, is remembered. True where at least one was fetched.
 */
export async function pullLayers(
  store: Store,
  lease: Lease,
  repository: Repository,
  layers: readonly WantedLayer[],
  options: PullLayersOptions,
): Promise<boolean> {
  const unique = [...new Map(layers.map((layer) => [`${layer.descriptor.digest} ${layer.diffId}`, layer])).values()];
  const missing: WantedLayer[] = [];
  const { onEvent } = options;
  for (const layer of unique) {
    const { digest } = layer.descriptor;
    if (isHere(store, lease, layer, options.keepBlobs ?? false)) {
      noteOrigin(store, repository, layer);
      onEvent?.({ type: 'layer', digest, status: 'exists' });
    } else {
      missing.push(layer);
      onEvent?.({ type: 'layer', digest, status: 'pulling' });
    }
  }
  missing.sort((a, b) => b.descriptor.size - a.descriptor.size);
  for (const { descriptor } of missing.slice(AT_ONCE)) {
    onEvent?.({ type: 'layer', digest: descriptor.digest, status: 'waiting' });
  }
  const pull = (layer: WantedLayer, signal: AbortSignal): Promise<void> =>
    pullLayer(store, lease, repository, layer, { ...options, signal });
  // Until all have ended, so that nothing is being written any more.
  await runTogether(missing, pull, { signal: options.signal, atOnce: AT_ONCE });
  return missing.length > 0;
}

function isHere(store: Store, lease: Lease, { descriptor, diffId }: WantedLayer, keepBlobs: boolean): boolean {
  lease.add(diffId);
  if (!hasLayer(store, diffId)) return false;
  if (!keepBlobs || descriptor.digest === diffId) return true;
  lease.add(descriptor.digest);
  return store.hasBlob(descriptor.digest);
}

function noteOrigin(store: Store, repository: Repository, { descriptor, diffId }: WantedLayer): void {
  const { digest, size, mediaType } = descriptor;
  // An uncompressed layer's bytes are the tar itself.
  if (digest === diffId) return;
  addOrigin(store, diffId, { digest, size, mediaType, repository: repository.name });
}

async function pullLayer(
  store: Store,
  lease: Lease,
  repository: Repository,
  layer: WantedLayer,
  { name, keepBlobs, signal, onEvent, onStored }: PullLayersOptions,
): Promise<void> {
  const { descriptor, diffId } = layer;
  const { digest, size, mediaType } = descriptor;
  const source = {
    openAt: (offset: number, stop?: AbortSignal) => repository.readBlob(descriptor, { offset, signal: stop ?? signal }),
  };
  try {
    const result = await ingestLayer(store, lease, source, {
      expect: { digest, size, diffId },
      mediaType,
      repository: repository.name,
      keepBlob: keepBlobs,
      signal,
      onProgress:
        onEvent &&
        ((done) =>
          onEvent({ type: 'layer', digest, status: done === size ? 'downloaded' : 'downloading', done, total: size })),
    });
    if (result.existed) noteOrigin(store, repository, layer);
    else onStored?.(diffId);
    if (keepBlobs && result.compressed !== undefined) onStored?.(digest);
    onEvent?.({ type: 'layer', digest, status: 'complete' });
  } catch (error) {
    throw explainLayer(error, name, digest);
  }
}

/** The store's errors know nothing of images; the client's name theirs themselves. */
function explainLayer(error: unknown, name: string, digest: Digest): unknown {
  if (!(error instanceof ImagoError) || error.details.ref !== undefined || error.code === 'DISK_FULL') return error;
  const explained = new ImagoError(error.code, `${name}, layer ${digest}: ${error.message}`, { cause: error });
  return Object.assign(explained, {
    details: { ...error.details, op: 'pull', ref: `${name}@${digest}`, cause: error },
  });
}
