import { type Digest, digestHex } from '../../core/digest.ts';

/** The UUID of a layer's index: the head of its DiffID in the form of a version 8 UUID (RFC 9562 §5.8). */
export function layerUuid(diffId: Digest): Uint8Array {
  return uuidOf(digestHex(diffId).slice(0, 32));
}

/** That of a patch, from the second half of the ChainID: the first layer's ChainID is its DiffID. */
export function patchUuid(chainId: Digest): Uint8Array {
  return uuidOf(digestHex(chainId).slice(32, 64));
}

function uuidOf(hex: string): Uint8Array {
  const out = new Uint8Array(16);
  for (let i = 0; i < 16; i++) out[i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  out[6] = (out[6]! & 0x0f) | 0x80;
  out[8] = (out[8]! & 0x3f) | 0x80;
  return out;
}
