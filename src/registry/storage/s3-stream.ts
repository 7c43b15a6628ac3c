import type { Readable } from 'node:stream';
import { isImagoError } from '../../core/errors.ts';
import { sleep } from '../../system/sleep.ts';
import { blobDamaged } from './errors.ts';
import type { S3Bucket } from './s3-bucket.ts';
import { type BlobData, DATA } from './s3-pointer.ts';

/** How often in a row a stream is taken up again after it broke off. */
const ATTEMPTS = 5;

/** Some bytes of one object. */
interface Piece {
  key: string;
  start: number;
  end: number;
}

/**
 * Bytes `start` to `end` of a blob, going on where a connection broke. `again` tells where the blob is now, after an
 * object of it was missing: it may have been published anew, its old objects removed. Holds nothing before its first
 * `next()`.
 */
export async function* streamData(
  bucket: S3Bucket,
  data: BlobData,
  range: { start: number; end: number },
  again: () => Promise<BlobData | undefined>,
): AsyncGenerator<Uint8Array, undefined> {
  let [now, at, failures] = [data, range.start, 0];
  while (at < range.end) {
    if (now.parts.length === 0) {
      yield now.inline.subarray(at, range.end);
      return;
    }
    try {
      for await (const chunk of streamPieces(bucket, cutPieces(now, at, range.end))) {
        at += chunk.length;
        failures = 0;
        yield chunk;
      }
    } catch (error) {
      if (++failures >= ATTEMPTS) throw error;
      if (isImagoError(error, 'STORAGE_DENIED')) throw error;
      const next = await again();
      if (next === undefined) throw error;
      if (next.id === now.id) {
        if (isImagoError(error, 'STORAGE_DAMAGED')) throw error;
        await sleep(50 * 2 ** failures * (0.5 + Math.random()));
      }
      now = next;
    }
  }
}

function cutPieces(data: BlobData, start: number, end: number): Piece[] {
  const pieces: Piece[] = [];
  let at = 0;
  for (const { name, size } of data.parts) {
    const piece = { key: `${DATA}${data.id}/${name}`, start: Math.max(0, start - at), end: Math.min(size, end - at) };
    if (piece.start < piece.end) pieces.push(piece);
    at += size;
  }
  return pieces;
}

/** The next object is asked for while one is read: at the distance of a cloud the answer takes as long as the bytes. */
async function* streamPieces(bucket: S3Bucket, pieces: Piece[]): AsyncGenerator<Uint8Array, undefined> {
  let next = openPiece(bucket, pieces[0]);
  let body: Readable | undefined;
  try {
    for (const [index, piece] of pieces.entries()) {
      body = await next;
      next = openPiece(bucket, pieces[index + 1]);
      let got = 0;
      for await (const chunk of body as AsyncIterable<Uint8Array>) {
        got += chunk.length;
        yield chunk;
      }
      if (got !== piece.end - piece.start) throw new Error(`connection ended after ${got} bytes`);
    }
  } finally {
    body?.destroy();
    next.then(
      (unread) => unread?.destroy(),
      () => undefined,
    );
  }
}

function openPiece(bucket: S3Bucket, piece: Piece | undefined): Promise<Readable | undefined> {
  const opening = piece === undefined ? Promise.resolve(undefined) : open(bucket, piece);
  // Told when it is its turn.
  opening.catch(() => undefined);
  return opening;
}

async function open(bucket: S3Bucket, piece: Piece): Promise<Readable> {
  const answer = await bucket.open(piece.key, piece);
  if (answer === undefined) throw blobDamaged(bucket.title + piece.key, piece.end - piece.start, 0);
  return answer.body;
}
