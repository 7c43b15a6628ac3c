import { type Digest, digestAlgorithm, digestHex } from '../../core/digest.ts';
import { ImagoError } from '../../core/errors.ts';
import { randomHex } from '../../system/random.ts';
import type { S3Bucket } from './s3-bucket.ts';
import type { Version } from './storage.ts';

export const BLOBS = 'blobs/';
export const DATA = 'data/';

/** One object `data/<id>/<name>` of a blob's bytes. */
export interface Part {
  name: string;
  /** Bytes. */
  size: number;
}

/** The bytes of a blob: parts in order, or in the pointer itself where there are none. */
export interface BlobData {
  /** Of the upload that brought it. */
  id: string;
  size: number;
  parts: Part[];
  inline: Buffer;
}

export interface Pointer extends BlobData {
  /** New for each publishing. */
  version: Version;
  modified: number;
}

/** What is under a digest's key: `blob` is undefined where it was removed. */
export interface PointerRead {
  etag: Version;
  blob: Pointer | undefined;
}

/** Begins what takes the place of a removed blob's pointer: S3's DELETE has no condition that all servers honour. */
const GONE = 'gone ';
/** Bytes; what takes the place of a pointer is smaller, and a pointer is larger. */
const LEAST = 40;
const MAGIC = 'imago-blob 1';
/** The first line is never longer. */
const HEAD = 200;

/** Whether an object of this size may be a pointer: a listing tells so without reading it. */
export function isPointerSize(size: number): boolean {
  return size > LEAST;
}

export function pointerKey(digest: Digest): string {
  return `${BLOBS}${digestAlgorithm(digest)}/${digestHex(digest)}`;
}

/** The pointer of a digest; with `head`, without its parts and bytes. */
export async function readPointer(
  bucket: S3Bucket,
  key: string,
  options: { head?: boolean } = {},
): Promise<PointerRead | undefined> {
  const object = await bucket.read(key, options.head === true ? HEAD : undefined);
  if (object === undefined) return undefined;
  const { bytes, etag, modified } = object;
  if (bytes.length < LEAST && bytes.toString('latin1').startsWith(GONE)) return { etag, blob: undefined };
  const end = bytes.indexOf(10);
  const line = bytes.toString('latin1', 0, Math.max(0, end));
  const match = /^imago-blob 1 ([0-9a-f]{32}) ([0-9a-f]{16}) (\d{1,15}) (\d{1,6})$/.exec(line);
  if (match === null) throw damaged(bucket, key);
  const [, id, nonce, size, count] = match;
  const blob: Pointer = { id: id!, size: Number(size), version: nonce!, modified, parts: [], inline: Buffer.alloc(0) };
  if (options.head === true) return { etag, blob };
  const body = bytes.subarray(end + 1);
  if (count === '0') blob.inline = body;
  else blob.parts = parseParts(body.toString('latin1'));
  const held = blob.parts.reduce((sum, part) => sum + part.size, blob.inline.length);
  if (held !== blob.size || blob.parts.length !== Number(count)) throw damaged(bucket, key);
  return { etag, blob };
}

/** Points a digest to `data`, over what was read as `before`; `STORAGE_CONFLICT` where that changed. */
export async function writePointer(
  bucket: S3Bucket,
  key: string,
  data: BlobData,
  before: PointerRead | undefined,
): Promise<void> {
  const lines = data.parts.map((part) => `${part.name} ${part.size}\n`).join('');
  const head = `${MAGIC} ${data.id} ${randomHex(8)} ${data.size} ${data.parts.length}\n${lines}`;
  const bytes = Buffer.concat([Buffer.from(head, 'latin1'), data.inline]);
  await bucket.write(key, bytes, before?.etag ?? 'absent');
}

/** Marks a digest as removed, over the pointer that was read. */
export async function writeGone(bucket: S3Bucket, key: string, before: PointerRead): Promise<void> {
  // Of two that remove the same, one is told that it did.
  await bucket.write(key, Buffer.from(`${GONE}${randomHex(8)}\n`), before.etag);
}

/** All objects of an upload's data; those that were written by a request that died as well. */
export async function removeData(bucket: S3Bucket, id: string): Promise<void> {
  for await (const { key } of bucket.walk(`${DATA}${id}/`)) await bucket.remove(key);
}

function parseParts(text: string): Part[] {
  return [...text.matchAll(/^([0-9a-f-]{1,40}) (\d{1,15})$/gm)].map(([, name, size]) => ({
    name: name!,
    size: Number(size),
  }));
}

function damaged(bucket: S3Bucket, key: string): ImagoError {
  return new ImagoError('STORAGE_DAMAGED', "an object of the registry's storage is not what it should be", {
    path: `${bucket.title}${key}`,
    remedy: 'restore it from a backup, or delete it and push its image again',
  });
}
