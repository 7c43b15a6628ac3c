import { checkDocumentSize, checkKey, checkPrefix, pageSize } from './names.ts';
import type { S3Bucket } from './s3-bucket.ts';
import type { DocumentStorage, KeyPage, StoredDocument, Version } from './storage.ts';

const ROOT = 'documents/';

/** Documents as objects `documents/<key>`; their versions are ETags. */
export class S3Documents implements DocumentStorage {
  readonly #bucket: S3Bucket;

  constructor(bucket: S3Bucket) {
    this.#bucket = bucket;
  }

  async readDocument(key: string): Promise<StoredDocument | undefined> {
    const object = await this.#bucket.read(ROOT + checkKey(key));
    return object && { bytes: object.bytes, version: object.etag, modified: object.modified };
  }

  async writeDocument(key: string, bytes: Uint8Array, options: { expect?: Version } = {}): Promise<Version> {
    checkDocumentSize(key, bytes.length);
    return this.#bucket.write(ROOT + checkKey(key), bytes, options.expect);
  }

  async deleteDocument(key: string): Promise<boolean> {
    const there = await this.#bucket.has(ROOT + checkKey(key));
    if (there) await this.#bucket.remove(ROOT + key);
    return there;
  }

  async listDocuments(prefix: string, options: { after?: string; limit?: number } = {}): Promise<KeyPage> {
    const after = options.after === undefined ? undefined : ROOT + options.after;
    const page = await this.#bucket.list(ROOT + checkPrefix(prefix), after, pageSize(options.limit));
    return {
      keys: page.entries.map(({ key, modified }) => ({ key: key.slice(ROOT.length), modified })),
      next: page.next?.slice(ROOT.length),
    };
  }
}
