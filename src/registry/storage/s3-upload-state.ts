import type { Digest } from '../../core/digest.ts';
import { randomHex } from '../../system/random.ts';
import { isUploadId } from './names.ts';
import type { S3Bucket } from './s3-bucket.ts';
import type { Part } from './s3-pointer.ts';
import type { UploadStat, Version } from './storage.ts';

export const UPLOADS = 'uploads/';

/** What `uploads/<id>` says, JSON. Each write of it is conditional: that is the lock of an upload. */
export interface UploadState {
  repository: string;
  /** Milliseconds since 1970. */
  started: number;
  parts: Part[];
  /** The last bytes, while they are few: base64. */
  tail: string;
  /** Being published since then: nobody may write or discard it meanwhile. */
  sealed?: { at: number; digest: Digest };
  /** Being discarded. */
  discarded?: true;
}

export interface ReadState {
  state: UploadState;
  etag: Version;
  modified: number;
}

/** An upload that is there and not discarded; with `all`, a discarded one as well. */
export async function readState(bucket: S3Bucket, id: string, all = false): Promise<ReadState | undefined> {
  if (!isUploadId(id)) return undefined;
  const object = await bucket.read(UPLOADS + id);
  if (object === undefined) return undefined;
  const state = JSON.parse(object.bytes.toString('utf8')) as UploadState;
  if (state.discarded === true && !all) return undefined;
  return { state, etag: object.etag, modified: object.modified };
}

/** Returns the new ETag; `STORAGE_CONFLICT` where somebody else wrote it since `expect`. */
export async function writeState(bucket: S3Bucket, id: string, state: UploadState, expect: Version): Promise<Version> {
  // Two writers may say the same, and only one of them may be told that it was the one.
  const bytes = Buffer.from(JSON.stringify({ ...state, writer: randomHex(8) }));
  return bucket.write(UPLOADS + id, bytes, expect);
}

export function uploadSize(state: UploadState): number {
  return state.parts.reduce((sum, part) => sum + part.size, tailOf(state).length);
}

export function tailOf(state: UploadState): Buffer {
  return Buffer.from(state.tail, 'base64');
}

export function uploadStat(id: string, { state, modified }: ReadState): UploadStat {
  return { id, size: uploadSize(state), started: state.started, modified, repository: state.repository };
}
