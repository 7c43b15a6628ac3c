/**
 * A string that holds bytes: one character a byte (U+0000..U+00FF, "latin1").
 * Names inside images are bytes, not text; as byte strings they stay exact, compare and sort by unsigned
 * bytes with plain `<`, and serve as Map keys. Turn them into text for people with `displayName` only.
 */
export type ByteString = string;

const decoder: TextDecoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder: TextEncoder = new TextEncoder();

export function bytesOf(text: ByteString): Uint8Array {
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

/** UTF-8 text → byte string. */
export function byteString(text: string): ByteString {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 0x7f) return latin1(encoder.encode(text));
  }
  return text;
}

/** Bytes → byte string. */
export function latin1(bytes: Uint8Array): ByteString {
  let out = '';
  for (let i = 0; i < bytes.length; i += 8192) {
    out += String.fromCharCode(...bytes.subarray(i, i + 8192));
  }
  return out;
}

/** Byte string → text for people: UTF-8 where valid, else `\xNN` escapes; control characters are always escaped. */
export function displayName(name: ByteString): string {
  let text = name;
  let escapeHigh = false;
  if (/^[\x20-\x7e]*$/.test(name)) return name;
  try {
    text = decoder.decode(bytesOf(name));
  } catch {
    escapeHigh = true;
  }
  const pattern = escapeHigh ? /[\x00-\x1f\x7f-\xff]/g : /[\x00-\x1f\x7f-\x9f]/g;
  return text.replace(pattern, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

export function compareByteStrings(a: ByteString, b: ByteString): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
