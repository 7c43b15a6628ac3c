import { defaultPlatform } from '../image/image.ts';
import { type ConfigInspection, describeConfig } from '../image/inspect.ts';
import type { ImageConfig } from '../oci/config.ts';
import { bareDescriptor, type Descriptor } from '../oci/descriptor.ts';
import { parseManifest } from '../oci/manifest.ts';
import { formatPlatform, type Platform } from '../oci/platform.ts';
import { familiarName, familiarReference, parseReference, type Reference } from '../oci/reference.ts';
import { openRepository } from '../registry/client/repository.ts';
import type { ClientOptions } from '../registry/client/types.ts';
import { findImage, type RemoteDocument, type RemoteImage } from './pull-find.ts';
import { getRemoteDocument } from './remote-manifest.ts';

export interface InspectRemoteOptions extends ClientOptions {
  /** Of an index; default this machine's. */
  platform?: Platform;
}

/** An image in a registry, with the members of a local inspection that mean something there. */
export interface RemoteInspection extends ConfigInspection {
  RepoTags: string[];
  RepoDigests: string[];
  /** Bytes of all layers as they travel. */
  Size: number;
  /** What the name stands for: the manifest, or the index. */
  Descriptor: Descriptor;
  /** Of this platform. */
  Manifest: Descriptor;
  /** The lowest first; as they travel. */
  Layers: Descriptor[];
  /** Of the index, where there is one. */
  Platforms?: string[];
  Annotations?: Record<string, string>;
}

/** Manifest and config of an image in a registry; no layer is fetched. Throws what `findImage` throws. */
export async function inspectRemote(name: string, options: InspectRemoteOptions = {}): Promise<RemoteInspection> {
  const reference = parseReference(name);
  const { root, documents, manifest, config } = await find(reference, options);
  const { config: source, layers, annotations } = manifest;
  const { Id, RootFS, ...told } = describeConfig(source.digest, config);
  const index = parseManifest(root.bytes, root);
  return {
    Id,
    RepoTags: reference.tag === undefined ? [] : [familiarReference({ ...reference, digest: undefined })],
    RepoDigests: [`${familiarName(reference)}@${root.digest}`],
    ...told,
    Size: layers.reduce((sum, layer) => sum + layer.size, 0),
    RootFS,
    Descriptor: descriptorOf(root),
    Manifest: descriptorOf(documents[1]!),
    Layers: layers.map(bareDescriptor),
    ...(index.kind === 'index' ? { Platforms: platformsOf(index.value.manifests) } : {}),
    ...(annotations === undefined ? {} : { Annotations: annotations }),
  };
}

/** The exact bytes of what a name stands for; with a platform, of that platform's manifest. */
export async function readRemoteManifest(name: string, options: InspectRemoteOptions = {}): Promise<Uint8Array> {
  const reference = parseReference(name);
  if (options.platform !== undefined) return (await find(reference, options)).documents[1]!.bytes;
  await using repository = openRepository(reference, options);
  return (await getRemoteDocument(repository, reference, options)).parsed.bytes;
}

/** The exact bytes of an image's config. */
export async function readRemoteConfig(name: string, options: InspectRemoteOptions = {}): Promise<Uint8Array> {
  return (await find(parseReference(name), options)).documents[0]!.bytes;
}

/** The config of an image as a build stands on it: of an index the platform's, otherwise the one there is. */
export async function findRemoteConfig(
  name: string,
  options: InspectRemoteOptions & { platform: Platform },
): Promise<ImageConfig> {
  return (await find(parseReference(name), options, false)).config;
}

async function find(
  reference: Reference,
  options: InspectRemoteOptions,
  strict = options.platform !== undefined,
): Promise<RemoteImage> {
  await using repository = openRepository(reference, options);
  return await findImage(repository, reference.digest ?? reference.tag!, {
    platform: options.platform ?? defaultPlatform(),
    strict,
    name: familiarReference(reference),
    signal: options.signal,
  });
}

function descriptorOf({ mediaType, digest, bytes }: RemoteDocument): Descriptor {
  return { mediaType, digest, size: bytes.length };
}

function platformsOf(manifests: readonly Descriptor[]): string[] {
  const known = manifests.flatMap(({ platform }) =>
    platform === undefined || platform.os === 'unknown' ? [] : [platform],
  );
  return [...new Set(known.map(formatPlatform))];
}
