import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isImagoError } from '../../src/core/errors.ts';
import type { TarEntry } from '../../src/formats/tar/entry.ts';
import { buildIndex, entry, hardlink, readBack, symlink, xattrs } from './entries.ts';

const long = 'n'.repeat(300);
const deep = 'd/'.repeat(2100);
const value = 'v'.repeat(65535);

const CASES: [what: string, code: string, entries: TarEntry[]][] = [
  ['"../" in front', 'PATH_TRAVERSAL', [entry('../etc/passwd')]],
  ['".." that would stay inside', 'PATH_TRAVERSAL', [entry('a/../b')]],
  ['".." at the end', 'PATH_TRAVERSAL', [entry('a/..')]],
  ['"./.."', 'PATH_TRAVERSAL', [entry('./..')]],
  ['an absolute name', 'ABSOLUTE_PATH', [entry('/etc/passwd')]],
  ['an absolute name with two slashes', 'ABSOLUTE_PATH', [entry('//etc')]],
  ['a file through a symlink', 'NOT_A_DIRECTORY', [symlink('a', '/etc'), entry('a/passwd')]],
  ['a file deep through a symlink', 'NOT_A_DIRECTORY', [symlink('a', '..'), entry('a/b/c/d')]],
  ['a file below a file', 'NOT_A_DIRECTORY', [entry('a'), entry('a/b')]],
  ['a directory below a file', 'NOT_A_DIRECTORY', [entry('a'), entry('a/b/')]],
  ['a file below a link to a lower layer', 'NOT_A_DIRECTORY', [hardlink('a', 'b'), entry('a/b')]],
  ['a whiteout below a symlink', 'NOT_A_DIRECTORY', [symlink('a', '/etc'), entry('a/.wh.passwd')]],
  ['an opaque marker in a file', 'NOT_A_DIRECTORY', [entry('a'), entry('a/.wh..wh..opq')]],
  ['a root that is a file', 'NOT_A_DIRECTORY', [entry('./', { type: 'file' })]],
  ['a root that is a link', 'NOT_A_DIRECTORY', [entry('.', { type: 'hardlink', linkname: 'x' })]],
  ['a name of 300 bytes', 'NAME_TOO_LONG', [entry(`a/${long}/b`)]],
  ['a path of more than 4095 bytes', 'NAME_TOO_LONG', [entry(deep)]],
  ['a symlink of more than 4095 bytes', 'NAME_TOO_LONG', [symlink('s', deep)]],
  ['a name with a NUL', 'BAD_NAME', [entry('a\0b')]],
  ['a hardlink outside', 'PATH_TRAVERSAL', [hardlink('a', '../../etc/shadow')]],
  ['a hardlink outside by way of a directory', 'PATH_TRAVERSAL', [entry('d/'), hardlink('a', 'd/../../x')]],
  ['a hardlink to a directory', 'BAD_HARDLINK', [entry('d/'), hardlink('a', 'd')]],
  ['a hardlink to its own parent', 'BAD_HARDLINK', [entry('d/'), hardlink('d/a', 'd')]],
  ['a hardlink to the root', 'BAD_HARDLINK', [hardlink('a', './')]],
  ['a hardlink to a directory that comes later', 'BAD_HARDLINK', [hardlink('a', 'd'), entry('d/')]],
  ['a hardlink to itself', 'BAD_HARDLINK', [hardlink('a', './a')]],
  ['a hardlink to nothing at all', 'BAD_HARDLINK', [hardlink('a', '')]],
  ['hardlinks in a circle', 'BAD_HARDLINK', [hardlink('a', 'b'), hardlink('b', 'c'), hardlink('c', 'a')]],
  ['an empty symlink', 'BAD_SYMLINK', [symlink('s', '')]],
  ['a symlink with a NUL', 'BAD_SYMLINK', [symlink('s', 'a\0b')]],
  ['a whiteout of nothing', 'BAD_WHITEOUT', [entry('d/.wh.')]],
  ['a whiteout of its own directory', 'BAD_WHITEOUT', [entry('d/.wh..')]],
  ['a whiteout of its parent', 'BAD_WHITEOUT', [entry('d/.wh...')]],
  ['an entry below a whiteout', 'BAD_WHITEOUT', [entry('.wh.d/x')]],
  ['an owner past 32 bits', 'BAD_OWNER', [entry('f', { uid: 2 ** 32 })]],
  ['the owner "nobody at all"', 'BAD_OWNER', [entry('f', { gid: 2 ** 32 - 1 })]],
  ['a negative owner', 'BAD_OWNER', [entry('f', { uid: -2 })]],
  ['a device number past the kernel', 'BAD_DEVICE', [entry('f', { type: 'block', devmajor: 4096 })]],
  ['data off the blocks', 'UNALIGNED_DATA', [entry('f', { size: 4, dataOffset: 700 })]],
  [
    'sparse data off the blocks',
    'UNALIGNED_DATA',
    [
      sparse(4096, [
        [0, 100, 512],
        [1024, 512, 612],
      ]),
    ],
  ],
  [
    'a sparse map out of order',
    'BAD_SPARSE',
    [
      sparse(4096, [
        [1024, 512, 512],
        [0, 512, 1024],
      ]),
    ],
  ],
  ['a sparse map past the file', 'BAD_SPARSE', [sparse(4096, [[3584, 1024, 512]])]],
  ['data past the end of the tar', 'TAR_TRUNCATED', [entry('f', { size: 2 ** 33 })]],
  ['an attribute with a long name', 'XATTR_TOO_LARGE', [entry('f', { xattrs: xattrs({ [`user.${long}`]: '' }) })]],
  ['an attribute with a long value', 'XATTR_TOO_LARGE', [entry('f', { xattrs: xattrs({ 'user.a': `${value}+` }) })]],
  ['too many attributes', 'XATTR_TOO_LARGE', [entry('f', { xattrs: manyXattrs(5) })]],
  ['an attribute with a NUL', 'BAD_XATTR', [entry('f', { xattrs: xattrs({ 'user.a\0b': '' }) })]],
];

function sparse(size: number, map: [number, number, number][]): TarEntry {
  const segments = map.map(([offset, length, dataOffset]) => ({ offset, length, dataOffset }));
  return entry('f', { size, sparse: segments, dataSize: map.reduce((sum, [, length]) => sum + length, 0) });
}

function manyXattrs(count: number): Map<string, Uint8Array> {
  return xattrs(Object.fromEntries(Array.from({ length: count }, (_, i) => [`user.${i}`, value])));
}

describe('a hostile layer is refused', () => {
  for (const [what, code, entries] of CASES) {
    it(what, () => {
      assert.throws(
        () => buildIndex(entries),
        (error) => {
          assert.ok(isImagoError(error), String(error));
          assert.equal(error.code, code);
          assert.match(error.message, /^[\x20-\x7e]+$/, 'shown on a terminal as it is');
          assert.ok(error.message.length < 500);
          return true;
        },
      );
    });
  }

  it('with more entries than the limit', () => {
    assert.throws(() => buildIndex([entry('a'), entry('a'), entry('a')], { maxEntries: 2 }), {
      code: 'TOO_MANY_ENTRIES',
    });
  });

  it('with a sparse file that would take gigabytes of index', () => {
    const file = sparse(2 ** 42, [[512, 512, 512]]);
    assert.throws(() => buildIndex([file]), { code: 'INDEX_TOO_LARGE' });
  });
});

describe('what looks odd but is real is taken', () => {
  it('"/" as the root (Kaniko), names with dots, a backslash, bytes that are no text', () => {
    const names = ['..a', '...', 'a\\b', 'new\nline', '\x7f'];
    const { image } = buildIndex([entry('/'), ...names.map((n) => entry(n)), entry('x', { path: '\xff\xfe' })]);
    assert.deepEqual([...readBack(image).keys()], ['', ...[...names, '\xff\xfe'].sort()]);
  });

  it('a symlink that points outside: it is resolved in the container', () => {
    const { image } = buildIndex([symlink('s', '../../../etc/shadow')]);
    assert.equal(readBack(image).get('s')!.target, '../../../etc/shadow');
  });

  it('a path of 4095 bytes and a depth of 2048', () => {
    const path = `${'d/'.repeat(2047)}f`;
    const { image } = buildIndex([entry(path)]);
    assert.equal([...readBack(image).keys()].at(-1), path);
  });

  it("attributes up to the kernel's limits", () => {
    const { image } = buildIndex([entry('f', { xattrs: manyXattrs(3) })]);
    assert.equal(readBack(image).get('f')!.xattrs.get('user.2')!.length, 65535);
  });
});
