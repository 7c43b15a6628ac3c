import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { platformOf } from '../image/image.ts';
import { type ImageConfig, parseConfig } from '../oci/config.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { type ImageManifest, parseManifest } from '../oci/manifest.ts';
import { isConfigType, isIndexType, isManifestType, layerKind } from '../oci/media-types.ts';
import { formatPlatform, matchPlatform, type Platform, platformRank } from '../oci/platform.ts';
import type { Repository } from '../registry/client/repository.ts';

/** A manifest, an index or a config, byte for byte. */
export interface RemoteDocument {
  bytes: Uint8Array;
  digest: Digest;
  mediaType: string;
}

/** One image of one platform in a registry, without its layers. */
export interface RemoteImage {
  /** What was asked for: the manifest, or the index that leads to it. */
  root: RemoteDocument;
  /** All documents on the way, the config first and `root` last. */
  documents: RemoteDocument[];
  /** Of the manifest. */
  digest: Digest;
  manifest: ImageManifest;
  config: ImageConfig;
}

export interface FindOptions {
  platform: Platform;
  /** The user chose the platform: no other will do. */
  strict: boolean;
  /** How errors call what was asked for. */
  name: string;
  signal?: AbortSignal;
}

/** Indexes in indexes, and documents read on the way to one image. Real ones have two of the first. */
const DEEPEST = 4;
const MOST_DOCUMENTS = 32;
/** As the store reads it again. */
const LARGEST_CONFIG = 4 * 2 ** 20;

/**
 * The image that a tag or a digest leads to: of an index the best for the platform, also inside of nested ones, as
 * containerd chooses (variants, the first among equals; attestations never). Manifest and config are checked.
 *
 * Throws `PLATFORM_MISMATCH` in Docker's words, `NOT_AN_IMAGE` for an artifact, `SCHEMA1_MANIFEST`,
 * `UNKNOWN_MANIFEST`, `BAD_MANIFEST`, `BAD_CONFIG`, `BAD_LAYER_TYPE`, `INDEX_TOO_DEEP`, and what the client throws.
 */
export async function findImage(repository: Repository, reference: string, options: FindOptions): Promise<RemoteImage> {
  return await new Finder(repository, options).find(reference);
}

class Finder {
  readonly #repository: Repository;
  readonly #options: FindOptions;
  #fetched = 0;

  constructor(repository: Repository, options: FindOptions) {
    this.#repository = repository;
    this.#options = options;
  }

  async find(reference: string): Promise<RemoteImage> {
    const root = await this.#repository.getManifest(reference, { signal: this.#options.signal });
    const parsed = parseManifest(root.bytes, root);
    const named = { ...root, mediaType: parsed.mediaType };
    if (parsed.kind === 'index') {
      const image = await this.#descend(named, parsed.value.manifests, 1);
      if (image !== undefined) return { ...image, root: named };
      throw this.#noMatch(parsed.value.manifests);
    }
    const image = await this.#readImage(named, parsed.value);
    const { name, platform, strict } = this.#options;
    const got = platformOf(image.config);
    if (!strict || matchPlatform(platform, got)) return { ...image, root: named };
    throw new ImagoError(
      'PLATFORM_MISMATCH',
      `image with reference ${name} was found but does not match the specified platform`,
      { want: formatPlatform(platform), got: formatPlatform(got) },
    );
  }

  /** The best that an index has, with the index as the last of its documents. */
  async #descend(index: RemoteDocument, manifests: readonly Descriptor[], depth: number): Promise<Found | undefined> {
    for (const child of this.#candidates(manifests)) {
      if (isIndexType(child.mediaType) && depth === DEEPEST) throw this.#tooDeep();
      const document = await this.#fetch(child);
      const parsed = parseManifest(document.bytes, document);
      const image =
        parsed.kind === 'index'
          ? await this.#descend(document, parsed.value.manifests, depth + 1)
          : await this.#readImage(document, parsed.value);
      if (image === undefined) continue;
      // Where the index says nothing of the platform, the config does.
      const told = child.platform !== undefined || parsed.kind === 'index';
      if (!told && !matchPlatform(this.#options.platform, platformOf(image.config))) continue;
      return { ...image, documents: [...image.documents, index] };
    }
    return undefined;
  }

  /** Those that may be meant, the best first; what tells no platform comes last. */
  #candidates(manifests: readonly Descriptor[]): Descriptor[] {
    const rank = ({ platform }: Descriptor): number =>
      platform === undefined ? Number.MAX_SAFE_INTEGER : platformRank(this.#options.platform, platform);
    return manifests
      .filter((d) => d.artifactType === undefined && (isIndexType(d.mediaType) || isManifestType(d.mediaType)))
      .map((descriptor) => ({ descriptor, rank: rank(descriptor) }))
      .filter((candidate) => candidate.rank >= 0)
      .sort((a, b) => a.rank - b.rank)
      .map(({ descriptor }) => descriptor);
  }

  async #fetch({ digest, size, mediaType }: Descriptor): Promise<RemoteDocument> {
    if (++this.#fetched > MOST_DOCUMENTS) throw this.#tooDeep();
    const document = await this.#repository.getManifest(digest, { signal: this.#options.signal });
    if (document.bytes.length === size) return { ...document, mediaType };
    throw new ImagoError('SIZE_MISMATCH', 'a manifest is not as long as its index says', {
      ref: digest,
      want: `${size} bytes`,
      got: document.bytes.length,
      remedy: 'the image is inconsistent: ask who made it',
    });
  }

  async #readImage(document: RemoteDocument, manifest: ImageManifest): Promise<Found> {
    checkImage(manifest, this.#options.name);
    const { digest, mediaType } = manifest.config;
    const bytes = await this.#repository.readSmallBlob(manifest.config, LARGEST_CONFIG, {
      signal: this.#options.signal,
    });
    const { value: config } = parseConfig(bytes);
    const want = config.rootfs.diff_ids.length;
    if (want !== manifest.layers.length) {
      throw new ImagoError('BAD_MANIFEST', 'manifest and config disagree on the number of layers', {
        ref: document.digest,
        want: `${want}, as in the config`,
        got: manifest.layers.length,
        remedy: 'the image is inconsistent: ask who made it',
      });
    }
    return { documents: [{ bytes, digest, mediaType }, document], digest: document.digest, manifest, config };
  }

  #noMatch(manifests: readonly Descriptor[]): ImagoError {
    const platforms = manifests.flatMap(({ platform }) =>
      platform === undefined || platform.os === 'unknown' ? [] : [formatPlatform(platform)],
    );
    const wanted = formatPlatform(this.#options.platform);
    // moby v28, distribution/pull_v2.go
    return new ImagoError('PLATFORM_MISMATCH', `no matching manifest for ${wanted} in the manifest list entries`, {
      got: platforms.length === 0 ? 'none' : [...new Set(platforms)].slice(0, 30).join(', '),
      remedy: 'choose one of these with --platform',
    });
  }

  #tooDeep(): ImagoError {
    return new ImagoError('INDEX_TOO_DEEP', `${this.#options.name} leads through too many indexes`, {
      want: `at most ${DEEPEST}, one in the other, and ${MOST_DOCUMENTS} documents`,
      remedy: 'name the manifest by its digest',
    });
  }
}

type Found = Omit<RemoteImage, 'root'>;

function checkImage({ artifactType, config, layers }: ImageManifest, name: string): void {
  if (!isConfigType(config.mediaType)) {
    throw new ImagoError('NOT_AN_IMAGE', `${name} is an artifact, not an image`, {
      got: JSON.stringify(artifactType ?? config.mediaType),
      remedy: `fetch its files with 'imago artifact pull ${name}'`,
    });
  }
  const bad = layers.find(({ mediaType }) => layerKind(mediaType) === undefined);
  if (bad === undefined) return;
  throw new ImagoError('BAD_LAYER_TYPE', 'a layer is of a kind that Imago does not know', {
    ref: bad.digest,
    want: 'a tar, plain or compressed by gzip or zstd',
    got: JSON.stringify(bad.mediaType),
    remedy: 'it may be encrypted, or no image at all: ask who made it',
  });
}
