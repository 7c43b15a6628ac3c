import { parseDigest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { defaultPlatform } from '../image/image.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { type ImageManifest, type ParsedManifest, parseManifest } from '../oci/manifest.ts';
import { formatPlatform, type Platform, selectPlatform } from '../oci/platform.ts';
import { familiarReference, type Reference } from '../oci/reference.ts';
import type { Repository } from '../registry/client/repository.ts';

export interface RemoteDocument {
  descriptor: Descriptor;
  parsed: ParsedManifest;
}

export interface RemoteManifest extends Descriptor {
  value: ImageManifest;
  /** Byte-exact. */
  bytes: Uint8Array;
  /** What the reference names: the same, or the index that has it. */
  target: RemoteDocument;
}

/** Indexes inside of indexes, at most. */
const DEEPEST = 4;

/** What a reference names in a registry, parsed. By the digest where the reference has one, whatever its tag says. */
export async function getRemoteDocument(
  repository: Repository,
  reference: Pick<Reference, 'tag' | 'digest'>,
  options: { signal?: AbortSignal } = {},
): Promise<RemoteDocument> {
  const { bytes, mediaType, digest } = await repository.getManifest(
    reference.digest ?? reference.tag ?? 'latest',
    options,
  );
  const parsed = parseManifest(bytes, { mediaType, digest: parseDigest(digest) });
  return { descriptor: { mediaType: parsed.mediaType, digest: parseDigest(digest), size: bytes.length }, parsed };
}

/**
 * The manifest of one image or artifact: of an index, the one for `platform` (default this machine's; where an index
 * has one manifest alone, that one). Throws `PLATFORM_MISMATCH`, `INDEX_TOO_DEEP`, and what the client throws.
 */
export async function getRemoteManifest(
  repository: Repository,
  reference: Reference,
  options: { platform?: Platform; signal?: AbortSignal } = {},
): Promise<RemoteManifest> {
  const target = await getRemoteDocument(repository, reference, options);
  let document = target;
  for (let depth = 0; ; depth++) {
    const { parsed, descriptor } = document;
    if (parsed.kind === 'image') return { ...descriptor, value: parsed.value, bytes: parsed.bytes, target };
    if (depth === DEEPEST) {
      throw new ImagoError('INDEX_TOO_DEEP', 'indexes inside of indexes', {
        ref: familiarReference(reference),
        want: `at most ${DEEPEST}`,
        remedy: 'name the manifest by its digest',
      });
    }
    const child = chooseChild(parsed.value.manifests, reference, options.platform);
    document = await getRemoteDocument(repository, { digest: child.digest }, options);
  }
}

function chooseChild(manifests: readonly Descriptor[], reference: Reference, asked: Platform | undefined): Descriptor {
  const images = manifests.filter(({ platform }) => platform?.os !== 'unknown');
  const wanted = asked ?? defaultPlatform();
  const found = selectPlatform(wanted, images, (d) => d.platform);
  if (found !== undefined) return found;
  if (asked === undefined && images.length === 1) return images[0]!;
  const unsaid = images.find((d) => d.platform === undefined);
  if (unsaid !== undefined) return unsaid;
  const have = images.flatMap(({ platform }) => (platform === undefined ? [] : [formatPlatform(platform)]));
  throw new ImagoError('PLATFORM_MISMATCH', `'${familiarReference(reference)}' is not there for this platform`, {
    want: formatPlatform(wanted),
    got: have.length === 0 ? 'none' : `${[...new Set(have)].slice(0, 30).join(', ')}`,
    remedy: 'choose one with --platform',
  });
}
