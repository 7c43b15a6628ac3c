import { isImagoError } from '../../core/errors.ts';
import { randomHex } from '../../system/random.ts';
import { checkDocumentSize, checkKey, checkPrefix, pageSize } from './names.ts';
import type { S3Bucket, S3Object } from './s3-bucket.ts';
import type { DocumentStorage, KeyPage, StoredDocument, Version } from './storage.ts';

const ROOT = 'documents/';
/** Bytes of what each write draws by lot: an ETag is a hash of the bytes, and two writes may say the same. */
const NONCE = 16;
const LINE_END = Buffer.from('\n');

/**
 * Documents as objects `documents/<key>`: a line that each write makes up, then the document; their versions are ETags.
 * An object of that line alone, its end missing, is a document that was deleted on a condition: S3's DELETE has none that
 * all servers honour.
 */
export class S3Documents implements DocumentStorage {
  readonly #bucket: S3Bucket;

  constructor(bucket: S3Bucket) {
    this.#bucket = bucket;
  }

  async readDocument(key: string): Promise<StoredDocument | undefined> {
    const object = await this.#bucket.read(ROOT + checkKey(key));
    if (object === undefined || isGone(object)) return undefined;
    return { bytes: object.bytes.subarray(NONCE + 1), version: object.etag, modified: object.modified };
  }

  async writeDocument(key: string, bytes: Uint8Array, options: { expect?: Version } = {}): Promise<Version> {
    checkDocumentSize(key, bytes.length);
    const path = ROOT + checkKey(key);
    const object = Buffer.concat([makeNonce(), LINE_END, bytes]);
    try {
      return await this.#bucket.write(path, object, options.expect);
    } catch (error) {
      if (options.expect !== 'absent' || !isImagoError(error, 'STORAGE_CONFLICT')) throw error;
      const now = await this.#bucket.read(path);
      if (now === undefined || !isGone(now)) throw error;
      return this.#bucket.write(path, object, now.etag);
    }
  }

  async deleteDocument(key: string, options: { expect?: Version } = {}): Promise<boolean> {
    const path = ROOT + checkKey(key);
    const now = await this.#bucket.read(path);
    if (now === undefined || isGone(now)) return false;
    if (options.expect === undefined) await this.#bucket.remove(path);
    else await this.#bucket.write(path, makeNonce(), options.expect);
    return true;
  }

  async listDocuments(prefix: string, options: { after?: string; limit?: number } = {}): Promise<KeyPage> {
    const after = options.after === undefined ? undefined : ROOT + options.after;
    const page = await this.#bucket.list(ROOT + checkPrefix(prefix), after, pageSize(options.limit));
    const entries = page.entries.filter(({ size }) => size > NONCE);
    return {
      keys: entries.map(({ key, modified }) => ({ key: key.slice(ROOT.length), modified })),
      next: page.next?.slice(ROOT.length),
    };
  }
}

function isGone(object: S3Object): boolean {
  return object.bytes.length <= NONCE;
}

function makeNonce(): Buffer {
  return Buffer.from(randomHex(NONCE / 2));
}
