import assert from 'node:assert/strict';
import {
  closeSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import type { TarEntry } from '../../src/formats/tar/entry.ts';
import { MNT_DETACH, umount } from '../../src/system/mount.ts';
import { getXattr, listXattrs } from '../../src/system/xattr.ts';
import { buildIndex, entry, indexTar, symlink } from './entries.ts';
import { closeLab, mountIndex, openLab } from './lab.ts';
import { makeTar, member } from './tars.ts';

/** What no ordinary tar holds, on the kernel. */
const { dir, skip } = openLab();
after(closeLab);
let count = 0;

function withIndex(image: Uint8Array, tar: string, use: (root: string) => void): void {
  const root = mountIndex(dir, `limit-${count++}`, image, [tar]);
  try {
    use(root);
  } finally {
    umount(root, MNT_DETACH);
  }
}

/** A data file of `size` bytes with some bytes in it. */
function makeDevice(size: number, pieces: [offset: number, text: string][] = []): string {
  const path = join(dir, `device-${count}`);
  const fd = openSync(path, 'w');
  ftruncateSync(fd, size);
  for (const [offset, text] of pieces) writeSync(fd, text, offset);
  closeSync(fd);
  return path;
}

function withEntries(entries: TarEntry[], tar: string, use: (root: string) => void): void {
  withIndex(buildIndex(entries, {}, statSync(tar).size).image, tar, use);
}

function readPiece(path: string, offset: number, length: number): string {
  const fd = openSync(path, 'r');
  const buffer = Buffer.alloc(length);
  const n = readSync(fd, buffer, 0, length, offset);
  closeSync(fd);
  return buffer.toString('latin1', 0, n);
}

describe('the kernel takes', { skip }, () => {
  it('200,000 names in one directory', () => {
    const names = Array.from({ length: 200_000 }, (_, i) => `name-${i}`);
    withEntries(
      names.map((n) => entry(`d/${n}`)),
      makeDevice(1024),
      (root) => {
        assert.deepEqual(readdirSync(join(root, 'd')).sort(), names.sort());
        for (let i = 0; i < names.length; i += 997) assert.equal(lstatSync(join(root, 'd', names[i]!)).size, 0);
        assert.equal(lstatSync(join(root, 'd/name-200000'), { throwIfNoEntry: false }), undefined);
      },
    );
  });

  it('2047 directories in each other', () => {
    const path = 'd/'.repeat(2030);
    withEntries([entry(`${path}f`, { size: 3 })], makeDevice(1024, [[512, 'end']]), (root) => {
      assert.equal(readFileSync(`${root}/${path}f`, 'utf8'), 'end');
    });
  });

  it('symlinks of every length', () => {
    const lengths = [1, 447, 448, 449, 511, 512, 513, 1000, 1024, 2047, 4095];
    withEntries(
      lengths.map((n) => symlink(`s${n}`, 'y'.repeat(n))),
      makeDevice(1024),
      (root) => {
        for (const n of lengths) assert.equal(readlinkSync(join(root, `s${n}`)), 'y'.repeat(n));
      },
    );
  });

  it('the largest attributes', () => {
    const values = new Map([1, 2, 3].map((i) => [`user.${i}`, Buffer.alloc(65535, i)]));
    withEntries([entry('f', { xattrs: values }), entry('g/', { xattrs: values })], makeDevice(1024), (root) => {
      for (const name of ['f', 'g']) {
        assert.deepEqual(listXattrs(join(root, name)).sort(), [...values.keys()]);
        assert.deepEqual(getXattr(join(root, name), 'user.3'), values.get('user.3'));
      }
    });
  });

  it('padding that is not zero: nobody sees it', () => {
    for (const size of [7, 512 + 7, 8192 + 7, 12_288 + 511]) {
      const text = 'x'.repeat(size);
      const tar = makeTar([member(`f=${text}`)]);
      tar.fill('!', 512 + size, 512 + Math.ceil(size / 512) * 512);
      const file = join(dir, 'dirty.tar');
      writeFileSync(file, tar);
      const { image } = indexTar(tar);
      withIndex(image, file, (root) => {
        assert.equal(readFileSync(join(root, 'f'), 'latin1'), text);
        // What mmap would show past the end is in the page cache now; the index holds zeros there.
        const tailAt = image.lastIndexOf('x'.charCodeAt(0));
        assert.deepEqual(
          image.subarray(tailAt + 1, Math.ceil(tailAt / 512) * 512),
          new Uint8Array(511 - (tailAt % 512)),
        );
        assert.equal(image.includes('!'.charCodeAt(0), 2048), false);
      });
    }
  });

  it('a tar that ends within the last file', () => {
    const tar = makeTar([member(`f=${'x'.repeat(1000)}`)]).subarray(0, 1512);
    const file = join(dir, 'short.tar');
    writeFileSync(file, tar);
    withIndex(indexTar(tar).image, file, (root) => {
      assert.equal(readFileSync(join(root, 'f'), 'latin1'), 'x'.repeat(1000));
    });
  });

  it('a sparse file of 6 GiB, of a tebibyte, and one that is all hole', () => {
    const large = { offset: 6 * 2 ** 30 - 4096, length: 4096, dataOffset: 512 };
    const huge = { offset: 2 ** 39, length: 3, dataOffset: 4608 };
    const entries = [
      entry('large', { size: 6 * 2 ** 30, dataSize: 4096, sparse: [large] }),
      entry('huge', { size: 2 ** 40, dataSize: 3, dataOffset: 4608, sparse: [huge] }),
      entry('hole', { size: 2 ** 40 + 1, dataSize: 0, sparse: [] }),
    ];
    // The hole behind "huge" starts at a block: chunks of one block would take gigabytes of index.
    assert.throws(() => buildIndex([entries[1]!]), { code: 'INDEX_TOO_LARGE' });
    entries[1] = entry('huge', { size: 2 ** 39 + 3, dataSize: 3, dataOffset: 4608, sparse: [huge] });
    withEntries(
      entries,
      makeDevice(8192, [
        [512, 'begin'],
        [4608, 'end'],
      ]),
      (root) => {
        assert.equal(readPiece(join(root, 'large'), 6 * 2 ** 30 - 4097, 6), '\0begin');
        assert.equal(readPiece(join(root, 'huge'), 2 ** 39 - 2, 100), '\0\0end');
        assert.equal(readPiece(join(root, 'hole'), 2 ** 40 - 1, 100), '\0\0');
      },
    );
  });

  it('data just below 2 TiB', () => {
    const size = 2 ** 41 - 4096;
    const at = size - 1024;
    withEntries([entry('f', { size: 3, dataOffset: at })], makeDevice(size, [[at, 'far']]), (root) => {
      assert.equal(readFileSync(join(root, 'f'), 'utf8'), 'far');
    });
  });

  it('times far away', () => {
    const times = [-(2 ** 33), -1, 0, 2 ** 31, 2 ** 32, 2 ** 40];
    withEntries(
      times.map((sec, i) => entry(`t${i}`, { mtime: { sec, nsec: 999_999_999 } })),
      makeDevice(1024),
      (root) => {
        times.forEach((sec, i) => {
          assert.equal(
            lstatSync(join(root, `t${i}`), { bigint: true }).mtimeNs,
            BigInt(sec) * 1_000_000_000n + 999_999_999n,
          );
        });
      },
    );
  });
});
