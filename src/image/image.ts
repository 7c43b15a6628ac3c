import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { chainIds } from '../oci/chain.ts';
import { type ImageConfig, parseConfig } from '../oci/config.ts';
import { bareDescriptor, type Descriptor } from '../oci/descriptor.ts';
import { type ImageManifest, type ParsedManifest, parseImageManifest, parseManifest } from '../oci/manifest.ts';
import { isConfigType, isIndexType } from '../oci/media-types.ts';
import { formatPlatform, hostPlatform, matchPlatform, type Platform, selectPlatform } from '../oci/platform.ts';
import type { Store } from '../store/store.ts';
import { referencesTo } from './tags.ts';

/** One image of one platform, as it is in the store. */
export interface Image {
  /** Digest of the config: what Docker calls the image ID. */
  id: Digest;
  /** The manifest, by media type, digest and size. */
  descriptor: Descriptor;
  /** What the reference names: the manifest itself, or the index that has it. */
  target: Descriptor;
  manifest: ImageManifest;
  config: ImageConfig;
  platform: Platform;
  /** The lowest first. */
  diffIds: Digest[];
  /** One for each layer; made when asked for. */
  readonly chainIds: Digest[];
  /** All tags of this image in full, sorted. Read from the store when asked for. */
  readonly references: string[];
}

export function readManifest(store: Store, descriptor: Descriptor): ParsedManifest {
  const { digest, mediaType } = descriptor;
  return parseStored(store, digest, (bytes) => parseManifest(bytes, { digest, mediaType }));
}

/** Documents are checked before they are stored: one that cannot be parsed was damaged since. */
function parseStored<T>(store: Store, digest: Digest, parse: (bytes: Uint8Array) => T): T {
  const bytes = store.readBlob(digest);
  try {
    return parse(bytes);
  } catch (error) {
    if (!(error instanceof ImagoError)) throw error;
    throw new ImagoError(error.code, error.message, {
      ref: digest,
      path: store.blobPath(digest),
      remedy: "'imago verify' says what it belongs to and how to get it back",
      cause: error,
    });
  }
}

/** The platform that images are taken for where nobody says: this machine's. */
export function defaultPlatform(): Platform {
  return hostPlatform(process.arch);
}

/**
 * The image that a descriptor names; of an index, the one for `platform` among those in the store. Without `platform`
 * it is this machine's, or else the first that is there.
 * Throws `BLOB_MISSING`, `BAD_MANIFEST`, `BAD_CONFIG`, `PLATFORM_MISMATCH`, `NOT_AN_IMAGE` (an artifact).
 */
export function readImage(
  store: Store,
  target: Descriptor,
  options: { platform?: Platform; ref?: string } = {},
): Image {
  const parsed = readManifest(store, target);
  if (parsed.kind === 'image') {
    const image = composeImage(store, target, target, parsed.value);
    if (options.platform !== undefined && !matchPlatform(options.platform, image.platform)) {
      throw mismatch(options.platform, [image.platform], options.ref);
    }
    return image;
  }
  const present = presentManifests(store, parsed.value.manifests);
  const wanted = options.platform ?? defaultPlatform();
  const child = selectPlatform(wanted, present, (d) => d.platform) ?? withoutPlatform(present, options.platform);
  if (child === undefined) {
    const platforms = present.flatMap((d) => (d.platform === undefined ? [] : [d.platform]));
    throw mismatch(wanted, platforms, options.ref);
  }
  return composeImage(store, target, child, readImageManifest(store, child));
}

/** Every image that a descriptor leads to and that is in the store: one, or those of an index. */
export function readImages(store: Store, target: Descriptor): Image[] {
  const parsed = readManifest(store, target);
  if (parsed.kind === 'image') return [composeImage(store, target, target, parsed.value)];
  return presentManifests(store, parsed.value.manifests).flatMap((child) => {
    const manifest = readImageManifest(store, child);
    return isConfigType(manifest.config.mediaType) ? [composeImage(store, target, child, manifest)] : [];
  });
}

/** Indexes in indexes; deeper ones are not pulled either. */
const DEEPEST = 4;

/**
 * The images of an index that are in the store, also of indexes inside of it. Attestations and other artifacts
 * (platform unknown/unknown) are none.
 */
export function presentManifests(store: Store, manifests: readonly Descriptor[], depth = 1): Descriptor[] {
  return manifests.flatMap((d) => {
    if (d.platform?.os === 'unknown' || d.artifactType !== undefined || !store.hasBlob(d.digest)) return [];
    if (!isIndexType(d.mediaType)) return [d];
    const parsed = depth < DEEPEST ? readManifest(store, d) : undefined;
    return parsed?.kind === 'index' ? presentManifests(store, parsed.value.manifests, depth + 1) : [];
  });
}

function readImageManifest(store: Store, { digest, mediaType }: Descriptor): ImageManifest {
  return parseStored(store, digest, (bytes) => parseImageManifest(bytes, { digest, mediaType })).value;
}

/** Where nobody asked for a platform, an image of another one, or of none that is told, is better than none. */
function withoutPlatform(present: Descriptor[], asked: Platform | undefined): Descriptor | undefined {
  return asked === undefined ? present[0] : present.find((d) => d.platform === undefined);
}

function composeImage(store: Store, target: Descriptor, descriptor: Descriptor, manifest: ImageManifest): Image {
  if (!isConfigType(manifest.config.mediaType)) {
    throw new ImagoError('NOT_AN_IMAGE', 'this manifest is an artifact, not an image', {
      ref: descriptor.digest,
      got: manifest.artifactType ?? manifest.config.mediaType,
    });
  }
  const { value: config } = parseStored(store, manifest.config.digest, parseConfig);
  const diffIds = config.rootfs.diff_ids;
  if (diffIds.length !== manifest.layers.length) {
    throw new ImagoError('BAD_MANIFEST', 'manifest and config disagree on the number of layers', {
      ref: descriptor.digest,
      want: `${diffIds.length}, as in the config`,
      got: manifest.layers.length,
    });
  }
  const id = manifest.config.digest;
  return {
    id,
    descriptor: bareDescriptor(descriptor),
    target: bareDescriptor(target),
    manifest,
    config,
    platform: platformOf(config),
    diffIds,
    get chainIds() {
      return chainIds(diffIds);
    },
    get references() {
      return referencesTo(store, id);
    },
  };
}

export function platformOf(config: ImageConfig): Platform {
  const { os, architecture, variant } = config;
  return variant === undefined || variant === '' ? { os, architecture } : { os, architecture, variant };
}

function mismatch(want: Platform, have: Platform[], ref: string | undefined): ImagoError {
  const name = ref === undefined ? 'the image' : `image '${ref}'`;
  return new ImagoError('PLATFORM_MISMATCH', `${name} is not there for this platform`, {
    want: formatPlatform(want),
    got: have.length === 0 ? 'none' : have.map(formatPlatform).join(', '),
  });
}
