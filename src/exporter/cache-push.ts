import type { Digest } from '../core/digest.ts';
import { isImagoError } from '../core/errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { layerKind } from '../oci/media-types.ts';
import { parseReference, type Reference } from '../oci/reference.ts';
import type { Repository } from '../registry/client/repository.ts';
import type { CompressionForm } from '../store/compression-form.ts';
import { origins } from '../store/origins.ts';
import type { Store } from '../store/store.ts';
import { pushLayer } from '../transfer/push-layer.ts';
import type { Registries } from '../transfer/push-registries.ts';
import { type CacheSink, storedLayer } from './cache-export.ts';

export interface CachePush {
  store: Store;
  registries: Registries;
  target: Repository;
  reference: Reference;
  compression: CompressionForm | undefined;
  signal?: AbortSignal;
}

/** A cache in a registry. What is there is not sent again, and what another of its repositories has is mounted. */
export function registrySink(push: CachePush): CacheSink {
  const { target, reference, signal } = push;
  const name = reference.digest ?? reference.tag ?? 'latest';
  return {
    putLayer: (diffId, ended) => putLayer(push, diffId, ended),
    async putDocument(bytes, { digest, size }) {
      if ((await target.headBlob(digest, { signal })) !== undefined) return;
      await target.uploadBlob({ digest, size }, (offset) => once(bytes.subarray(offset)), { signal });
    },
    async finish(bytes, { digest, mediaType }) {
      if ((await target.headManifest(name, { signal }))?.digest === digest) return false;
      await target.putManifest(name, bytes, mediaType, { signal });
      return true;
    },
  };
}

async function putLayer(push: CachePush, diffId: Digest, signal: AbortSignal): Promise<Descriptor> {
  const { store, registries, target, compression } = push;
  const context = { store, registries, target, compression, signal };
  const known = compression === undefined ? knownForm(store, diffId, target.name) : undefined;
  if (known !== undefined) {
    try {
      return await pushLayer(context, { diffId, descriptor: known, ours: true });
    } catch (error) {
      // The registry that had it lost it: it is compressed anew.
      if (!isImagoError(error, 'LAYER_BYTES_GONE')) throw error;
    }
  }
  return pushLayer(context, { diffId, descriptor: storedLayer(store, diffId), ours: true });
}

/** The compressed form that this very repository has, or else one that its registry has and can mount. */
function knownForm(store: Store, diffId: Digest, target: string): Descriptor | undefined {
  const { domain } = parseReference(target);
  const forms = origins(store, diffId).filter(({ mediaType }) => layerKind(mediaType)?.foreign === false);
  const found =
    forms.findLast(({ repositories }) => repositories.includes(target)) ??
    forms.findLast(({ repositories }) => repositories.some((name) => parseReference(name).domain === domain));
  return found && { mediaType: found.mediaType, digest: found.digest, size: found.size };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}
