import { join } from 'node:path';
import { type Digest, digestAlgorithm, digestHex } from '../core/digest.ts';

/** The directories under ROOT (docs/ARCHITECTURE.md §On disk). `quarantine` holds what verify found damaged. */
export const DIRECTORIES = [
  'blobs/sha256',
  'blobs/sha512',
  'refs',
  'layers',
  'chains',
  'cache',
  'containers',
  'volumes',
  'leases',
  'ingest',
  'quarantine',
] as const;

export function blobDirectory(root: string, digest: Digest): string {
  return join(root, 'blobs', digestAlgorithm(digest));
}

export function blobPath(root: string, digest: Digest): string {
  return join(blobDirectory(root, digest), digestHex(digest));
}

export function layerDirectory(root: string, diffId: Digest): string {
  return join(root, 'layers', directoryName(diffId));
}

export function chainDirectory(root: string, chainId: Digest): string {
  return join(root, 'chains', directoryName(chainId));
}

/** Hex alone for sha256; the other algorithm is told by its length. */
function directoryName(digest: Digest): string {
  return digestHex(digest);
}

/** The inverse of `directoryName`; undefined for what is not the name of a digest. */
export function digestOfName(name: string): Digest | undefined {
  if (/^[0-9a-f]{64}$/.test(name)) return `sha256:${name}`;
  if (/^[0-9a-f]{128}$/.test(name)) return `sha512:${name}`;
  return undefined;
}

/** Where verify put the damaged bytes of a blob; the report is beside it, with .json behind the name. */
export function quarantinePath(root: string, digest: Digest): string {
  return join(root, 'quarantine', directoryName(digest));
}

/** In the name of an unpacked layer in quarantine/: its DiffID's hex before, a time stamp after it. */
export const TREE_ASIDE = '.fs-';
