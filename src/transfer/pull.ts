import { Readable } from 'node:stream';
import { type Digest, digestAlgorithm, isDigest } from '../core/digest.ts';
import { ImagoError, isImagoError } from '../core/errors.ts';
import { defaultPlatform, type Image, readImage } from '../image/image.ts';
import { tagImage } from '../image/tags.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { type Platform, parsePlatform } from '../oci/platform.ts';
import { familiarReference, formatReference, parseReference, type Reference } from '../oci/reference.ts';
import { openRepository, type Repository } from '../registry/client/repository.ts';
import type { ClientOptions } from '../registry/client/types.ts';
import { discard } from '../snapshot/discard.ts';
import { hasLayer } from '../store/layers.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import type { OnPullEvent } from './pull-events.ts';
import { findImage, type RemoteImage } from './pull-find.ts';
import { pullLayers } from './pull-layers.ts';

export interface PullOptions extends ClientOptions {
  /** Of an index, the one to take; `os/architecture[/variant]`. Default: this machine's. */
  platform?: Platform | string;
  /** Keep the compressed layers too, so that a push or a save need not fetch them again. */
  keepBlobs?: boolean;
  onEvent?: OnPullEvent;
}

export interface PulledImage {
  /** In full: docker.io/library/debian:bookworm. */
  reference: string;
  /** What the reference stands for now. */
  descriptor: Descriptor;
  /** Digest of the image's config. */
  id: Digest;
  /** False where all of it was here, under this name. */
  changed: boolean;
}

/**
 * Brings an image of a registry into the store, by tag or by digest (which wins where there are both). The reference
 * is set at the end, to exactly what the registry has under it: of an index the wanted platform alone comes in.
 *
 * Where the registry sends what was not promised, nothing is left. A pull that was interrupted (the signal, the
 * network, a kill) leaves the layers that are ready and the bytes that have come, as garbage that the next pull uses.
 *
 * Throws `BAD_REFERENCE`, what `findImage` and `ingestLayer` throw, and the client's errors.
 */
export async function pullImage(store: Store, name: string, options: PullOptions = {}): Promise<PulledImage> {
  const reference = parseReference(name);
  await using repository = openRepository(reference, clientOptions(options));
  return await pullReference(store, repository, reference, options);
}

/** Every tag of a repository, one after the other. Throws `BAD_REFERENCE` where the name has a tag, as `pullImage` else. */
export async function pullAllTags(store: Store, name: string, options: PullOptions = {}): Promise<PulledImage[]> {
  const { domain, path, tag, digest } = parseReference(name, { defaultTag: false });
  if (tag !== undefined || digest !== undefined) {
    throw new ImagoError('BAD_REFERENCE', "tag can't be used with --all-tags/-a", { got: JSON.stringify(name) });
  }
  await using repository = openRepository({ domain, path }, clientOptions(options));
  const tags: string[] = [];
  for await (const tag of repository.listTags()) tags.push(tag);
  const out: PulledImage[] = [];
  for (const tag of tags) out.push(await pullReference(store, repository, { domain, path, tag }, options));
  return out;
}

/** What the client tells goes where the pull's own events go. */
function clientOptions(options: PullOptions): ClientOptions {
  const { onEvent, onRetry } = options;
  return {
    ...options,
    onRetry: (event) => {
      onRetry?.(event);
      const digest = /\/blobs\/([a-z0-9]+:[0-9a-f]+)/.exec(event.url)?.[1];
      onEvent?.({ type: 'retry', digest: digest !== undefined && isDigest(digest) ? digest : undefined, ...event });
    },
  };
}

async function pullReference(
  store: Store,
  repository: Repository,
  reference: Reference,
  options: PullOptions,
): Promise<PulledImage> {
  const { domain, path, tag, digest } = reference;
  const wanted = digest ?? tag!;
  // The digest says all.
  const named: Reference = digest === undefined ? reference : { domain, path, digest };
  const before = await findUnchanged(store, repository, formatReference(named), wanted, options);
  const pulled = before ?? (await fetchImage(store, repository, named, wanted, options));
  const { descriptor, changed } = pulled;
  if (before !== undefined) options.onEvent?.({ type: 'image', repository: path, tag: wanted });
  options.onEvent?.({ type: 'done', reference: pulled.reference, digest: descriptor.digest, changed });
  return pulled;
}

/** What the reference stands for here, where that is whole and the registry has nothing newer. */
async function findUnchanged(
  store: Store,
  repository: Repository,
  reference: string,
  wanted: string,
  options: PullOptions,
): Promise<PulledImage | undefined> {
  const descriptor = store.getRef(reference);
  if (descriptor === undefined) return undefined;
  const image = readWhole(store, descriptor, options);
  if (image === undefined) return undefined;
  // A digest's bytes never change. A HEAD does not count where pulls are counted.
  const digest = wanted.includes(':') ? wanted : (await repository.headManifest(wanted, options))?.digest;
  return digest === descriptor.digest ? { reference, descriptor, id: image.id, changed: false } : undefined;
}

function readWhole(store: Store, descriptor: Descriptor, options: PullOptions): Image | undefined {
  try {
    const image = readImage(store, descriptor, { platform: wantedPlatform(options) });
    if (!image.diffIds.every((diffId) => hasLayer(store, diffId))) return undefined;
    return options.keepBlobs && !image.manifest.layers.every(({ digest }) => store.hasBlob(digest)) ? undefined : image;
  } catch (error) {
    if (error instanceof ImagoError) return undefined;
    throw error;
  }
}

function wantedPlatform({ platform }: PullOptions): Platform {
  return typeof platform === 'string' ? parsePlatform(platform, defaultPlatform()) : (platform ?? defaultPlatform());
}

async function fetchImage(
  store: Store,
  repository: Repository,
  named: Reference,
  wanted: string,
  options: PullOptions,
): Promise<PulledImage> {
  const { keepBlobs, onEvent, signal } = options;
  const name = familiarReference(named);
  const reference = formatReference(named);
  using lease = store.lease('pull');
  const stored = new Set<Digest>();
  try {
    const image = await findImage(repository, wanted, {
      platform: wantedPlatform(options),
      strict: options.platform !== undefined,
      name,
      signal,
    });
    onEvent?.({ type: 'image', repository: named.path, tag: wanted });
    const diffIds = image.config.rootfs.diff_ids;
    const layers = image.manifest.layers.map((descriptor, i) => ({ descriptor, diffId: diffIds[i]! }));
    const onStored = (digest: Digest): unknown => stored.add(digest);
    const fetched = await pullLayers(store, lease, repository, layers, { name, keepBlobs, signal, onEvent, onStored });
    const descriptor = await writeDocuments(store, lease, image, onStored);
    signal?.throwIfAborted();
    const changed = fetched || store.getRef(reference)?.digest !== descriptor.digest;
    tagImage(store, reference, descriptor);
    return { reference, descriptor, id: image.manifest.config.digest, changed };
  } catch (error) {
    lease.close();
    if (!isInterruption(error, signal)) await discard(store, stored);
    throw error;
  }
}

/** The registry did not send anything wrong: what is here is good, and the next pull begins with it. */
const INTERRUPTIONS: ReadonlySet<string> = new Set([
  'CONNECTION_BROKEN',
  'DENIED',
  'DOWNLOAD_BROKEN',
  'PROXY_FAILED',
  'REGISTRY_ERROR',
  'REGISTRY_UNREACHABLE',
  'STALLED',
  'TOO_MANY_REQUESTS',
  'UNAUTHORIZED',
]);

function isInterruption(error: unknown, signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true || (isImagoError(error) && INTERRUPTIONS.has(error.code));
}

/** What is named comes before what names it. */
async function writeDocuments(
  store: Store,
  lease: Lease,
  { documents, root }: RemoteImage,
  onStored: (digest: Digest) => void,
): Promise<Descriptor> {
  for (const { bytes, digest } of documents) {
    if (digestAlgorithm(digest) === 'sha256') store.putBlob(lease, bytes);
    else await store.ingestBlob(lease, Readable.from([bytes]), { digest });
    onStored(digest);
  }
  return { mediaType: root.mediaType, digest: root.digest, size: root.bytes.length };
}
