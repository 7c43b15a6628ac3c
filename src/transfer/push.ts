import { ImagoError } from '../core/errors.ts';
import { readImage } from '../image/image.ts';
import { isUntagged } from '../image/tags.ts';
import { bareDescriptor, type Descriptor } from '../oci/descriptor.ts';
import { isIndexType } from '../oci/media-types.ts';
import type { Platform } from '../oci/platform.ts';
import {
  familiarReference,
  formatReference,
  parseReference,
  type Reference,
  repositoryName,
} from '../oci/reference.ts';
import type { ClientOptions } from '../registry/client/types.ts';
import type { CompressionForm } from '../store/compression-form.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import type { OnPushEvent } from './push-events.ts';
import { type PushedManifest, pushImage } from './push-image.ts';
import { pushIndex } from './push-index.ts';
import type { PushContext } from './push-layer.ts';
import { Registries } from './push-registries.ts';
import { pushWhole } from './push-whole.ts';

export interface PushOptions extends ClientOptions {
  /** Every tag of the repository; the name must have none. */
  allTags?: boolean;
  /** Of an index, this image alone. */
  platform?: Platform;
  /** How layers that were built, imported or loaded as plain tars are compressed. Default gzip. */
  compression?: CompressionForm;
  /** Make all layers anew: for a pulled image whose compressed layers are nowhere to be had. Its digest changes. */
  recompress?: boolean;
  onEvent?: OnPushEvent;
}

export interface PushedTag {
  /** In full. */
  reference: string;
  /** What the tag names at the registry now. */
  descriptor: Descriptor;
}

/**
 * Pushes what a name stands for to the registry that the name says. What a registry gave is pushed as it is, byte for
 * byte; layers that were made here are compressed on the way, always to the same bytes. Afterwards the name stands for
 * what is at the registry. Layers go first, tags last: a push that fails leaves no tag changed.
 *
 * Throws `NOT_TAGGED`, `BAD_REFERENCE`, `LAYER_BYTES_GONE`, `LAYER_DAMAGED`, `PLATFORM_MISMATCH`, and the client's
 * errors.
 */
export async function pushName(store: Store, name: string, options: PushOptions = {}): Promise<PushedTag[]> {
  const references = namedReferences(store, name, options.allTags ?? false);
  const { domain, path } = references[0]!;
  const { platform, compression, recompress, onEvent, signal } = options;
  using lease = store.lease('push');
  using registries = new Registries(options);
  await using target = registries.openTarget({ domain, path });
  const context: PushContext = { store, registries, target, compression, recompress, onEvent, signal };
  onEvent?.({ type: 'repository', name: target.name });
  const out: PushedTag[] = [];
  for (const reference of references) out.push(await pushTag(context, lease, reference, platform));
  return out;
}

function namedReferences(store: Store, name: string, allTags: boolean): Reference[] {
  const reference = parseReference(name, { defaultTag: !allTags });
  if (reference.digest !== undefined) {
    throw new ImagoError('BAD_REFERENCE', 'cannot push a digest reference', {
      got: name,
      remedy: 'give it a tag, and push that',
    });
  }
  const repository = repositoryName(reference);
  const tags = store
    .listRefs()
    .filter(({ reference: known }) => !isUntagged(known))
    .map(({ reference: known }) => parseReference(known, { defaultTag: false }))
    .filter((known) => known.tag !== undefined && known.digest === undefined && repositoryName(known) === repository);
  if (allTags && reference.tag !== undefined) {
    throw new ImagoError('BAD_REFERENCE', "tag can't be used with --all-tags/-a", { got: name });
  }
  if (allTags && tags.length > 0) return tags;
  if (!allTags && tags.some(({ tag }) => tag === reference.tag)) return [reference];
  // moby v28, distribution/push_v2.go and push.go.
  const summary =
    tags.length > 0
      ? `tag does not exist: ${familiarReference(reference)}`
      : `An image does not exist locally with the tag: ${repository.replace(/^docker\.io\/(?:library\/)?/, '')}`;
  throw new ImagoError('NOT_TAGGED', summary, { remedy: "'imago tag' gives an image the name that it is pushed to" });
}

async function pushTag(
  context: PushContext,
  lease: Lease,
  reference: Reference,
  platform: Platform | undefined,
): Promise<PushedTag> {
  const { store, onEvent } = context;
  const full = formatReference(reference);
  const named = store.getRef(full);
  if (named === undefined) throw new ImagoError('NOT_TAGGED', `tag does not exist: ${familiarReference(reference)}`);
  lease.add(named.digest);
  const pushed = await pushWhole(() => pushTarget(context, named, reference, platform));
  remember(store, lease, reference, named, pushed);
  const { digest, size } = pushed.descriptor;
  onEvent?.({ type: 'done', reference: full, tag: reference.tag!, digest, size });
  return { reference: full, descriptor: pushed.descriptor };
}

async function pushTarget(
  context: PushContext,
  named: Descriptor,
  reference: Reference,
  platform: Platform | undefined,
): Promise<PushedManifest> {
  const { store, onEvent } = context;
  if (isIndexType(named.mediaType) && platform === undefined) {
    const whole = await pushIndex(context, named, reference.tag!);
    if (whole !== undefined) return whole;
  }
  const ref = familiarReference(reference);
  const image = readImage(store, named, { platform, ref });
  const pushed = await pushImage(context, image, reference.tag);
  if (isIndexType(named.mediaType)) {
    onEvent?.({ type: 'partial', reference: ref, index: named.digest, pushed: pushed.descriptor.digest });
  }
  return pushed;
}

/** The name stands for what the registry has from now on; an index that did not go whole keeps it. */
function remember(
  store: Store,
  lease: Lease,
  reference: Reference,
  named: Descriptor,
  { descriptor, bytes }: PushedManifest,
): void {
  if (descriptor.digest === named.digest) return;
  store.putBlob(lease, bytes);
  const full = formatReference(reference);
  if (isIndexType(named.mediaType) && !isIndexType(descriptor.mediaType)) {
    store.setRef(`${repositoryName(reference)}@${descriptor.digest}`, bareDescriptor(descriptor));
  } else if (store.getRef(full)?.digest === named.digest) {
    store.setRef(full, bareDescriptor(descriptor));
  }
}
