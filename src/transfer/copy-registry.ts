import { ImagoError } from '../core/errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { familiarReference, parseReference, type Reference } from '../oci/reference.ts';
import type { Repository } from '../registry/client/repository.ts';
import type { ClientOptions } from '../registry/client/types.ts';
import { checkBytes, type OpenBytes } from '../system/checked-bytes.ts';
import type { CopyDocument, CopyProgress, CopySource, CopyTarget } from './copy-ends.ts';
import { Registries } from './push-registries.ts';

export class RegistrySource implements CopySource {
  readonly title: string;
  readonly repository: string;
  readonly #registries: Registries;
  readonly #from: Repository;
  readonly #reference: Reference;
  readonly #signal: AbortSignal | undefined;

  constructor(text: string, options: ClientOptions) {
    this.#reference = parseReference(text);
    this.#registries = new Registries(options);
    this.#from = this.#registries.open(this.#reference);
    this.#signal = options.signal;
    this.title = familiarReference(this.#reference);
    this.repository = this.#from.name;
  }

  async readTop(): Promise<CopyDocument> {
    return await this.#from.getManifest(this.#reference.digest ?? this.#reference.tag!, { signal: this.#signal });
  }

  async readDocument(descriptor: Descriptor): Promise<CopyDocument> {
    return await this.#from.getManifest(descriptor.digest, { signal: this.#signal });
  }

  async sendBlob(
    descriptor: Descriptor,
    send: (open: OpenBytes) => Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const open = (offset: number): AsyncIterable<Uint8Array> => this.#from.readBlob(descriptor, { offset, signal });
    await send(checkBytes(descriptor, open, this.title));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#from[Symbol.asyncDispose]();
    this.#registries[Symbol.dispose]();
  }
}

export class RegistryTarget implements CopyTarget {
  readonly title: string;
  readonly atOnce: number = 3;
  readonly #registries: Registries;
  readonly #to: Repository;
  readonly #reference: Reference;
  readonly #signal: AbortSignal | undefined;

  constructor(text: string, options: ClientOptions) {
    this.#reference = parseReference(text);
    this.#registries = new Registries(options);
    this.#to = this.#registries.openTarget(this.#reference);
    this.#signal = options.signal;
    this.title = familiarReference(this.#reference);
  }

  check(top: CopyDocument): void {
    const { digest } = this.#reference;
    if (digest === undefined || digest === top.digest) return;
    throw new ImagoError('DIGEST_MISMATCH', `'${this.title}' asks for another digest than the image has`, {
      want: digest,
      got: top.digest,
      remedy: 'leave the digest away, or give a tag',
    });
  }

  async hasDocument({ digest }: Descriptor): Promise<boolean> {
    return (await this.#to.headManifest(digest, { signal: this.#signal })) !== undefined;
  }

  async hasBlob({ digest }: Descriptor): Promise<boolean> {
    return (await this.#to.headBlob(digest, { signal: this.#signal })) !== undefined;
  }

  async mountBlob({ digest }: Descriptor, repository: string): Promise<boolean> {
    const { domain, path } = parseReference(repository);
    if (domain !== this.#reference.domain || path === this.#reference.path) return false;
    return await this.#to.mountBlob(digest, path, { signal: this.#signal });
  }

  async writeBlob(descriptor: Descriptor, open: OpenBytes, progress: CopyProgress): Promise<void> {
    await this.#to.uploadBlob(descriptor, open, progress);
  }

  async writeDocument({ bytes, mediaType, digest }: CopyDocument): Promise<void> {
    await this.#to.putManifest(digest, bytes, mediaType, { signal: this.#signal });
  }

  async finish({ bytes, mediaType, digest }: CopyDocument): Promise<void> {
    const { tag, digest: asked } = this.#reference;
    await this.#to.putManifest(tag ?? asked ?? digest, bytes, mediaType, { signal: this.#signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#to[Symbol.asyncDispose]();
    this.#registries[Symbol.dispose]();
  }
}
