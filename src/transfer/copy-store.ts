import { Readable } from 'node:stream';
import { type Digest, digestAlgorithm } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { readImage, readManifest } from '../image/image.ts';
import { resolveName } from '../image/resolve.ts';
import { tagImage } from '../image/tags.ts';
import { parseConfig } from '../oci/config.ts';
import { bareDescriptor, type Descriptor } from '../oci/descriptor.ts';
import type { ImageManifest } from '../oci/manifest.ts';
import { isConfigType, layerKind } from '../oci/media-types.ts';
import { familiarReference, formatReference, parseReference } from '../oci/reference.ts';
import type { ClientOptions } from '../registry/client/types.ts';
import { ingestLayer } from '../store/ingest-layer.ts';
import { hasLayer } from '../store/layers.ts';
import type { Lease } from '../store/lease.ts';
import { addOrigin } from '../store/origins.ts';
import type { Store } from '../store/store.ts';
import type { OpenBytes } from '../system/checked-bytes.ts';
import type { CopyDocument, CopyProgress, CopySource, CopyTarget } from './copy-ends.ts';
import { sendBytes } from './push-bytes.ts';
import { Registries } from './push-registries.ts';

/** An image of the local store, as it is: what was built here has plain tars for layers. */
export class StoreSource implements CopySource {
  readonly title: string;
  readonly #store: Store;
  readonly #lease: Lease;
  readonly #registries: Registries;
  readonly #top: Descriptor;
  /** Of layers that were met, by the digest that a manifest has for them. */
  readonly #diffIds: Map<Digest, Digest> = new Map();

  constructor(store: Store, name: string, options: ClientOptions) {
    this.title = `store:${name}`;
    this.#store = store;
    this.#top = resolveName(store, name).image.target;
    this.#lease = store.lease('copy');
    this.#lease.add(this.#top.digest);
    this.#registries = new Registries(options);
  }

  readTop(): Promise<CopyDocument> {
    return this.readDocument(this.#top);
  }

  async readDocument(descriptor: Descriptor): Promise<CopyDocument> {
    const { digest, mediaType } = descriptor;
    if (!this.#store.hasBlob(digest)) {
      throw new ImagoError('BLOB_MISSING', `a part of ${this.title} is not in the store`, {
        want: digest,
        got: 'the index alone, or images of other platforms',
        remedy: 'copy one platform with --platform, or all of them from where the image came',
      });
    }
    const parsed = readManifest(this.#store, descriptor);
    const layers = parsed.kind === 'image' ? parsed.value.layers : [];
    if (parsed.kind === 'image' && isConfigType(parsed.value.config.mediaType) && layers.some(isLayer)) {
      const { diffIds } = readImage(this.#store, descriptor);
      for (const [i, layer] of layers.entries()) this.#diffIds.set(layer.digest, diffIds[i]!);
    }
    return { bytes: this.#store.readBlob(digest, { verify: true }), mediaType, digest };
  }

  async sendBlob(
    descriptor: Descriptor,
    send: (open: OpenBytes) => Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const diffId = this.#diffIds.get(descriptor.digest);
    await sendBytes(this.#store, this.#registries, { descriptor, diffId }, send, { signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#lease.close();
    this.#registries[Symbol.dispose]();
  }
}

/** The local store: layers are made ready as they come, their compressed bytes are kept unless a registry has them. */
export class StoreTarget implements CopyTarget {
  readonly title: string;
  readonly atOnce: number = 3;
  readonly #store: Store;
  readonly #lease: Lease;
  readonly #reference: string;
  readonly #repository: string | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #diffIds: Map<Digest, Digest> = new Map();

  /** `repository`: the registry's, in full, where the image comes from one. */
  constructor(store: Store, name: string, options: { repository?: string; signal?: AbortSignal }) {
    const reference = parseReference(name);
    if (reference.digest !== undefined) {
      throw new ImagoError('BAD_REFERENCE', 'refusing to create a tag with a digest reference', { got: name });
    }
    this.title = `store:${familiarReference(reference)}`;
    this.#reference = formatReference(reference);
    this.#store = store;
    this.#repository = options.repository;
    this.#signal = options.signal;
    this.#lease = store.lease('copy');
  }

  async hasDocument(): Promise<boolean> {
    return false;
  }

  async beginImage(manifest: ImageManifest, readConfig: () => Promise<Uint8Array>): Promise<void> {
    // Attestations look like images, but have no layers.
    if (!isConfigType(manifest.config.mediaType) || !manifest.layers.some(isLayer)) return;
    const { value } = parseConfig(await readConfig());
    const diffIds = value.rootfs.diff_ids;
    if (diffIds.length !== manifest.layers.length) {
      throw new ImagoError('BAD_MANIFEST', 'manifest and config disagree on the number of layers', {
        want: `${diffIds.length}, as in the config`,
        got: manifest.layers.length,
      });
    }
    for (const [i, layer] of manifest.layers.entries()) {
      if (isLayer(layer)) this.#diffIds.set(layer.digest, diffIds[i]!);
    }
  }

  async hasBlob({ digest, size, mediaType }: Descriptor): Promise<boolean> {
    const diffId = this.#diffIds.get(digest);
    this.#lease.add(digest);
    if (diffId === undefined) return this.#store.hasBlob(digest);
    this.#lease.add(diffId);
    if (!hasLayer(this.#store, diffId)) return false;
    // Nobody else is known to have them.
    if (this.#repository === undefined) return this.#store.hasBlob(digest);
    addOrigin(this.#store, diffId, { digest, size, mediaType, repository: this.#repository });
    return true;
  }

  async writeBlob(descriptor: Descriptor, open: OpenBytes, { onProgress, signal }: CopyProgress): Promise<void> {
    const { digest, size, mediaType } = descriptor;
    const diffId = this.#diffIds.get(digest);
    if (diffId === undefined) {
      await this.#store.ingestBlob(this.#lease, open(0), { digest, size });
      return;
    }
    await ingestLayer(this.#store, this.#lease, open(0), {
      expect: { digest, size, diffId },
      keepBlob: this.#repository === undefined,
      mediaType,
      ...(this.#repository === undefined ? {} : { repository: this.#repository }),
      ...(onProgress === undefined ? {} : { onProgress }),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  async writeDocument({ bytes, digest }: CopyDocument): Promise<void> {
    if (digestAlgorithm(digest) === 'sha256') this.#store.putBlob(this.#lease, bytes);
    else await this.#store.ingestBlob(this.#lease, Readable.from([bytes]), { digest });
  }

  async finish(top: CopyDocument): Promise<void> {
    await this.writeDocument(top);
    this.#signal?.throwIfAborted();
    const { digest, mediaType, bytes } = top;
    const descriptor = bareDescriptor({ digest, mediaType, size: bytes.length });
    // An artifact has no place among images.
    readImage(this.#store, descriptor);
    tagImage(this.#store, this.#reference, descriptor);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#lease.close();
  }
}

function isLayer({ mediaType }: Descriptor): boolean {
  return layerKind(mediaType) !== undefined;
}
