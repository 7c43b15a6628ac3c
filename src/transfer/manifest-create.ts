import { ImagoError, isImagoError } from '../core/errors.ts';
import { type Image, readManifest } from '../image/image.ts';
import { type ResolvedImage, resolveName } from '../image/resolve.ts';
import { type ImageConfig, parseConfig } from '../oci/config.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import type { ImageManifest } from '../oci/manifest.ts';
import { isConfigType } from '../oci/media-types.ts';
import type { Platform } from '../oci/platform.ts';
import { familiarReference, formatReference, parseReference, repositoryName } from '../oci/reference.ts';
import { openRepository, type Repository } from '../registry/client/repository.ts';
import type { ClientOptions } from '../registry/client/types.ts';
import type { Lease } from '../store/lease.ts';
import type { Store } from '../store/store.ts';
import { emptyList, findList, type ListSource, type ManifestList, parseListName, putList } from './manifest-list.ts';
import { getRemoteDocument } from './remote-manifest.ts';

export interface CreateListOptions extends ClientOptions {
  /** Add to a list that is there; one that is not is made. */
  amend?: boolean;
  /** Of the index. */
  annotations?: Readonly<Record<string, string>>;
}

export interface CreatedList {
  /** In full. */
  reference: string;
  descriptor: Descriptor;
}

interface Member {
  descriptor: Descriptor;
  source: ListSource;
}

/** Forces the registry's image where the store has one of that name, as podman writes it. */
const REMOTE = 'docker://';
/** Manifests in a list; the registry's bound of 4 MiB comes first for most. */
const MOST_MEMBERS = 10_000;
const LARGEST_CONFIG = 4 * 2 ** 20;

/**
 * Makes a list of manifests under a name, or adds to one. A manifest is an image of the store, or else of its registry
 * (`docker://` asks the registry in any case); an index gives all that it has. What is in the list already is replaced.
 * Throws `LIST_EXISTS`, `NAME_IN_USE`, and what resolving and the registry's client throw.
 */
export async function createList(
  store: Store,
  name: string,
  manifests: readonly string[],
  options: CreateListOptions = {},
): Promise<CreatedList> {
  const { amend = false, annotations, ...client } = options;
  const reference = parseListName(name);
  const readList = (): ManifestList => {
    const existing = findList(store, reference);
    if (existing === undefined || amend) return existing ?? emptyList(reference);
    throw new ImagoError('LIST_EXISTS', 'refusing to amend an existing manifest list with no --amend flag', {
      ref: familiarReference(reference),
    });
  };
  readList();
  // Over the local children until the list names them.
  using lease = store.lease('manifest create');
  const members: Member[] = [];
  for (const text of manifests) members.push(...(await findMembers(store, lease, text, client)));
  // Read again: others may have added to it while the registry was asked.
  let list = members.reduce(withMember, readList());
  if (list.index.manifests.length > MOST_MEMBERS) {
    throw new ImagoError('IMAGE_TOO_LARGE', 'too many manifests for a list', {
      want: `at most ${MOST_MEMBERS}`,
      got: list.index.manifests.length,
    });
  }
  if (annotations !== undefined && Object.keys(annotations).length > 0) {
    list = { ...list, index: { ...list.index, annotations: { ...list.index.annotations, ...annotations } } };
  }
  return { reference: formatReference(reference), descriptor: putList(store, list) };
}

function withMember(list: ManifestList, { descriptor, source }: Member): ManifestList {
  const { manifests } = list.index;
  const at = manifests.findIndex((child) => child.digest === descriptor.digest);
  const changed = at < 0 ? [...manifests, descriptor] : manifests.with(at, descriptor);
  const sources = new Map(list.sources).set(descriptor.digest, source);
  return { ...list, index: { ...list.index, manifests: changed }, sources };
}

async function findMembers(store: Store, lease: Lease, text: string, client: ClientOptions): Promise<Member[]> {
  if (text.startsWith(REMOTE)) return findRemote(text.slice(REMOTE.length), client);
  const local = findLocal(store, text);
  return local === undefined ? findRemote(text, client) : membersOfLocal(store, lease, local, text);
}

function findLocal(store: Store, text: string): ResolvedImage | undefined {
  try {
    return resolveName(store, text);
  } catch (error) {
    // A list of images that are not here has none for this platform; its registry may have more.
    if (isImagoError(error, 'IMAGE_NOT_FOUND') || isImagoError(error, 'PLATFORM_MISMATCH')) return undefined;
    throw error;
  }
}

function membersOfLocal(store: Store, lease: Lease, found: ResolvedImage, text: string): Member[] {
  const { image, reference } = found;
  lease.add(image.target.digest);
  const name = reference ?? text;
  const parsed = readManifest(store, image.target);
  if (parsed.kind === 'image') return [{ descriptor: describeImage(image), source: { name } }];
  const repository = reference === undefined ? undefined : repositoryName(parseReference(reference));
  return parsed.value.manifests.map((descriptor) => {
    if (store.hasBlob(descriptor.digest)) return { descriptor, source: { name } };
    if (repository !== undefined) return { descriptor, source: { name, repository } };
    throw new ImagoError('BLOB_MISSING', 'not all of this index is here', {
      ref: text,
      want: descriptor.digest,
      remedy: 'name the image and not its ID, so that the rest can be found in its registry',
    });
  });
}

function describeImage({ descriptor, config }: Image): Descriptor {
  return { ...descriptor, platform: fullPlatform(config) };
}

async function findRemote(text: string, client: ClientOptions): Promise<Member[]> {
  const reference = parseReference(text);
  await using repository = openRepository(reference, client);
  const { descriptor, parsed } = await getRemoteDocument(repository, reference, client);
  const source: ListSource = { name: formatReference(reference), repository: repositoryName(reference) };
  if (parsed.kind === 'index') return parsed.value.manifests.map((child) => ({ descriptor: child, source }));
  return [{ descriptor: { ...descriptor, ...(await describeRemote(repository, parsed.value)) }, source }];
}

async function describeRemote(repository: Repository, manifest: ImageManifest): Promise<Partial<Descriptor>> {
  const { config, artifactType } = manifest;
  if (!isConfigType(config.mediaType)) return { artifactType: artifactType ?? config.mediaType };
  const { value } = parseConfig(await repository.readSmallBlob(config, LARGEST_CONFIG));
  return { platform: fullPlatform(value) };
}

function fullPlatform(config: ImageConfig): Platform {
  const { os, architecture, variant } = config;
  const [version, features] = [config['os.version'], config['os.features']];
  return {
    os,
    architecture,
    ...(variant ? { variant } : {}),
    ...(version ? { 'os.version': version } : {}),
    ...(features && features.length > 0 ? { 'os.features': features } : {}),
  };
}
