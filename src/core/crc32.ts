/** The polynomial of gzip (RFC 1952 §8) with its bits reversed. */
const POLYNOMIAL = 0xedb88320;
/** x^0: the highest bit, as the bits are reversed. */
const ONE = 0x80000000;

/**
 * The CRC-32 of two pieces of data joined, from the CRC of each and the second one's length in bytes: so pieces can
 * be summed apart. crc(a ++ b) = crc(a) · x^(8·|b|) + crc(b) over GF(2), modulo the polynomial.
 */
export function combineCrc32(first: number, second: number, secondLength: number): number {
  return (multiply(powerOfX(8 * secondLength), first) ^ second) >>> 0;
}

/** x^n modulo the polynomial, by squaring. */
function powerOfX(n: number): number {
  let result = ONE;
  let square = ONE >>> 1;
  for (let left = n; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) result = multiply(square, result);
    square = multiply(square, square);
  }
  return result;
}

function multiply(a: number, b: number): number {
  let product = 0;
  let shifted = b;
  for (let bit = ONE; bit !== 0; bit >>>= 1) {
    if ((a & bit) !== 0) product ^= shifted;
    shifted = (shifted & 1) === 1 ? (shifted >>> 1) ^ POLYNOMIAL : shifted >>> 1;
  }
  return product >>> 0;
}
