import { blobName, missingFile } from '../archive/content.ts';
import { DirectoryContent } from '../archive/directory.ts';
import { checkDigest, parseFile, readDocument } from '../archive/plan.ts';
import { REF_NAME } from '../archive/read-oci.ts';
import { ImagoError } from '../core/errors.ts';
import { type ImageIndex, parseManifest } from '../oci/manifest.ts';
import { isIndexType, isManifestType, MEDIA_TYPES } from '../oci/media-types.ts';
import { formatReference } from '../oci/reference.ts';
import type { Repository } from '../registry/client/repository.ts';
import type { CacheContent } from './cache-import.ts';
import type { CachePlace } from './cache-options.ts';

/** As the store reads them. */
const LARGEST_DOCUMENT = 4 * 2 ** 20;

/** What messages call a cache. */
export function titleOf(place: CachePlace): string {
  return place.type === 'local' ? `'${place.path}'` : formatReference(place.reference);
}

/** A cache, or an image with one, in a registry. Nothing is asked yet. */
export function registryContent(
  repository: Repository,
  place: CachePlace & { type: 'registry' },
  signal: AbortSignal | undefined,
): CacheContent {
  const { tag, digest } = place.reference;
  return {
    title: titleOf(place),
    repository: repository.name,
    readTop: () => repository.getManifest(digest ?? tag ?? 'latest', { signal }),
    async readDocument(descriptor) {
      if (isManifestType(descriptor.mediaType) || isIndexType(descriptor.mediaType)) {
        return (await repository.getManifest(descriptor.digest, { signal })).bytes;
      }
      return repository.readSmallBlob(descriptor, LARGEST_DOCUMENT, { signal });
    },
    openLayer: (descriptor, ended) => ({
      openAt: (offset, stop) => repository.readBlob(descriptor, { offset, signal: stop ?? ended }),
    }),
  };
}

/** A cache in an OCI layout: what `type=local,dest=` wrote, here or with BuildKit. Throws where there is no directory. */
export function localContent(place: CachePlace & { type: 'local' }): CacheContent {
  const content = openDirectory(place.path);
  return {
    title: titleOf(place),
    async readTop() {
      const { digest } = place;
      if (digest !== undefined) {
        const bytes = content.read(blobName(digest));
        if (bytes === undefined) throw missingFile(content.title, blobName(digest), digest);
        checkDigest(content, blobName(digest), bytes, digest);
        return { bytes, mediaType: undefined };
      }
      const index = content.read('index.json');
      if (index === undefined) throw missingFile(content.title, 'index.json');
      const { value } = parseFile(content, 'index.json', () => parseManifest(index, { mediaType: MEDIA_TYPES.index }));
      const { manifests } = value as ImageIndex;
      const found = manifests.findLast(({ annotations }) => annotations?.[REF_NAME] === place.tag);
      if (found === undefined) {
        throw new ImagoError('NO_SUCH_CACHE', `there is no cache ${place.tag} in ${content.title}`, {
          remedy: 'name one with tag= or digest=',
        });
      }
      return { bytes: readDocument(content, blobName(found.digest), found), mediaType: found.mediaType };
    },
    async readDocument(descriptor) {
      return readDocument(content, blobName(descriptor.digest), descriptor);
    },
    openLayer({ digest }) {
      const region = content.find(blobName(digest));
      if (region === undefined) throw missingFile(content.title, blobName(digest), digest);
      return region;
    },
  };
}

function openDirectory(path: string): DirectoryContent {
  try {
    return new DirectoryContent(path);
  } catch (error) {
    throw new ImagoError('NO_SUCH_CACHE', `there is no cache in '${path}'`, {
      got: (error as NodeJS.ErrnoException).code,
      cause: error,
    });
  }
}
