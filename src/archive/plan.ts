import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { ImageConfig } from '../oci/config.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Platform } from '../oci/platform.ts';
import { digestOf } from '../store/blobs.ts';
import { type ArchiveContent, missingFile } from './content.ts';

/** A layer of an image to load. */
export interface PlannedLayer {
  /** The archive's name of it. */
  file: string;
  diffId: Digest;
  /** What a manifest promises; a Docker archive has none. */
  descriptor?: Descriptor;
}

/** An image to load, its documents read and checked. */
export interface PlannedImage {
  /** In full. */
  names: string[];
  config: Uint8Array;
  /** Digest of the config. */
  id: Digest;
  platform: Platform;
  layers: PlannedLayer[];
  /** Byte-exact, where the archive has one. */
  manifest?: { bytes: Uint8Array; digest: Digest; mediaType: string };
}

export interface PlanOptions {
  /** Default: the host's where the archive leaves a choice, any where it does not. */
  platform?: Platform;
  /** A name in the archive that is not one. */
  onBadName?: (name: string) => void;
}

/** A document that a digest names, checked. Throws `BLOB_MISSING`, `SIZE_MISMATCH`, `DIGEST_MISMATCH`. */
export function readDocument(
  content: ArchiveContent,
  name: string,
  expect: { digest: Digest; size?: number },
): Uint8Array {
  const bytes = content.read(name);
  if (bytes === undefined) throw missingFile(content.title, name, expect.digest);
  checkDigest(content, name, bytes, expect.digest);
  if (expect.size !== undefined && expect.size !== bytes.length) {
    throw new ImagoError('SIZE_MISMATCH', `'${name}' in ${content.title} is not as long as its descriptor says`, {
      want: `${expect.size} bytes`,
      got: bytes.length,
      remedy: 'the archive is damaged or was changed: get it again',
    });
  }
  return bytes;
}

/** Parses a file of the archive: what is wrong with it is told with its name. */
export function parseFile<T>(content: ArchiveContent, name: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof ImagoError)) throw error;
    throw new ImagoError(error.code, `'${name}' in ${content.title} is not valid: ${error.message}`, {
      remedy: 'make the archive again, or ask who made it',
      cause: error,
    });
  }
}

/** Throws `DIGEST_MISMATCH`. */
export function checkDigest(content: ArchiveContent, name: string, bytes: Uint8Array, want: Digest): void {
  const got = digestOf(bytes, want.startsWith('sha512:') ? 'sha512' : 'sha256');
  if (got === want) return;
  throw new ImagoError('DIGEST_MISMATCH', `'${name}' in ${content.title} is not what its digest says`, {
    want,
    got,
    remedy: 'the archive is damaged or was changed: get it again',
  });
}

export function checkLayerCount(config: ImageConfig, layers: number, ref: string): void {
  const want = config.rootfs.diff_ids.length;
  if (want === layers) return;
  throw new ImagoError('BAD_MANIFEST', 'manifest and config disagree on the number of layers', {
    ref,
    want: `${want}, as in the config`,
    got: layers,
    remedy: 'make the archive again, or ask who made it',
  });
}
