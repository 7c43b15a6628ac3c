import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import type { DigestAlgorithm } from '../core/digest.ts';
import { readRing } from '../system/ring.ts';
import type { HashOutcome, JobInput } from './layer-job.ts';

const BUFFER = 256 * 1024;
/** Bytes between two reports of progress. */
const REPORT = 2 * 1024 * 1024;

/** The bytes of an input, in views that live until the next one is asked for. */
export function* readInput(
  input: JobInput,
  onProgress?: (bytes: number) => void,
): Generator<Uint8Array, void, undefined> {
  let done = 0;
  let reported = 0;
  const chunks =
    input.kind === 'ring' ? readRing(input.ring) : input.kind === 'bytes' ? [input.bytes] : readRegion(input);
  for (const chunk of chunks) {
    yield chunk;
    done += chunk.length;
    if (done - reported >= REPORT) {
      reported = done;
      onProgress?.(done);
    }
  }
  onProgress?.(done);
}

function* readRegion(region: Extract<JobInput, { kind: 'file' }>): Generator<Uint8Array, void, undefined> {
  const fd = openSync(region.path, 'r');
  try {
    const buffer = Buffer.allocUnsafeSlow(Math.max(1, Math.min(BUFFER, region.length)));
    for (let at = 0; at < region.length; ) {
      const count = readSync(fd, buffer, 0, Math.min(buffer.length, region.length - at), region.offset + at);
      if (count === 0) break;
      yield buffer.subarray(0, count);
      at += count;
    }
  } finally {
    closeSync(fd);
  }
}

export function hashRegion(
  input: JobInput,
  algorithm: DigestAlgorithm,
  onProgress?: (bytes: number) => void,
): HashOutcome {
  const hash = createHash(algorithm);
  let size = 0;
  for (const chunk of readInput(input, onProgress)) {
    hash.update(chunk);
    size += chunk.length;
  }
  return { digest: `${algorithm}:${hash.digest('hex')}`, size };
}
