import { ImagoError } from './errors.ts';

export type DigestAlgorithm = 'sha256' | 'sha512';

/** `algorithm:lower-case-hex`. OCI image-spec v1.1.1, descriptor.md §Digests. */
export type Digest = `${DigestAlgorithm}:${string}`;

const PATTERN = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

export function isDigest(text: string): text is Digest {
  return PATTERN.test(text);
}

/** Throws `BAD_DIGEST` for anything but a registered algorithm with its full length of lower-case hex. */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new ImagoError('BAD_DIGEST', 'invalid digest', {
    want: 'sha256:<64 hex> or sha512:<128 hex>',
    got: JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text),
  });
}

export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256';
}

export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1);
}

/** The 12 hex characters that Docker prints as an ID. */
export function shortId(digest: string): string {
  const hex = digest.includes(':') ? digest.slice(digest.indexOf(':') + 1) : digest;
  return hex.slice(0, 12);
}
