import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { readImage, readManifest } from '../image/image.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { encodeJson } from '../oci/json.ts';
import { isConfigType, MEDIA_TYPES } from '../oci/media-types.ts';
import { formatReference, parseReference } from '../oci/reference.ts';
import type { ClientOptions } from '../registry/client/types.ts';
import { digestOf } from '../store/blobs.ts';
import type { Store } from '../store/store.ts';
import { getList, type ListSource, putList, removeList } from './manifest-list.ts';
import { type PushedManifest, pushBlob, pushImage } from './push-image.ts';
import { pushIndex } from './push-index.ts';
import type { PushContext } from './push-layer.ts';
import { Registries } from './push-registries.ts';
import { pushWhole } from './push-whole.ts';
import { copyManifest } from './remote-copy.ts';

export interface PushListOptions extends ClientOptions {
  /** Take the list away here once it is pushed. */
  purge?: boolean;
  /** A manifest is in the target repository: the name it came from, and its digest there. */
  onManifest?: (name: string, digest: Digest) => void;
}

export interface PushedList {
  /** In full. */
  reference: string;
  digest: Digest;
}

/**
 * Pushes a list and what it names: a registry wants the manifests of an index in the index's own repository. Those that
 * are there already are not sent; those of another repository or registry are mounted or copied byte for byte; those of
 * this store are pushed as `push` does, which compresses layers that never were. The list here then has their new digests.
 * Throws `NO_SUCH_LIST`, `EMPTY_LIST`, and what the registry's client throws.
 */
export async function pushList(store: Store, name: string, options: PushListOptions = {}): Promise<PushedList> {
  const { purge = false, onManifest, ...client } = options;
  const list = getList(store, name);
  const { reference, index } = list;
  if (index.manifests.length === 0) {
    throw new ImagoError('EMPTY_LIST', 'the manifest list is empty', {
      remedy: "add to it with 'imago manifest create --amend'",
    });
  }
  using lease = store.lease('manifest push');
  const before = digestOf(encodeJson(index));
  lease.add(before);
  using registries = new Registries(client);
  await using target = registries.openTarget(reference);
  const context: PushContext = { store, registries, target, signal: client.signal };
  const sources = new Map(list.sources);
  const { manifests, bytes } = await pushWhole(async () => {
    const manifests: Descriptor[] = [];
    for (const child of index.manifests) {
      const source = list.sources.get(child.digest);
      const pushed = await pushChild(context, child, source);
      if (pushed !== undefined) {
        store.putBlob(lease, pushed.bytes);
        sources.delete(child.digest);
        if (source !== undefined) sources.set(pushed.descriptor.digest, source);
      }
      manifests.push({ ...child, ...pushed?.descriptor });
      onManifest?.(source?.name ?? child.digest, manifests.at(-1)!.digest);
    }
    const bytes = encodeJson({ ...index, manifests });
    await target.putManifest(reference.tag!, bytes, MEDIA_TYPES.index, { signal: client.signal });
    return { manifests, bytes };
  });
  const digest = digestOf(bytes);
  if (purge) await removeList(store, name);
  // Another command may have changed it meanwhile.
  else if (digest !== before && store.getRef(formatReference(reference))?.digest === before) {
    putList(store, { reference, index: { ...index, manifests }, sources });
  }
  return { reference: formatReference(reference), digest };
}

/** What the target has in its place; undefined where that is the very manifest. */
async function pushChild(
  context: PushContext,
  child: Descriptor,
  source: ListSource | undefined,
): Promise<PushedManifest | undefined> {
  const { registries, target, signal } = context;
  if ((await target.headManifest(child.digest, { signal })) !== undefined) return undefined;
  if (source?.repository !== undefined) {
    const [from, to] = [source.repository, target.name].map((name) => parseReference(name, { defaultTag: false }));
    const mountFrom = from!.domain === to!.domain ? from!.path : undefined;
    await copyManifest(registries.open(from!), target, child.digest, { mountFrom, signal });
    return undefined;
  }
  const pushed = await pushLocal(context, child);
  return pushed?.descriptor.digest === child.digest ? undefined : pushed;
}

async function pushLocal(context: PushContext, child: Descriptor): Promise<PushedManifest | undefined> {
  const { store, target, signal } = context;
  const parsed = readManifest(store, child);
  if (parsed.kind === 'index') {
    const pushed = await pushIndex(context, child, undefined);
    if (pushed !== undefined) return pushed;
    throw new ImagoError('BLOB_MISSING', 'an index inside of the list is not here whole', { ref: child.digest });
  }
  const { config, layers } = parsed.value;
  if (isConfigType(config.mediaType)) return await pushImage(context, readImage(store, child), undefined);
  for (const blob of [config, ...layers]) await pushBlob(context, blob);
  await target.putManifest(child.digest, parsed.bytes, parsed.mediaType, { signal });
  return undefined;
}
