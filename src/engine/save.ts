import { composeLayout, type SavedImage } from '../archive/layout.ts';
import { writeLayoutDirectory } from '../archive/write-directory.ts';
import { writeFileWhole } from '../archive/write-file.ts';
import { type ArchiveSink, writeLayoutTar } from '../archive/write-tar.ts';
import type { Digest } from '../core/digest.ts';
import { ImagoError, isImagoError } from '../core/errors.ts';
import { type Image, readImage } from '../image/image.ts';
import { resolveName } from '../image/resolve.ts';
import { isUntagged } from '../image/tags.ts';
import type { Platform } from '../oci/platform.ts';
import { familiarReference, parseReference, repositoryName } from '../oci/reference.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';

export const SAVE_FORMATS = ['docker-archive', 'oci-archive', 'oci-dir'] as const;
export type SaveFormat = (typeof SAVE_FORMATS)[number];

export interface SaveOptions {
  /** A path, or where the bytes go. A directory layout needs a path. */
  output: string | ArchiveSink;
  /** Default 'docker-archive': Docker's, podman's and skopeo's, and an OCI layout at the same time. */
  format?: SaveFormat;
  platform?: Platform;
  signal?: AbortSignal;
}

export interface SaveResult {
  /** Short names or IDs of images whose manifest digest had to change, because their compressed layers are not here. */
  rewritten: string[];
}

/**
 * Saves images by name or ID. A repository without a tag stands for all its tags, as in Docker. A file appears as a
 * whole, or not at all. Throws `IMAGE_NOT_FOUND`, `BLOB_MISSING`, `OUTPUT_EXISTS`.
 */
export async function saveImages(store: Store, names: readonly string[], options: SaveOptions): Promise<SaveResult> {
  const { output, format = 'docker-archive', signal } = options;
  const images = selectImages(store, names, options.platform);
  // Held first, then looked at: another command may remove them meanwhile.
  using _lease = hold(
    store,
    images.map(({ image }) => image.descriptor.digest),
  );
  const { files, rewritten } = composeLayout(store, images, { docker: format === 'docker-archive' });
  if (format === 'oci-dir') {
    if (typeof output === 'string') await writeLayoutDirectory(files, output, signal);
    else throw new ImagoError('BAD_OUTPUT', 'a directory cannot be written to a stream', { remedy: 'name it with -o' });
  } else if (typeof output !== 'string') await writeLayoutTar(files, output, signal);
  else await writeFileWhole(output, (sink) => writeLayoutTar(files, sink, signal));
  return { rewritten: rewritten.map(shownName) };
}

/**
 * Undefined where the store cannot be written to, which is when people save what they have. Should it be pruned
 * meanwhile all the same, that is told.
 */
function hold(store: Store, digests: readonly Digest[]): Lease | undefined {
  let lease: Lease | undefined;
  try {
    lease = store.lease('save');
    for (const digest of digests) lease.add(digest);
    return lease;
  } catch (error) {
    lease?.close();
    if (isImagoError(error) && ['DISK_FULL', 'STORE_READ_ONLY', 'STORE_NOT_WRITABLE'].includes(error.code)) return;
    throw error;
  }
}

function shownName({ image, names }: SavedImage): string {
  return names[0] === undefined ? image.id : familiarReference(parseReference(names[0]));
}

/** Each image once, with all the names by which it was asked for. */
function selectImages(store: Store, names: readonly string[], platform: Platform | undefined): SavedImage[] {
  const byDigest = new Map<string, SavedImage>();
  const add = (image: Image, name: string | undefined): void => {
    const saved = byDigest.get(image.descriptor.digest) ?? { image, names: [] };
    byDigest.set(image.descriptor.digest, saved);
    if (name !== undefined && !saved.names.includes(name)) saved.names.push(name);
  };
  for (const text of names) {
    const tags = tagsOf(store, text);
    if (tags.length > 0) {
      for (const { reference, descriptor } of tags)
        add(readImage(store, descriptor, { platform, ref: text }), reference);
      continue;
    }
    const { image, reference } = resolveName(store, text, platform);
    const tagged = reference !== undefined && parseReference(reference).digest === undefined;
    add(image, tagged ? reference : undefined);
  }
  return [...byDigest.values()];
}

/** All references of a repository that is named without tag and digest. */
function tagsOf(store: Store, text: string): ReturnType<Store['listRefs']> {
  let repository: string;
  try {
    const named = parseReference(text, { defaultTag: false });
    if (named.tag !== undefined || named.digest !== undefined) return [];
    repository = repositoryName(named);
  } catch {
    return [];
  }
  return store.listRefs().filter(({ reference }) => {
    if (isUntagged(reference)) return false;
    const named = parseReference(reference);
    return named.digest === undefined && repositoryName(named) === repository;
  });
}
