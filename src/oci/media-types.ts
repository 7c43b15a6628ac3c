import { ImagoError } from '../core/errors.ts';

/** OCI image-spec v1.1.1 media-types.md; Docker image manifest v2 schema 2; legacy names still found in registries. */
export const MEDIA_TYPES = {
  index: 'application/vnd.oci.image.index.v1+json',
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  empty: 'application/vnd.oci.empty.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar',
  layerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  layerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  layerForeign: 'application/vnd.oci.image.layer.nondistributable.v1.tar',
  layerForeignGzip: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
  layerForeignZstd: 'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  dockerLayerZstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
  dockerLayerForeign: 'application/vnd.docker.image.rootfs.foreign.diff.tar',
  dockerLayerForeignGzip: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  dockerSchema1: 'application/vnd.docker.distribution.manifest.v1+json',
  dockerSchema1Signed: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
} as const;

export type Compression = 'none' | 'gzip' | 'zstd';

/** What a layer's media type says: how the tar is packed, and whether a registry need not have it. */
export interface LayerKind {
  compression: Compression;
  /** Nondistributable (OCI) or foreign (Docker): fetched from its `urls`, not pushed. */
  foreign: boolean;
  family: 'oci' | 'docker';
}

const LAYERS: ReadonlyMap<string, LayerKind> = new Map<string, LayerKind>([
  [MEDIA_TYPES.layer, { compression: 'none', foreign: false, family: 'oci' }],
  [MEDIA_TYPES.layerGzip, { compression: 'gzip', foreign: false, family: 'oci' }],
  [MEDIA_TYPES.layerZstd, { compression: 'zstd', foreign: false, family: 'oci' }],
  [MEDIA_TYPES.layerForeign, { compression: 'none', foreign: true, family: 'oci' }],
  [MEDIA_TYPES.layerForeignGzip, { compression: 'gzip', foreign: true, family: 'oci' }],
  [MEDIA_TYPES.layerForeignZstd, { compression: 'zstd', foreign: true, family: 'oci' }],
  [MEDIA_TYPES.dockerLayer, { compression: 'none', foreign: false, family: 'docker' }],
  [MEDIA_TYPES.dockerLayerGzip, { compression: 'gzip', foreign: false, family: 'docker' }],
  [MEDIA_TYPES.dockerLayerZstd, { compression: 'zstd', foreign: false, family: 'docker' }],
  [MEDIA_TYPES.dockerLayerForeign, { compression: 'none', foreign: true, family: 'docker' }],
  [MEDIA_TYPES.dockerLayerForeignGzip, { compression: 'gzip', foreign: true, family: 'docker' }],
]);

/** Undefined for what is no layer of a root file system (an artifact's blob, an encrypted layer). */
export function layerKind(mediaType: string): LayerKind | undefined {
  return LAYERS.get(mediaType);
}

/** The media type of a distributable layer. Docker's family has had no name of its own for zstd; the common one is used. */
export function layerMediaType(compression: Compression, family: 'oci' | 'docker' = 'oci'): string {
  for (const [type, kind] of LAYERS) {
    if (!kind.foreign && kind.compression === compression && kind.family === family) return type;
  }
  throw new ImagoError('BAD_MEDIA_TYPE', 'no media type for this layer', { got: `${family} ${compression}` });
}

export function isIndexType(mediaType: string): boolean {
  return mediaType === MEDIA_TYPES.index || mediaType === MEDIA_TYPES.dockerList;
}

export function isManifestType(mediaType: string): boolean {
  return mediaType === MEDIA_TYPES.manifest || mediaType === MEDIA_TYPES.dockerManifest;
}

export function isConfigType(mediaType: string): boolean {
  return mediaType === MEDIA_TYPES.config || mediaType === MEDIA_TYPES.dockerConfig;
}

export function isSchema1Type(mediaType: string): boolean {
  return mediaType === MEDIA_TYPES.dockerSchema1 || mediaType === MEDIA_TYPES.dockerSchema1Signed;
}
