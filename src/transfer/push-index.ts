import type { Digest } from '../core/digest.ts';
import { isImagoError } from '../core/errors.ts';
import { presentManifests, readImage, readManifest } from '../image/image.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { encodeJson } from '../oci/json.ts';
import { parseManifest } from '../oci/manifest.ts';
import { isConfigType } from '../oci/media-types.ts';
import { parseReference } from '../oci/reference.ts';
import type { Repository } from '../registry/client/repository.ts';
import { digestOf } from '../store/blobs.ts';
import { hasLayer } from '../store/layers.ts';
import { origins } from '../store/origins.ts';
import type { Store } from '../store/store.ts';
import { type PushedManifest, pushBlob, pushImage } from './push-image.ts';
import type { PushContext } from './push-layer.ts';

/** Indexes inside of indexes, and manifests below one. */
const DEEPEST = 4;
const MOST_CHILDREN = 256;

/**
 * Pushes an index with all that it names, where that costs no download: what is not here must be at the target, or in
 * another repository of the same registry, from where it is mounted. Undefined where that cannot be: then nothing was
 * named at the target. Children that are pushed in another form than the index says get a new index.
 */
export async function pushIndex(
  context: PushContext,
  index: Descriptor,
  tag: string | undefined,
): Promise<PushedManifest | undefined> {
  const siblings = siblingRepositories(context, index);
  return await new IndexPush(context, siblings).push(index, tag, 0);
}

class IndexPush {
  readonly #context: PushContext;
  readonly #siblings: Repository[];

  constructor(context: PushContext, siblings: Repository[]) {
    this.#context = context;
    this.#siblings = siblings;
  }

  async push(index: Descriptor, tag: string | undefined, depth: number): Promise<PushedManifest | undefined> {
    const { store, target, signal } = this.#context;
    const parsed = readManifest(store, index);
    const children = parsed.kind === 'index' ? parsed.value.manifests : [];
    if (depth >= DEEPEST || children.length > MOST_CHILDREN || parsed.kind !== 'index') return undefined;
    const plan: { child: Descriptor; here: boolean; from: Repository | undefined }[] = [];
    for (const child of children) {
      if ((await target.headManifest(child.digest, { signal })) !== undefined) continue;
      const here = this.#isWhole(child);
      const from = here ? undefined : await this.#find(child);
      if (!here && from === undefined) return undefined;
      plan.push({ child, here, from });
    }
    // First what may turn out not to be had after all.
    for (const { child, from } of plan)
      if (from !== undefined && !(await this.#takeOver(child, from, depth))) return undefined;
    const replaced = new Map<string, Descriptor>();
    for (const { child, here } of plan) {
      if (!here) continue;
      const pushed = await this.#pushChild(child, depth);
      if (pushed === undefined) return undefined;
      replaced.set(child.digest, pushed.descriptor);
    }
    const manifests = children.map((child) => ({ ...child, ...replaced.get(child.digest) }));
    const same = manifests.every(({ digest }, i) => digest === children[i]!.digest);
    const bytes = same ? store.readBlob(index.digest, { verify: true }) : encodeJson({ ...parsed.value, manifests });
    const descriptor = {
      mediaType: parsed.mediaType,
      digest: same ? index.digest : digestOf(bytes),
      size: bytes.length,
    };
    await target.putManifest(tag ?? descriptor.digest, bytes, descriptor.mediaType, { signal });
    return { descriptor, bytes };
  }

  /** All of it can be pushed from here. Compressed layers may have to be fetched: those of an image that was pulled. */
  #isWhole(child: Descriptor): boolean {
    const { store } = this.#context;
    if (!store.hasBlob(child.digest)) return false;
    try {
      const parsed = readManifest(store, child);
      if (parsed.kind === 'index') return true;
      if (!store.hasBlob(parsed.value.config.digest)) return false;
      if (!isConfigType(parsed.value.config.mediaType) || presentManifests(store, [child]).length === 0) {
        return parsed.value.layers.every((layer) => store.hasBlob(layer.digest));
      }
      const { diffIds } = readImage(store, child);
      return diffIds.every((diffId) => hasLayer(store, diffId));
    } catch (error) {
      if (isImagoError(error)) return false;
      throw error;
    }
  }

  async #find(child: Descriptor): Promise<Repository | undefined> {
    for (const repository of this.#siblings) {
      try {
        const found = await repository.headManifest(child.digest, { signal: this.#context.signal });
        if (found !== undefined) return repository;
      } catch (error) {
        // Not for this user, say: it is one place less.
        if (!isImagoError(error)) throw error;
      }
    }
    return undefined;
  }

  /** From a repository of the same registry: the manifest travels, the blobs do not. False where they would have to. */
  async #takeOver(child: Descriptor, from: Repository, depth: number): Promise<boolean> {
    const { target, signal } = this.#context;
    const { bytes } = await from.getManifest(child.digest, { signal });
    const parsed = parseManifest(bytes, { mediaType: child.mediaType, digest: child.digest });
    if (parsed.kind === 'index') {
      if (depth + 1 >= DEEPEST || parsed.value.manifests.length > MOST_CHILDREN) return false;
      for (const inner of parsed.value.manifests) {
        const there = (await target.headManifest(inner.digest, { signal })) !== undefined;
        if (!there && !(await this.#takeOver(inner, from, depth + 1))) return false;
      }
    } else {
      const { path } = parseReference(from.name);
      for (const blob of [parsed.value.config, ...parsed.value.layers]) {
        if ((blob.urls?.length ?? 0) > 0) continue;
        if ((await target.headBlob(blob.digest, { signal })) !== undefined) continue;
        if (!(await target.mountBlob(blob.digest, path, { signal }))) return false;
      }
    }
    await target.putManifest(child.digest, bytes, parsed.mediaType, { signal });
    return true;
  }

  async #pushChild(child: Descriptor, depth: number): Promise<PushedManifest | undefined> {
    const { store, target, signal } = this.#context;
    const parsed = readManifest(store, child);
    if (parsed.kind === 'index') return await this.push(child, undefined, depth + 1);
    if (presentManifests(store, [child]).length > 0 && isConfigType(parsed.value.config.mediaType)) {
      return await pushImage(this.#context, readImage(store, child), undefined);
    }
    for (const blob of [parsed.value.config, ...parsed.value.layers]) await pushBlob(this.#context, blob);
    const bytes = store.readBlob(child.digest, { verify: true });
    await target.putManifest(child.digest, bytes, parsed.mediaType, { signal });
    return { descriptor: child, bytes };
  }
}

/** Of the target's registry: those that the image came from, by its references and by its layers. */
function siblingRepositories({ store, registries, target }: PushContext, index: Descriptor): Repository[] {
  const { domain } = parseReference(target.name);
  const names = new Set<string>();
  for (const { reference, descriptor } of store.listRefs()) {
    if (descriptor.digest !== index.digest || reference.startsWith('<')) continue;
    const { domain: at, path } = parseReference(reference, { defaultTag: false });
    names.add(`${at}/${path}`);
  }
  const { manifests } = readIndex(store, index);
  for (const diffId of presentManifests(store, manifests).flatMap((child) => layersOf(store, child))) {
    for (const { repositories } of origins(store, diffId)) for (const name of repositories) names.add(name);
  }
  names.delete(target.name);
  return [...names]
    .filter((name) => parseReference(name).domain === domain)
    .slice(0, 8)
    .map((name) => registries.named(name));
}

function layersOf(store: Store, child: Descriptor): Digest[] {
  try {
    return readImage(store, child).diffIds;
  } catch (error) {
    // No image, or a part of one is missing: it tells nothing.
    if (isImagoError(error)) return [];
    throw error;
  }
}

function readIndex(store: Store, index: Descriptor): { manifests: Descriptor[] } {
  const parsed = readManifest(store, index);
  return parsed.kind === 'index' ? parsed.value : { manifests: [] };
}
