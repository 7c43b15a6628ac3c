import type { Readable } from 'node:stream';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { conflict } from './errors.ts';
import { explainS3Error, isMissing, isRefused, type S3Context, type S3Fault } from './s3-errors.ts';
import type { S3Location } from './s3-url.ts';
import type { Version } from './storage.ts';

export interface S3Object {
  bytes: Buffer;
  etag: Version;
  modified: number;
}

export interface S3Entry {
  /** Below the prefix of the storage. */
  key: string;
  size: number;
  modified: number;
}

/** The most that is read into memory at once: a document, or a pointer with many parts. */
const MAX_OBJECT = 8 * 2 ** 20;

/** Objects of one bucket below one prefix; keys are given without it. All errors are typed. */
export class S3Bucket {
  readonly location: S3Location;
  readonly #client: S3Client;
  /** Ceph and DigitalOcean refuse the quotes that RFC 9110 §8.8.3 wants around an ETag in If-Match. */
  quoted = true;

  constructor(location: S3Location) {
    this.location = location;
    const agent = { keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, proxyEnv: process.env };
    this.#client = new S3Client({
      ...(location.endpoint !== undefined && { endpoint: location.endpoint }),
      ...regionOf(location),
      forcePathStyle: location.pathStyle,
      // What it would add by itself is not known to many servers that are not Amazon's.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      maxAttempts: 5,
      requestHandler: {
        connectionTimeout: 5_000,
        requestTimeout: 60_000,
        throwOnRequestTimeout: true,
        socketTimeout: 30_000,
        httpAgent: agent,
        httpsAgent: agent,
      },
    });
  }

  get title(): string {
    return `s3://${this.location.bucket}/${this.location.prefix}`;
  }

  /** The whole object, or its first `limit` bytes. */
  async read(key: string, limit?: number): Promise<S3Object | undefined> {
    const range = { start: 0, end: limit ?? MAX_OBJECT };
    const answer = await this.open(key, limit === undefined ? undefined : range);
    if (answer === undefined) return undefined;
    const chunks: Buffer[] = [];
    let size = 0;
    try {
      for await (const chunk of answer.body as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > MAX_OBJECT) throw new Error(`the object has more than ${MAX_OBJECT} bytes`);
        chunks.push(chunk);
      }
    } catch (error) {
      throw this.#explain(error, 'read', key);
    }
    return { bytes: Buffer.concat(chunks), etag: answer.etag, modified: answer.modified };
  }

  /** Its body is a stream that the caller ends or destroys. Undefined where there is no such object. */
  async open(
    key: string,
    range?: { start: number; end: number },
  ): Promise<{ body: Readable; etag: Version; modified: number } | undefined> {
    try {
      const answer = await this.#client.send(
        new GetObjectCommand({
          ...this.#target(key),
          ...(range !== undefined && { Range: `bytes=${range.start}-${range.end - 1}` }),
        }),
      );
      const { ETag = '', LastModified } = answer;
      return { body: answer.Body as Readable, etag: bare(ETag), modified: LastModified?.getTime() ?? 0 };
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw this.#explain(error, 'read', key);
    }
  }

  /**
   * Puts an object. With `expect` only over that version, or only where there is none ('absent'); else
   * `STORAGE_CONFLICT`.
   */
  async write(key: string, bytes: Uint8Array, expect?: Version): Promise<Version> {
    const condition = expect === undefined ? {} : expect === 'absent' ? { IfNoneMatch: '*' } : this.ifMatch(expect);
    try {
      const answer = await this.#client.send(
        new PutObjectCommand({ ...this.#target(key), Body: bytes, ContentLength: bytes.length, ...condition }),
      );
      return bare(answer.ETag ?? '');
    } catch (error) {
      // An object that If-Match names and that is gone is 404 at AWS.
      const refused = isRefused(error) || (expect !== undefined && isMissing(error));
      if (!refused) throw this.#explain(error, 'write', key);
      return this.#settle(key, bytes, error);
    }
  }

  /** Deletes what is there; no error where nothing is. */
  async remove(key: string): Promise<void> {
    try {
      await this.#client.send(new DeleteObjectCommand(this.#target(key)));
    } catch (error) {
      if (!isMissing(error)) throw this.#explain(error, 'delete', key);
    }
  }

  /** Objects whose keys begin with `prefix`, in order, after the key `after`, at most 1000. */
  async list(
    prefix: string,
    after?: string,
    limit?: number,
  ): Promise<{ entries: S3Entry[]; next: string | undefined }> {
    const root = this.location.prefix;
    try {
      const answer = await this.#client.send(
        new ListObjectsV2Command({
          Bucket: this.location.bucket,
          Prefix: root + prefix,
          ...(after !== undefined && { StartAfter: root + after }),
          ...(limit !== undefined && { MaxKeys: limit }),
        }),
      );
      const entries = (answer.Contents ?? []).map((object) => ({
        key: (object.Key ?? '').slice(root.length),
        size: object.Size ?? 0,
        modified: object.LastModified?.getTime() ?? 0,
      }));
      return { entries, next: answer.IsTruncated === true ? entries.at(-1)?.key : undefined };
    } catch (error) {
      throw this.#explain(error, 'list', prefix);
    }
  }

  /** All of `list`. */
  async *walk(prefix: string): AsyncGenerator<S3Entry> {
    for (let after: string | undefined; ; ) {
      const page = await this.list(prefix, after);
      yield* page.entries;
      if (page.next === undefined) return;
      after = page.next;
    }
  }

  close(): void {
    this.#client.destroy();
  }

  private ifMatch(version: Version): { IfMatch: string } {
    return { IfMatch: this.quoted ? `"${version}"` : version };
  }

  /** The first attempt of a retried write may have succeeded, its answer lost: then what refused the second is ours. */
  async #settle(key: string, bytes: Uint8Array, error: unknown): Promise<Version> {
    if (((error as S3Fault).$metadata?.attempts ?? 1) > 1) {
      const now = await this.read(key);
      if (now?.bytes.equals(bytes)) return now.etag;
    }
    throw conflict(`${this.title}${key}`);
  }

  #target(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.location.bucket, Key: this.location.prefix + key };
  }

  #explain(error: unknown, op: string, key: string): Error {
    const { bucket, prefix, endpoint } = this.location;
    const context: S3Context = { op, bucket, key: prefix + key, endpoint };
    return explainS3Error(error, context);
  }
}

/** S3 servers that are not Amazon's take any region. */
function regionOf(location: S3Location): { region?: string } {
  if (location.region !== undefined) return { region: location.region };
  const set = process.env.AWS_REGION ?? process.env.AWS_DEFAULT_REGION;
  return location.endpoint !== undefined && set === undefined ? { region: 'us-east-1' } : {};
}

function bare(etag: string): Version {
  return etag.replace(/^"|"$/g, '');
}
