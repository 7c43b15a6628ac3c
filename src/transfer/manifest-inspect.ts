import { isImagoError } from '../core/errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { type ParsedManifest, parseManifest } from '../oci/manifest.ts';
import { MEDIA_TYPES } from '../oci/media-types.ts';
import { formatReference, parseReference, type Reference } from '../oci/reference.ts';
import { openRepository, type Repository } from '../registry/client/repository.ts';
import type { ClientOptions } from '../registry/client/types.ts';
import type { Store } from '../store/store.ts';
import { findInList, findList, getList, type ManifestList } from './manifest-list.ts';
import { getRemoteDocument } from './remote-manifest.ts';

/** One manifest as `docker manifest inspect --verbose` shows it. */
export interface VerboseManifest {
  Ref: string;
  Descriptor: Descriptor;
  /** Base64 of the exact bytes. */
  Raw: string;
  OCIManifest?: unknown;
  SchemaV2Manifest?: unknown;
}

/** Children that are fetched at most, one after the other, for a verbose answer. */
const MOST_CHILDREN = 1000;

/** A list of this store, or else what a registry has under the name: the document as it is. */
export async function inspectManifest(store: Store, name: string, client: ClientOptions = {}): Promise<unknown> {
  const reference = parseReference(name);
  const list = findLocalList(store, reference);
  if (list !== undefined) return list.index;
  await using repository = openRepository(reference, client);
  return (await getRemoteDocument(repository, reference, client)).parsed.value;
}

/** The same with all manifests below it. One object for an image, a list for an index. */
export async function inspectManifestVerbose(
  store: Store,
  name: string,
  client: ClientOptions = {},
): Promise<VerboseManifest | VerboseManifest[]> {
  const reference = parseReference(name);
  const list = findLocalList(store, reference);
  if (list !== undefined) {
    const out: VerboseManifest[] = [];
    for (const child of list.index.manifests.slice(0, MOST_CHILDREN)) {
      out.push(await describeChild(store, list, child, client));
    }
    return out;
  }
  await using repository = openRepository(reference, client);
  const { descriptor, parsed } = await getRemoteDocument(repository, reference, client);
  if (parsed.kind === 'image') return describe(formatReference(reference), descriptor, parsed);
  const out: VerboseManifest[] = [];
  for (const child of parsed.value.manifests.slice(0, MOST_CHILDREN)) {
    out.push(await describeRemote(repository, reference, child, client));
  }
  return out;
}

/** One manifest of a list. Throws `NO_SUCH_LIST`, `NO_SUCH_MANIFEST`, `AMBIGUOUS_MANIFEST`. */
export async function inspectInList(
  store: Store,
  name: string,
  manifest: string,
  client: ClientOptions = {},
): Promise<VerboseManifest> {
  const list = getList(store, name);
  return describeChild(store, list, findInList(list, manifest), client);
}

/** An image of that name is no list: the registry is asked. */
function findLocalList(store: Store, reference: Reference): ManifestList | undefined {
  if (reference.digest !== undefined) return undefined;
  try {
    return findList(store, reference);
  } catch (error) {
    if (isImagoError(error, 'NAME_IN_USE')) return undefined;
    throw error;
  }
}

async function describeChild(
  store: Store,
  list: ManifestList,
  child: Descriptor,
  client: ClientOptions,
): Promise<VerboseManifest> {
  const source = list.sources.get(child.digest);
  if (store.hasBlob(child.digest) || source?.repository === undefined) {
    const { digest, mediaType } = child;
    return describe(source?.name ?? digest, child, parseManifest(store.readBlob(digest), { digest, mediaType }));
  }
  const reference = parseReference(source.repository, { defaultTag: false });
  await using repository = openRepository(reference, client);
  return await describeRemote(repository, reference, child, client);
}

async function describeRemote(
  repository: Repository,
  reference: Reference,
  child: Descriptor,
  client: ClientOptions,
): Promise<VerboseManifest> {
  const { parsed } = await getRemoteDocument(repository, { digest: child.digest }, client);
  const { tag: _tag, ...place } = reference;
  return describe(formatReference({ ...place, digest: child.digest }), child, parsed);
}

function describe(ref: string, descriptor: Descriptor, { value, bytes, mediaType }: ParsedManifest): VerboseManifest {
  const kind = mediaType === MEDIA_TYPES.dockerManifest ? 'SchemaV2Manifest' : 'OCIManifest';
  return { Ref: ref, Descriptor: descriptor, Raw: Buffer.from(bytes).toString('base64'), [kind]: value };
}
