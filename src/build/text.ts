import { type ByteString, bytesOf } from '../core/bytes.ts';

const decoder: TextDecoder = new TextDecoder();

/** A name as text for matching against patterns: UTF-8, with U+FFFD for what is not. */
export function textOf(name: ByteString): string {
  return /[^\x00-\x7f]/.test(name) ? decoder.decode(bytesOf(name)) : name;
}
