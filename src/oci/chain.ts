import { bytesOf } from '../core/bytes.ts';
import type { Digest } from '../core/digest.ts';
import { sha256 } from '../core/sha256.ts';

/**
 * The ChainID of each layer of a stack, the lowest first: it names the layer together with all that lie below it.
 * OCI image-spec v1.1.1, config.md §Layer ChainID.
 */
export function chainIds(diffIds: readonly Digest[]): Digest[] {
  const out: Digest[] = [];
  for (const diffId of diffIds) {
    const below = out.at(-1);
    out.push(below === undefined ? diffId : sha256(bytesOf(`${below} ${diffId}`)));
  }
  return out;
}
