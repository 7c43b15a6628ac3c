import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { layerKind } from '../oci/media-types.ts';
import type { Repository } from '../registry/client/repository.ts';
import { getRemoteDocument } from './remote-manifest.ts';

export interface CopyManifestOptions {
  /** The source's repository, where it is on the target's registry. */
  mountFrom?: string;
  signal?: AbortSignal;
}

/** Indexes inside of indexes, at most. */
const DEEPEST = 4;

/**
 * A manifest with all below it, from one repository to another, byte for byte and by digest. Blobs that are there are
 * left alone, the others mounted where that can be, else they pass through this machine's memory piece by piece.
 */
export async function copyManifest(
  source: Repository,
  target: Repository,
  digest: Digest,
  options: CopyManifestOptions = {},
  depth = 0,
): Promise<void> {
  if (depth > DEEPEST) {
    throw new ImagoError('INDEX_TOO_DEEP', 'indexes inside of indexes', { ref: digest, want: `at most ${DEEPEST}` });
  }
  if ((await target.headManifest(digest)) !== undefined) return;
  const { descriptor, parsed } = await getRemoteDocument(source, { digest }, options);
  if (parsed.kind === 'index') {
    for (const child of parsed.value.manifests) {
      await copyManifest(source, target, child.digest, options, depth + 1);
    }
  } else {
    const { config, layers } = parsed.value;
    const blobs = new Map<Digest, Descriptor>();
    // What is not to be distributed stays where its URLs say.
    for (const blob of [config, ...layers]) if (!layerKind(blob.mediaType)?.foreign) blobs.set(blob.digest, blob);
    for (const blob of blobs.values()) await copyBlob(source, target, blob, options);
  }
  await target.putManifest(digest, parsed.bytes, descriptor.mediaType);
}

async function copyBlob(
  source: Repository,
  target: Repository,
  blob: Descriptor,
  { mountFrom, signal }: CopyManifestOptions,
): Promise<void> {
  const { digest, size } = blob;
  if ((await target.headBlob(digest)) !== undefined) return;
  if (mountFrom !== undefined && (await target.mountBlob(digest, mountFrom))) return;
  await target.uploadBlob({ digest, size }, (offset) => source.readBlob({ digest, size }, { offset, signal }), {
    signal,
  });
}
