import type { ArchiveContent, LayerWish } from '../archive/content.ts';
import { DirectoryContent } from '../archive/directory.ts';
import { loadContent } from '../archive/load.ts';
import { parseFile } from '../archive/plan.ts';
import { IMAGE_NAME, REF_NAME } from '../archive/read-oci.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { encodeJson } from '../oci/json.ts';
import { parseManifest } from '../oci/manifest.ts';
import { MEDIA_TYPES } from '../oci/media-types.ts';
import type { Platform } from '../oci/platform.ts';
import type { LayerResult } from '../store/layer-options.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import { openLayoutSource } from '../transfer/copy-layout.ts';

/**
 * Brings one image of an OCI layout in a directory into the store, without a name, held by the lease. `wanted` is a
 * tag or a digest; without it there must be one image only. Throws `IMAGE_NOT_FOUND`, `AMBIGUOUS_NAME`,
 * `PLATFORM_MISMATCH` and what loading throws.
 */
export async function loadLayoutImage(
  store: Store,
  lease: Lease,
  { path, wanted }: { path: string; wanted: string | undefined },
  options: { platform: Platform; signal?: AbortSignal | undefined },
): Promise<Descriptor> {
  await using source = openLayoutSource('oci-layout', path, wanted && (byTag(path, wanted) ?? wanted));
  const { bytes, mediaType, digest } = await source.readTop();
  using content = new OneImage(new DirectoryContent(path), { mediaType, digest, size: bytes.length });
  const [image] = await loadContent(store, lease, content, options);
  return image!.descriptor;
}

/** The digest of the one image that has this tag behind its name: containerd and Docker write names in full. */
function byTag(path: string, wanted: string): string | undefined {
  using content = new DirectoryContent(path);
  const bytes = content.read('index.json');
  if (bytes === undefined) return undefined;
  const parsed = parseFile(content, 'index.json', () => parseManifest(bytes, { mediaType: MEDIA_TYPES.index }));
  if (parsed.kind !== 'index') return undefined;
  const found = parsed.value.manifests.filter(({ annotations }) =>
    [annotations?.[REF_NAME], annotations?.[IMAGE_NAME]].some((name) => name?.endsWith(`:${wanted}`)),
  );
  const digests = new Set(found.map(({ digest }) => digest));
  return digests.size === 1 ? [...digests][0] : undefined;
}

/** A layout as if there were only this image in it. */
class OneImage implements ArchiveContent {
  readonly title: string;
  readonly #content: ArchiveContent;
  readonly #index: Uint8Array;

  constructor(content: ArchiveContent, image: Descriptor) {
    this.title = content.title;
    this.#content = content;
    this.#index = encodeJson({ schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests: [image] });
  }

  has(name: string): boolean {
    return name !== 'manifest.json' && this.#content.has(name);
  }

  read(name: string): Uint8Array | undefined {
    if (name === 'manifest.json') return undefined;
    return name === 'index.json' ? this.#index : this.#content.read(name);
  }

  ingest(store: Store, lease: Lease, name: string, wish: LayerWish): Promise<LayerResult> {
    return this.#content.ingest(store, lease, name, wish);
  }

  [Symbol.dispose](): void {
    this.#content[Symbol.dispose]();
  }
}
