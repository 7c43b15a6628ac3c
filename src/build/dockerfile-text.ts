import { isUtf8 } from 'node:buffer';
import { ImagoError } from '../core/errors.ts';

/**
 * A Dockerfile's bytes as text. Each byte that is no UTF-8 becomes a lone surrogate, U+DC80 and up, so that the parser
 * can say where it stands; in a comment it does no harm. Throws `BAD_ENCODING` for UTF-16.
 */
export function decodeDockerfile(bytes: Uint8Array): string {
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff)) {
    throw new ImagoError('BAD_ENCODING', 'the Dockerfile is UTF-16', { remedy: 'save it as UTF-8' });
  }
  if (isUtf8(bytes)) return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
  let out = '';
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(10, start);
    const end = newline < 0 ? bytes.length : newline + 1;
    const line = bytes.subarray(start, end);
    out += isUtf8(line) ? Buffer.from(line).toString() : decodeLine(line);
    start = end;
  }
  return out;
}

function decodeLine(line: Uint8Array): string {
  let out = '';
  for (let at = 0; at < line.length; ) {
    const length = sequenceLength(line[at]!);
    const sequence = line.subarray(at, at + length);
    const whole = sequence.length === length && isUtf8(sequence);
    out += whole ? Buffer.from(sequence).toString() : String.fromCharCode(0xdc00 + line[at]!);
    at += whole ? length : 1;
  }
  return out;
}

function sequenceLength(lead: number): number {
  if (lead < 0xc0) return 1;
  return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}
