import { closeSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { blobName } from '../archive/content.ts';
import { IMAGE_NAME, REF_NAME } from '../archive/read-oci.ts';
import type { Digest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { END_OF_ARCHIVE, encodeHeader, paddingBytes } from '../formats/tar/write.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { encodeJson } from '../oci/json.ts';
import { parseManifest } from '../oci/manifest.ts';
import { isConfigType, layerKind, MEDIA_TYPES } from '../oci/media-types.ts';
import { familiarReference, formatReference, parseReference } from '../oci/reference.ts';
import { uniqueName, writeAll } from '../system/atomic.ts';
import type { OpenBytes } from '../system/checked-bytes.ts';
import type { CopyDocument, CopyProgress, CopyTarget } from './copy-ends.ts';
import { explainOutput } from './copy-layout-target.ts';

/**
 * An OCI archive, or with `docker` one that Docker, podman and skopeo load too, written in one go as the blobs come.
 * A file appears whole or not at all, in the place of what was there. Same image, same bytes.
 */
export class TarTarget implements CopyTarget {
  readonly title: string;
  readonly atOnce: number = 1;
  readonly #path: string;
  readonly #place: string;
  readonly #direct: boolean;
  readonly #name: string | undefined;
  readonly #docker: boolean;
  readonly #written: Set<string> = new Set();
  readonly #directories: Set<string> = new Set();
  #fd: number | undefined;

  constructor(path: string, name: string | undefined, { docker }: { docker: boolean }) {
    this.title = `${docker ? 'docker' : 'oci'}-archive:${path}`;
    this.#path = path;
    this.#docker = docker;
    this.#name = docker && name !== undefined ? formatReference(parseReference(name)) : name;
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat?.isDirectory()) throw new ImagoError('OUTPUT_EXISTS', `'${path}' is a directory`);
    this.#direct = stat !== undefined && !stat.isFile();
    this.#place = this.#direct ? path : join(dirname(path), `.${basename(path).slice(0, 200)}.${uniqueName()}`);
  }

  check(top: CopyDocument): void {
    if (!this.#docker) return;
    const parsed = parseManifest(top.bytes, top);
    const cannot = (what: string, remedy: string): ImagoError =>
      new ImagoError('CANNOT_HOLD', `a Docker archive cannot hold ${what}`, { ref: top.digest, remedy });
    if (parsed.kind === 'index') {
      throw cannot('several platforms', 'copy one with --platform, or all of them into an oci-archive');
    }
    const { config, layers } = parsed.value;
    if (!isConfigType(config.mediaType)) throw cannot('an artifact', 'copy it into an oci-archive');
    const odd = layers.find(({ mediaType }) => layerKind(mediaType) === undefined);
    if (odd !== undefined) throw cannot(`a layer of the type ${odd.mediaType}`, 'copy it into an oci-archive');
  }

  async hasDocument({ digest }: Descriptor): Promise<boolean> {
    return this.#written.has(blobName(digest));
  }

  async hasBlob({ digest }: Descriptor): Promise<boolean> {
    return this.#written.has(blobName(digest));
  }

  async writeBlob({ digest, size }: Descriptor, open: OpenBytes, { onProgress, signal }: CopyProgress): Promise<void> {
    await this.#member(blobName(digest), size, async (write) => {
      let done = 0;
      for await (const chunk of open(0)) {
        signal?.throwIfAborted();
        write(chunk);
        done += chunk.length;
        onProgress?.(done);
      }
    });
  }

  async writeDocument({ bytes, digest }: CopyDocument): Promise<void> {
    if (!this.#written.has(blobName(digest))) await this.#file(blobName(digest), bytes);
  }

  async finish(top: CopyDocument): Promise<void> {
    await this.writeDocument(top);
    const { digest, mediaType, bytes } = top;
    const entry = { mediaType, digest, size: bytes.length, ...this.#annotations() };
    await this.#file('oci-layout', encodeJson({ imageLayoutVersion: '1.0.0' }));
    await this.#file('index.json', encodeJson({ schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests: [entry] }));
    if (this.#docker) await this.#file('manifest.json', this.#dockerManifest(top));
    this.#write(END_OF_ARCHIVE);
    closeSync(this.#fd!);
    this.#fd = undefined;
    try {
      if (!this.#direct) renameSync(this.#place, this.#path);
    } catch (error) {
      throw explainOutput(this.#path, error);
    }
  }

  #annotations(): { annotations?: Record<string, string> } {
    if (this.#name === undefined) return {};
    const annotations: Record<string, string> = { [REF_NAME]: this.#name };
    if (this.#docker) annotations[IMAGE_NAME] = this.#name;
    return { annotations };
  }

  /** Docker Image Specification v1.2 §Combined Image JSON + Filesystem Changeset Format. */
  #dockerManifest(top: CopyDocument): Uint8Array {
    const parsed = parseManifest(top.bytes, top);
    if (parsed.kind !== 'image') throw new Error('checked before');
    const { config, layers } = parsed.value;
    const names = this.#name === undefined ? null : [familiarReference(parseReference(this.#name))];
    const layerNames = layers.map(({ digest }: { digest: Digest }) => blobName(digest));
    return encodeJson([{ Config: blobName(config.digest), RepoTags: names, Layers: layerNames }]);
  }

  async #file(name: string, bytes: Uint8Array): Promise<void> {
    await this.#member(name, bytes.length, async (write) => write(bytes));
  }

  async #member(
    name: string,
    size: number,
    fill: (write: (bytes: Uint8Array) => void) => Promise<void>,
  ): Promise<void> {
    const parts = name.split('/').slice(0, -1);
    for (const [i] of parts.entries()) {
      const directory = parts.slice(0, i + 1).join('/');
      if (this.#directories.has(directory)) continue;
      this.#directories.add(directory);
      this.#write(encodeHeader({ path: directory, type: 'directory', mode: 0o755 }));
    }
    this.#write(encodeHeader({ path: name, type: 'file', mode: 0o644, size }));
    await fill((bytes) => this.#write(bytes));
    this.#write(paddingBytes(size));
    this.#written.add(name);
  }

  #write(bytes: Uint8Array): void {
    try {
      // As Docker's: an image may hold what is not for everybody.
      this.#fd ??= openSync(this.#place, this.#direct ? 'w' : 'wx', 0o600);
      writeAll(this.#fd, bytes);
    } catch (error) {
      throw explainOutput(this.#path, error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#fd === undefined) return;
    closeSync(this.#fd);
    if (!this.#direct) rmSync(this.#place, { force: true });
  }
}
