import { createHash } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { blobName } from '../archive/content.ts';
import { REF_NAME } from '../archive/read-oci.ts';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { encodeJson } from '../oci/json.ts';
import { type ImageIndex, parseManifest } from '../oci/manifest.ts';
import { layerKind, layerMediaType, MEDIA_TYPES } from '../oci/media-types.ts';
import { compressFile } from '../store/compress-layer.ts';
import { type CompressionForm, DEFAULT_FORM, formatForm } from '../store/compression-form.ts';
import { layerTarPath } from '../store/layers.ts';
import { addOrigin, origins } from '../store/origins.ts';
import type { Store } from '../store/store.ts';
import { replaceFile, syncDirectory, uniqueName, writeAll } from '../system/atomic.ts';
import { makeDirectories } from '../system/directories.ts';
import { lockFile } from '../system/lock.ts';
import { explainOutput } from '../transfer/copy-layout-target.ts';
import { type CacheSink, storedLayer } from './cache-export.ts';

/** Of a writer that is dead: milliseconds without a byte. */
const ABANDONED = 24 * 3600 * 1000;

/**
 * A cache in a directory: an OCI layout, as BuildKit reads and writes it. Blobs come in under names of their own until
 * they are whole; the index is changed last, by one at a time. Older caches stay until the directory is removed.
 * Throws `OUTPUT_EXISTS`, `CANNOT_WRITE`.
 */
export class DirectorySink implements CacheSink {
  readonly #store: Store;
  readonly #root: string;
  readonly #tag: string;
  readonly #form: CompressionForm | undefined;

  constructor(store: Store, path: string, tag: string, form: CompressionForm | undefined) {
    this.#store = store;
    this.#root = path;
    this.#tag = tag;
    this.#form = form;
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat !== undefined && !(stat.isDirectory() && (readdirSync(path).length === 0 || this.#isOurs()))) {
      throw new ImagoError('OUTPUT_EXISTS', `'${path}' exists already and is no cache`, {
        remedy: 'choose another directory, or remove it',
      });
    }
    try {
      makeDirectories(join(path, 'blobs', 'sha256'), 0o777);
    } catch (error) {
      throw explainOutput(path, error);
    }
    this.#removeAbandoned();
  }

  async putLayer(diffId: Digest, signal: AbortSignal): Promise<Descriptor> {
    const here = this.#known(diffId);
    if (here !== undefined) return here;
    const tar = layerTarPath(this.#store, diffId);
    const form = this.#form ?? DEFAULT_FORM;
    const { kind, level } = form;
    const mediaType = layerMediaType(kind);
    if (kind === 'none') {
      const stored = storedLayer(this.#store, diffId);
      await this.#write(createReadStream(tar, { signal }), stored.digest);
      return stored;
    }
    const { digest, size } = await this.#write(compressFile(tar, { kind, level }, { signal }), undefined);
    addOrigin(this.#store, diffId, { digest, size, mediaType, form: formatForm(form) });
    return { mediaType, digest, size };
  }

  async putDocument(bytes: Uint8Array, { digest, size }: Descriptor): Promise<void> {
    if (!this.#has(digest, size)) await this.#write([bytes], digest);
  }

  async finish(bytes: Uint8Array, descriptor: Descriptor): Promise<boolean> {
    await this.putDocument(bytes, descriptor);
    try {
      syncDirectory(join(this.#root, 'blobs', 'sha256'));
      using _lock = lockFile(join(this.#root, 'index.json.lock'), 'exclusive');
      const index = this.#readIndex();
      const named = (entry: Descriptor): boolean => entry.annotations?.[REF_NAME] === this.#tag;
      if (index.manifests.some((entry) => named(entry) && entry.digest === descriptor.digest)) return false;
      const entry = { ...descriptor, annotations: { [REF_NAME]: this.#tag } };
      this.#put('oci-layout', { imageLayoutVersion: '1.0.0' });
      this.#put('index.json', { ...index, manifests: [...index.manifests.filter((other) => !named(other)), entry] });
      return true;
    } catch (error) {
      throw explainOutput(this.#root, error);
    }
  }

  #isOurs(): boolean {
    return existsSync(join(this.#root, 'oci-layout')) || existsSync(join(this.#root, 'blobs', 'sha256'));
  }

  /** A form that is here already: the wanted one, or any where none is wanted. */
  #known(diffId: Digest): Descriptor | undefined {
    const wanted = this.#form === undefined ? undefined : formatForm(this.#form);
    const forms = origins(this.#store, diffId).filter(({ mediaType, form }) => {
      return layerKind(mediaType)?.foreign === false && (wanted === undefined || form === wanted);
    });
    const stored = storedLayer(this.#store, diffId);
    const all = wanted === undefined || wanted === 'none' ? [...forms, stored] : forms;
    const found = all.find(({ digest, size }) => this.#has(digest, size));
    return found && { mediaType: found.mediaType, digest: found.digest, size: found.size };
  }

  #has(digest: Digest, size: number): boolean {
    return statSync(join(this.#root, blobName(digest)), { throwIfNoEntry: false })?.size === size;
  }

  async #write(
    source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    expect: Digest | undefined,
  ): Promise<{ digest: Digest; size: number }> {
    const temporary = join(this.#root, 'blobs', 'sha256', `.${uniqueName()}`);
    const hash = createHash('sha256');
    let size = 0;
    try {
      const fd = openSync(temporary, 'wx', 0o644);
      try {
        for await (const chunk of source) {
          writeAll(fd, chunk);
          hash.update(chunk);
          size += chunk.length;
        }
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      const digest: Digest = `sha256:${hash.digest('hex')}`;
      if (expect !== undefined && expect !== digest) {
        throw new ImagoError('LAYER_DAMAGED', 'a layer in the store is damaged, and is not exported', {
          want: expect,
          got: digest,
          remedy: "'imago verify' says what it belongs to and how to get it back",
        });
      }
      makeDirectories(dirname(join(this.#root, blobName(digest))), 0o777);
      renameSync(temporary, join(this.#root, blobName(digest)));
      return { digest, size };
    } catch (error) {
      rmSync(temporary, { force: true });
      throw explainOutput(this.#root, error);
    }
  }

  #readIndex(): ImageIndex {
    const path = join(this.#root, 'index.json');
    if (!existsSync(path)) return { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests: [] };
    return parseManifest(readFileSync(path), { mediaType: MEDIA_TYPES.index }).value as ImageIndex;
  }

  #put(name: string, value: unknown): void {
    const temporary = join(this.#root, `.${name}-${uniqueName()}`);
    replaceFile(join(this.#root, name), encodeJson(value), { temporary });
  }

  /** What killed exports left. */
  #removeAbandoned(): void {
    for (const directory of [this.#root, join(this.#root, 'blobs', 'sha256')]) {
      for (const name of readdirSync(directory)) {
        const path = join(directory, name);
        const stat = name.startsWith('.') ? statSync(path, { throwIfNoEntry: false }) : undefined;
        if (stat?.isFile() && Date.now() - stat.mtimeMs > ABANDONED) rmSync(path, { force: true });
      }
    }
  }
}
