import type { Descriptor } from '../oci/descriptor.ts';
import { encodeJson } from '../oci/json.ts';
import { MEDIA_TYPES } from '../oci/media-types.ts';
import type { Platform } from '../oci/platform.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';

/** An OCI index (image-spec v1.1.1, image-index.md) of the images of several platforms, in their order. */
export function writeIndex(
  store: Store,
  lease: Lease,
  images: readonly { platform: Platform; descriptor: Descriptor }[],
): Descriptor {
  const mediaType = MEDIA_TYPES.index;
  const manifests = images.map(({ platform, descriptor }) => ({ ...descriptor, platform }));
  const bytes = encodeJson({ schemaVersion: 2, mediaType, manifests });
  return { mediaType, digest: store.putBlob(lease, bytes), size: bytes.length };
}
