import type { Digest } from '../core/digest.ts';
import type { ImageConfig } from '../oci/config.ts';
import type { Platform } from '../oci/platform.ts';
import { familiarName, familiarReference, formatReference, parseReference } from '../oci/reference.ts';
import type { Store } from '../store/store.ts';
import type { Image } from './image.ts';
import { resolveImage } from './resolve.ts';
import { imageSize } from './sizes.ts';

/** What a config alone tells, with the names that Docker gives it. */
export interface ConfigInspection {
  Id: string;
  Parent: string;
  Comment: string;
  Created: string;
  DockerVersion: string;
  Author: string;
  Config: Record<string, unknown>;
  Architecture: string;
  Variant?: string;
  Os: string;
  OsVersion?: string;
  RootFS: { Type: string; Layers: string[] };
}

/** An image as `docker inspect` shows it (Engine API v1.47 ImageInspect), with the members that mean something here. */
export interface ImageInspection extends ConfigInspection {
  RepoTags: string[];
  RepoDigests: string[];
  /** Bytes. */
  Size: number;
  GraphDriver: { Data: Record<string, string> | null; Name: string };
  Metadata: { LastTagTime: string };
  Descriptor: { mediaType: string; digest: string; size: number };
}

/** Throws what `resolveImage` throws. */
export function inspectImage(store: Store, name: string, platform?: Platform): ImageInspection {
  return describeImage(store, resolveImage(store, name, platform));
}

function describeImage(store: Store, image: Image): ImageInspection {
  const names = image.references.map((reference) => parseReference(reference, { defaultTag: false }));
  const digests = names.map((name) => {
    const target = store.getRef(formatReference(name))?.digest ?? image.target.digest;
    return `${familiarName(name)}@${target}`;
  });
  const { Id, RootFS, ...told } = describeConfig(image.id, image.config);
  return {
    Id,
    RepoTags: names
      .filter((name) => name.tag !== undefined)
      .map((name) => familiarReference({ ...name, digest: undefined })),
    RepoDigests: [...new Set(digests)],
    ...told,
    Size: imageSize(store, image),
    GraphDriver: { Data: null, Name: 'imago' },
    RootFS,
    Metadata: { LastTagTime: '0001-01-01T00:00:00Z' },
    Descriptor: image.target,
  };
}

export function describeConfig(id: Digest, config: ImageConfig): ConfigInspection {
  return {
    Id: id,
    Parent: '',
    Comment: config.history?.at(-1)?.comment ?? '',
    Created: config.created ?? '',
    DockerVersion: '',
    Author: config.author ?? '',
    Config: describeRunConfig(config.config ?? {}),
    Architecture: config.architecture,
    ...(config.variant ? { Variant: config.variant } : {}),
    Os: config.os,
    ...(config['os.version'] ? { OsVersion: config['os.version'] } : {}),
    RootFS: { Type: 'layers', Layers: config.rootfs.diff_ids },
  };
}

/** The members that scripts ask for are there even where the image does not set them. */
function describeRunConfig(config: object): Record<string, unknown> {
  return {
    User: '',
    Env: null,
    Cmd: null,
    Entrypoint: null,
    Volumes: null,
    WorkingDir: '',
    ExposedPorts: null,
    Labels: null,
    OnBuild: null,
    ...config,
  };
}
