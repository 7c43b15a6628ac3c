import type { Digest } from '../core/digest.ts';
import type { Predicate } from '../image/attestation.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { encodeJson } from '../oci/json.ts';
import { formatPlatform, type Platform } from '../oci/platform.ts';
import { familiarReference, formatReference, type Reference } from '../oci/reference.ts';
import type { ComposedImage } from './output-image.ts';

/** What became of a build. */
export interface OutputResult {
  /** Of one platform the config's digest, of several the index's. Of a result that is files alone, nothing has it. */
  id: Digest;
  /** What the names stand for. */
  descriptor: Descriptor;
  /** Each one's image, in the order asked for. */
  platforms: { platform: Platform; id: Digest; descriptor: Descriptor }[];
  /** As people type them. */
  references: string[];
  /** Keys and values as in docker buildx's metadata file. */
  metadata: Record<string, unknown>;
}

/** `provenance` is in the metadata, attested or not, as docker buildx has it. */
export function describeResult(
  composed: ComposedImage,
  names: readonly Reference[],
  provenance: Predicate,
): OutputResult {
  const { descriptor } = composed.root;
  const { id, platform } = composed.images[0]!;
  const single = descriptor.digest === composed.images[0]!.manifest.digest;
  const metadata: Record<string, unknown> = {
    ...(single ? { 'containerimage.config.digest': id } : {}),
    'containerimage.descriptor': single
      ? { ...descriptor, annotations: { 'config.digest': id }, platform }
      : descriptor,
    'containerimage.digest': descriptor.digest,
    ...(names.length === 0 ? {} : { 'image.name': names.map(formatReference).join(',') }),
  };
  for (const image of composed.images) {
    const suffix = composed.images.length === 1 ? '' : `/${formatPlatform(image.platform)}`;
    metadata[`buildx.build.provenance${suffix}`] = JSON.parse(Buffer.from(encodeJson(provenance.value)).toString());
  }
  return {
    id: composed.images.length === 1 ? id : descriptor.digest,
    descriptor,
    references: names.map(familiarReference),
    platforms: composed.images.map((image) => ({
      platform: image.platform,
      id: image.id,
      descriptor: image.manifest,
    })),
    metadata,
  };
}
