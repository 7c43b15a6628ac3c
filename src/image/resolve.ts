import { type Digest, isDigest } from '../core/digest.ts';
import { ImagoError, isImagoError } from '../core/errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { Platform } from '../oci/platform.ts';
import {
  familiarReference,
  formatReference,
  parseReference,
  type Reference,
  repositoryName,
} from '../oci/reference.ts';
import type { Store } from '../store/store.ts';
import { type Image, presentManifests, readImage, readManifest } from './image.ts';
import { isUntagged } from './tags.ts';

/** What a user's argument led to. */
export interface ResolvedImage {
  image: Image;
  /** In full, where the argument was a name and not an ID. */
  reference?: string;
}

const ID_PREFIX = /^(?:sha256:)?([0-9a-f]{1,64})$/;

/**
 * The image that a user means: by name, by digest, by ID, or by the start of one, in Docker's order (moby v28
 * daemon/images/image.go): a name before the start of an ID.
 * Throws `IMAGE_NOT_FOUND`, `AMBIGUOUS_ID`, `BAD_REFERENCE`, and what `readImage` throws.
 */
export function resolveImage(store: Store, text: string, platform?: Platform): Image {
  return resolveName(store, text, platform).image;
}

/** Like `resolveImage`, and tells by which name. */
export function resolveName(store: Store, text: string, platform?: Platform): ResolvedImage {
  const options = { platform, ref: text };
  const digest = digestOf(text);
  if (digest !== undefined) {
    const target = findByDigest(store, digest);
    if (target === undefined) throw notFound(text);
    return { image: readImage(store, target, options) };
  }
  const prefix = ID_PREFIX.exec(text)?.[1];
  const named = prefix === undefined ? parseReference(text) : tryReference(text);
  const found = named === undefined ? undefined : findByReference(store, named);
  if (found !== undefined) {
    try {
      return { image: readImage(store, found.target, options), reference: found.reference };
    } catch (error) {
      // Removed by somebody else while we read.
      const gone = named?.digest === undefined && store.getRef(found.reference) === undefined;
      throw gone && isImagoError(error, 'BLOB_MISSING') ? notFound(text) : error;
    }
  }
  const target = prefix === undefined ? undefined : findByPrefix(store, prefix, text);
  if (target === undefined) throw notFound(named === undefined ? text : familiarReference(named));
  return { image: readImage(store, target, options) };
}

function digestOf(text: string): Digest | undefined {
  if (/^[0-9a-f]{64}$/.test(text)) return `sha256:${text}`;
  return isDigest(text) ? text : undefined;
}

/** "sha256:abc" and "abc" may be names too; what cannot be one may still be the start of an ID. */
function tryReference(text: string): Reference | undefined {
  try {
    return parseReference(text);
  } catch {
    return undefined;
  }
}

/** By name and tag; with a digest, by repository and digest, whatever the tag says. */
function findByReference(store: Store, named: Reference): { target: Descriptor; reference: string } | undefined {
  const reference = formatReference(named);
  const target = store.getRef(reference);
  if (target !== undefined || named.digest === undefined) return target && { target, reference };
  const repository = repositoryName(named);
  for (const record of store.listRefs()) {
    if (isUntagged(record.reference) || repositoryName(parseReference(record.reference)) !== repository) continue;
    const child = descend(store, record.descriptor, named.digest);
    if (child !== undefined) return { target: child, reference };
  }
  return undefined;
}

/** The descriptor with this digest: `target` itself or, in an index, what it names. */
function descend(store: Store, target: Descriptor, digest: Digest): Descriptor | undefined {
  if (target.digest === digest) return target;
  return candidates(store, target).find(({ descriptor }) => descriptor.digest === digest)?.descriptor;
}

interface Candidate {
  id: Digest;
  descriptor: Descriptor;
}

/** The images below a target by ID, without reading their configs. Damaged ones are left out. */
function candidates(store: Store, target: Descriptor): Candidate[] {
  try {
    const parsed = readManifest(store, target);
    if (parsed.kind === 'image') return [{ id: parsed.value.config.digest, descriptor: target }];
    return presentManifests(store, parsed.value.manifests).flatMap((child) => {
      const manifest = readManifest(store, child);
      return manifest.kind === 'image' ? [{ id: manifest.value.config.digest, descriptor: child }] : [];
    });
  } catch (error) {
    if (error instanceof ImagoError) return [];
    throw error;
  }
}

/** By image ID, or by the digest of a manifest or an index. */
function findByDigest(store: Store, digest: Digest): Descriptor | undefined {
  for (const { descriptor } of store.listRefs()) {
    if (descriptor.digest === digest) return descriptor;
    const found = candidates(store, descriptor).find((c) => c.id === digest || c.descriptor.digest === digest);
    if (found !== undefined) return found.descriptor;
  }
  return undefined;
}

function findByPrefix(store: Store, prefix: string, text: string): Descriptor | undefined {
  const found = new Map<Digest, Descriptor>();
  for (const { descriptor } of store.listRefs()) {
    for (const candidate of candidates(store, descriptor)) {
      if (candidate.id.startsWith(`sha256:${prefix}`)) found.set(candidate.id, candidate.descriptor);
    }
  }
  if (found.size > 1) {
    throw new ImagoError('AMBIGUOUS_ID', `more than one image ID starts with '${text}'`, {
      got: [...found.keys()].map((id) => id.slice(7, 7 + Math.max(12, prefix.length + 4))).join(', '),
      remedy: 'give more of its characters',
    });
  }
  return found.values().next().value;
}

function notFound(text: string): ImagoError {
  return new ImagoError('IMAGE_NOT_FOUND', `No such image: ${text}`, {
    remedy: "'imago images' lists those there are",
  });
}
