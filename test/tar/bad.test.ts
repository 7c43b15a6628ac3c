import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesOf } from '../../src/core/bytes.ts';
import { isImagoError } from '../../src/core/errors.ts';
import { TAR_LIMITS, type TarLimits } from '../../src/formats/tar/limits.ts';
import { TarScanner } from '../../src/formats/tar/scan.ts';
import { END_OF_ARCHIVE, encodeHeader, paddingBytes, type TarMember } from '../../src/formats/tar/write.ts';

function join(...parts: (Uint8Array | string)[]): Uint8Array {
  return Buffer.concat(parts.map((p) => (typeof p === 'string' ? bytesOf(p) : p)));
}

function member(m: TarMember, data: string = ''): Uint8Array {
  return join(encodeHeader({ size: data.length, ...m }), data, paddingBytes(data.length));
}

/** A header whose bytes are changed and summed again. */
function forge(m: TarMember, change: (block: Uint8Array) => void): Uint8Array {
  const block = encodeHeader(m);
  change(block);
  block.fill(0x20, 148, 156);
  const sum = block.subarray(0, 512).reduce((a, b) => a + b, 0);
  block.set(bytesOf(`${sum.toString(8).padStart(6, '0')}\x00 `), 148);
  return block;
}

function put(at: number, text: string): (block: Uint8Array) => void {
  return (block) => block.set(bytesOf(text), at);
}

function extension(flag: string, body: string): Uint8Array {
  const head = forge({ path: 'PaxHeaders/x', type: 'file', size: body.length }, put(156, flag));
  return join(head, body, paddingBytes(body.length));
}

const file: TarMember = { path: 'file', type: 'file' };
const good = member(file, 'hello');
const record = (key: string, value: string): string => {
  const rest = key.length + value.length + 3;
  const length = [1, 2, 3, 4, 5, 6].map((n) => rest + n).find((n) => String(n).length + rest === n);
  return `${length} ${key}=${value}\n`;
};
const sparse10 = (map: string, stored: number): Uint8Array =>
  join(
    extension(
      'x',
      record('GNU.sparse.major', '1') + record('GNU.sparse.minor', '0') + record('GNU.sparse.realsize', '9'),
    ),
    encodeHeader({ ...file, size: 512 + stored }),
    map.padEnd(512, '\0'),
  );

const cases: [name: string, code: string, offset: number, tar: Uint8Array, limits?: Partial<TarLimits>][] = [
  ['gzip given as tar', 'TAR_BAD_CHECKSUM', 0, Buffer.from('1f8b08'.padEnd(2048, '0'), 'hex')],
  ['text given as tar', 'TAR_BAD_CHECKSUM', 0, bytesOf('#!/bin/sh\n'.repeat(100))],
  ['a flipped bit in the second header', 'TAR_BAD_CHECKSUM', 1024, join(good, member(file).fill(0x41, 5, 6))],
  ['cut inside the first header', 'TAR_TRUNCATED', 100, good.subarray(0, 100)],
  ['cut inside data', 'TAR_TRUNCATED', 514, good.subarray(0, 514)],
  ['cut inside data of whole blocks', 'TAR_TRUNCATED', 600, member(file, 'x'.repeat(1024)).subarray(0, 600)],
  ['cut inside a PAX body', 'TAR_TRUNCATED', 600, extension('x', record('path', 'a')).subarray(0, 600)],
  ['cut after a PAX header', 'TAR_TRUNCATED', 1024, extension('x', record('path', 'a'))],
  [
    'a PAX header at the end of the archive',
    'TAR_BAD_HEADER',
    0,
    join(extension('x', record('path', 'a')), END_OF_ARCHIVE),
  ],
  ['letters in the size', 'TAR_BAD_HEADER', 0, forge(file, put(124, '0000000x000'))],
  ['a negative size', 'TAR_BAD_HEADER', 0, forge(file, put(124, '\xff'.repeat(12)))],
  ['a size of 2^88', 'TAR_BAD_HEADER', 0, forge(file, put(124, `\x80${'\xff'.repeat(11)}`))],
  [
    'a size that leaves 2^53 with its offset',
    'TAR_BAD_HEADER',
    0,
    forge(file, put(124, '\x80\0\0\0\0\x1f\xff\xff\xff\xff\xff\xff')),
  ],
  ['a negative owner', 'TAR_BAD_HEADER', 0, forge(file, put(108, '\xff'.repeat(8)))],
  ['an owner of 2^32', 'TAR_BAD_HEADER', 0, forge(file, put(108, '\x80\0\0\x01\0\0\0\0'))],
  [
    'a directory with data',
    'TAR_BAD_HEADER',
    0,
    forge({ path: 'd/', type: 'directory' }, (b) => {
      put(156, '0')(b);
      put(124, '00000000005')(b);
    }),
  ],
  ['an unknown type', 'TAR_UNSUPPORTED_TYPE', 1024, join(good, forge(file, put(156, 'Z')))],
  ['a sparse type without GNU magic', 'TAR_UNSUPPORTED_TYPE', 0, forge(file, put(156, 'S'))],
  ['a PAX record with a length of 0', 'TAR_BAD_PAX', 512, extension('x', '0 path=a\n')],
  ['a PAX record longer than the body', 'TAR_BAD_PAX', 512, extension('x', '99 path=a\n')],
  ['a PAX record without a newline', 'TAR_BAD_PAX', 512, extension('x', '9 path=ab')],
  ['a PAX record without "="', 'TAR_BAD_PAX', 512, extension('x', '8 patha\n')],
  ['a PAX length without an end', 'TAR_BAD_PAX', 512, extension('x', '1'.repeat(100))],
  ['the second PAX record bad', 'TAR_BAD_PAX', 520, extension('x', '8 path=\n-3 uid=1\n')],
  ['NUL in a PAX path', 'TAR_BAD_PAX', 512, extension('x', record('path', 'a\0b'))],
  ['NUL in a PAX link', 'TAR_BAD_PAX', 512, extension('x', record('linkpath', 'a\0b'))],
  ['a PAX size that is no number', 'TAR_BAD_PAX', 512, extension('x', record('size', '-1'))],
  ['a PAX size beyond 2^53', 'TAR_BAD_PAX', 512, extension('x', record('size', '9007199254740992'))],
  ['a PAX owner beyond 2^32', 'TAR_BAD_PAX', 512, extension('x', record('uid', '4294967296'))],
  ['a PAX time that is no number', 'TAR_BAD_PAX', 512, extension('x', record('mtime', '1e5'))],
  ['a global path', 'TAR_BAD_PAX', 512, extension('g', record('path', 'every'))],
  ['a global size', 'TAR_BAD_PAX', 512, extension('g', record('size', '5'))],
  ['bad base64', 'TAR_BAD_PAX', 512, extension('x', record('LIBARCHIVE.xattr.user.a', '!'))],
  ['an xattr without a name', 'TAR_BAD_PAX', 512, extension('x', record('SCHILY.xattr.', 'a'))],
  [
    'too many xattrs',
    'TAR_TOO_MANY_XATTRS',
    578,
    extension('x', [1, 2, 3].map((n) => record(`SCHILY.xattr.user.attribute${n}`, '')).join('')),
    { xattrs: 2 },
  ],
  [
    'a PAX body beyond the limit',
    'TAR_HEADER_TOO_LARGE',
    1024,
    join(good, forge({ ...file, size: (1 << 20) + 1 }, put(156, 'x'))),
  ],
  ['a long name beyond the limit', 'TAR_HEADER_TOO_LARGE', 0, forge({ ...file, size: 1 << 21 }, put(156, 'L'))],
  [
    'global headers beyond the limit together',
    'TAR_HEADER_TOO_LARGE',
    1024,
    join(extension('g', record('uid', '1')), extension('g', record('uid', '2'))),
    { extension: 15 },
  ],
  ['a sparse map out of order', 'TAR_BAD_SPARSE', 0, sparse10('2\n4\n2\n0\n2\n', 4)],
  ['a sparse map past the size', 'TAR_BAD_SPARSE', 0, sparse10('1\n8\n2\n', 2)],
  ['a sparse map with less than is stored', 'TAR_BAD_SPARSE', 0, sparse10('1\n0\n2\n', 3)],
  ['a sparse map with more than is stored', 'TAR_BAD_SPARSE', 0, sparse10('1\n0\n5\n', 3)],
  ['a sparse map that is no map', 'TAR_BAD_SPARSE', 0, sparse10('one\n', 0)],
  ['a sparse map of very many', 'TAR_BAD_SPARSE', 0, sparse10(`${TAR_LIMITS.sparseSegments + 1}\n`, 0)],
  ['a sparse map with a huge number', 'TAR_BAD_SPARSE', 0, sparse10('1\n99999999999999999999999\n1\n', 0)],
  ['a sparse map longer than the member', 'TAR_BAD_SPARSE', 0, join(sparse10('9\n'.repeat(256), 0), '9\n'.repeat(256))],
  ['unpaired sparse records', 'TAR_BAD_PAX', 512, extension('x', record('GNU.sparse.numbytes', '5'))],
  [
    'a sparse file without its size',
    'TAR_BAD_PAX',
    0,
    join(extension('x', record('GNU.sparse.map', '0,1')), encodeHeader(file)),
  ],
  [
    'an unknown sparse version',
    'TAR_BAD_PAX',
    0,
    join(extension('x', record('GNU.sparse.major', '2') + record('GNU.sparse.size', '1')), encodeHeader(file)),
  ],
];

test('bad archives end in a typed error with the offset', async (t) => {
  for (const [name, code, offset, tar, limits] of cases) {
    await t.test(name, () => {
      for (const size of [tar.length, 100]) {
        assert.throws(
          () => {
            const scanner = new TarScanner({ entry() {} }, { limits });
            for (let at = 0; at < tar.length; at += size) scanner.push(tar.subarray(at, at + size));
            scanner.finish();
          },
          (error) => {
            assert.ok(isImagoError(error, code), String(error));
            assert.equal(error.details.offset, offset, error.message);
            return true;
          },
        );
      }
    });
  }
});

test('an empty input is an empty archive', () => {
  const scanner = new TarScanner({ entry: () => assert.fail() });
  scanner.push(new Uint8Array(0));
  scanner.finish();
});

test('skipTo stays inside the data of a member', () => {
  const scanner = new TarScanner({ entry() {} }, { headersOnly: true });
  scanner.push(good.subarray(0, 512));
  assert.equal(scanner.wantOffset, 1024);
  assert.throws(() => scanner.skipTo(1025), RangeError);
  assert.throws(() => scanner.skipTo(511), RangeError);
  scanner.skipTo(700);
  scanner.push(good.subarray(700));
  assert.equal(scanner.wantOffset, 1024);
  scanner.finish();
});
