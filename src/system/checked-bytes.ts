import { createHash } from 'node:crypto';
import { type Digest, digestAlgorithm } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';

/** Bytes from an offset on; may be called again, with any offset. */
export type OpenBytes = (offset: number) => AsyncIterable<Uint8Array>;

/**
 * Bytes that pass through on their way somewhere, held against their digest: the last of them are let go only where
 * all were right, so what takes them never gets wrong ones whole. A transfer that was broken off goes on by opening
 * them again at an earlier place. Throws `DIGEST_MISMATCH`, `SIZE_MISMATCH`.
 */
export function checkBytes(expect: { digest: Digest; size: number }, open: OpenBytes, title: string): OpenBytes {
  const { digest, size } = expect;
  const algorithm = digestAlgorithm(digest);
  const hash = createHash(algorithm);
  let hashed = 0;
  let verdict: { error?: ImagoError } | undefined;

  const take = (bytes: Uint8Array, at: number): void => {
    if (at + bytes.length > size) throw wrongSize(`more than ${size} bytes`);
    // What comes a second time was hashed the first time.
    const fresh = bytes.subarray(Math.max(0, hashed - at));
    if (fresh.length === 0) return;
    hash.update(fresh);
    hashed += fresh.length;
  };
  const finish = (at: number): void => {
    if (at !== size) throw wrongSize(`${at} bytes`);
    verdict ??= judge();
    if (verdict.error !== undefined) throw verdict.error;
  };
  const judge = (): { error?: ImagoError } => {
    const got: Digest = `${algorithm}:${hash.digest('hex')}`;
    if (got === digest) return {};
    const error = new ImagoError('DIGEST_MISMATCH', `what ${title} gave is not what its digest says`, {
      want: digest,
      got,
      remedy: 'it is damaged or was changed there: nothing of it was taken over',
    });
    return { error };
  };
  const wrongSize = (got: string): ImagoError =>
    new ImagoError('SIZE_MISMATCH', `what ${title} gave is not as long as its descriptor says`, {
      ref: digest,
      want: `${size} bytes`,
      got,
      remedy: 'it is damaged or was cut short there: nothing of it was taken over',
    });

  return async function* checked(offset) {
    // Hashing must not have a gap: what was skipped is read too, and not passed on.
    const start = Math.min(offset, hashed);
    let at = start;
    let held: Uint8Array | undefined;
    for await (const chunk of start === size ? [] : open(start)) {
      if (chunk.length === 0) continue;
      if (held !== undefined) yield held;
      held = undefined;
      take(chunk, at);
      const skip = Math.max(0, offset - at);
      at += chunk.length;
      if (skip >= chunk.length) continue;
      const bytes = chunk.subarray(skip);
      if (at < size) yield bytes;
      else held = bytes;
    }
    finish(at);
    if (held !== undefined) yield held;
  };
}
