import { closeSync, existsSync, openSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { blobName } from '../archive/content.ts';
import { REF_NAME } from '../archive/read-oci.ts';
import { ImagoError } from '../core/errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { encodeJson } from '../oci/json.ts';
import { type ImageIndex, parseManifest } from '../oci/manifest.ts';
import { MEDIA_TYPES } from '../oci/media-types.ts';
import { replaceFile, uniqueName, writeAll } from '../system/atomic.ts';
import type { OpenBytes } from '../system/checked-bytes.ts';
import { makeDirectories } from '../system/directories.ts';
import type { CopyDocument, CopyProgress, CopyTarget } from './copy-ends.ts';

/**
 * An OCI layout directory, new or with images in it already: blobs under names of their own until they are whole, the
 * index last.
 */
export class LayoutTarget implements CopyTarget {
  readonly title: string;
  readonly atOnce: number = 2;
  readonly #root: string;
  readonly #name: string | undefined;

  constructor(path: string, name: string | undefined) {
    this.title = name === undefined ? `oci:${path}` : `oci:${path}:${name}`;
    this.#root = path;
    this.#name = name;
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return;
    const empty = stat.isDirectory() && readdirSync(path).length === 0;
    if (empty || existsSync(join(path, 'oci-layout'))) return;
    throw new ImagoError('OUTPUT_EXISTS', `'${path}' exists already and is no OCI layout`, {
      remedy: 'choose another name, or remove it',
    });
  }

  async hasDocument(): Promise<boolean> {
    // It tells nothing of what is below it.
    return false;
  }

  async hasBlob({ digest, size }: Descriptor): Promise<boolean> {
    return statSync(join(this.#root, blobName(digest)), { throwIfNoEntry: false })?.size === size;
  }

  async writeBlob({ digest }: Descriptor, open: OpenBytes, { onProgress, signal }: CopyProgress): Promise<void> {
    const path = join(this.#root, blobName(digest));
    makeDirectories(dirname(path), 0o777);
    const temporary = join(dirname(path), `.${uniqueName()}`);
    try {
      const fd = openSync(temporary, 'wx', 0o644);
      try {
        let done = 0;
        for await (const chunk of open(0)) {
          signal?.throwIfAborted();
          writeAll(fd, chunk);
          done += chunk.length;
          onProgress?.(done);
        }
      } finally {
        closeSync(fd);
      }
      renameSync(temporary, path);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw explainOutput(this.#root, error);
    }
  }

  async writeDocument({ bytes, digest, mediaType }: CopyDocument): Promise<void> {
    await this.writeBlob({ digest, mediaType, size: bytes.length }, () => once(bytes), {});
  }

  async finish(top: CopyDocument): Promise<void> {
    await this.writeDocument(top);
    const { digest, mediaType } = top;
    const entry: Descriptor = {
      mediaType,
      digest,
      size: top.bytes.length,
      ...(this.#name === undefined ? {} : { annotations: { [REF_NAME]: this.#name } }),
    };
    const index = this.#readIndex();
    const others = index.manifests.filter((known) => {
      const name = known.annotations?.[REF_NAME];
      return this.#name === undefined ? known.digest !== digest || name !== undefined : name !== this.#name;
    });
    this.#put('oci-layout', encodeJson({ imageLayoutVersion: '1.0.0' }));
    this.#put('index.json', encodeJson({ ...index, manifests: [...others, entry] }));
  }

  #readIndex(): ImageIndex {
    const path = join(this.#root, 'index.json');
    if (!existsSync(path)) return { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests: [] };
    return parseManifest(readFileSync(path), { mediaType: MEDIA_TYPES.index }).value as ImageIndex;
  }

  #put(name: string, bytes: Uint8Array): void {
    try {
      replaceFile(join(this.#root, name), bytes, { temporary: join(this.#root, `.${name}-${uniqueName()}`) });
    } catch (error) {
      throw explainOutput(this.#root, error);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** Names what the user named, not a temporary file in it. What is no failure of writing stays as it is. */
export function explainOutput(path: string, error: unknown): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (error instanceof ImagoError || syscall === undefined || code === undefined) return error;
  return new ImagoError('CANNOT_WRITE', `cannot write '${path}'`, {
    got: code,
    remedy: code === 'ENOSPC' ? 'there is no space left on its disk' : 'choose another place',
    cause: error,
  });
}
