import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { buildIndex, entry, hardlink, readBack, symlink, xattrs } from './entries.ts';

function namesOf(image: Uint8Array): string[] {
  return [...readBack(image).keys()];
}

describe('names', () => {
  it('cleans paths', () => {
    const { image } = buildIndex([entry('./a//b/./c'), entry('.//'), entry('a/b/d/')]);
    assert.deepEqual(namesOf(image), ['', 'a', 'a/b', 'a/b/c', 'a/b/d']);
  });

  it('sorts by bytes, so that "!" comes before "."', () => {
    const { image } = buildIndex([entry('b'), entry('!'), entry('a\u00e9'), entry('-'), entry('.x'), entry('/')]);
    assert.deepEqual(namesOf(image), ['', '!', '-', '.x', 'a\xc3\xa9', 'b']);
  });

  it('takes "./" as the root', () => {
    const { image, facts } = buildIndex([entry('./', { mode: 0o700, uid: 5 }), entry('a')]);
    assert.equal(facts.rootImplied, false);
    const root = readBack(image).get('')!;
    assert.deepEqual([root.mode, root.uid, root.nlink], [0o700, 5, 2]);
  });
});

describe('implied directories', () => {
  it('get plain attributes and are told', () => {
    const { image, facts } = buildIndex([entry('usr/lib/x'), entry('etc/', { mode: 0o711 }), entry('etc/d/y')]);
    assert.equal(facts.rootImplied, true);
    assert.deepEqual(facts.impliedDirs, ['etc/d', 'usr', 'usr/lib']);
    assert.equal(facts.entries, 3);
    const usr = readBack(image).get('usr')!;
    assert.deepEqual([usr.mode, usr.uid, usr.mtime.sec, usr.nlink], [0o755, 0, 0, 3]);
  });

  it('are no longer implied when their entry comes after their content', () => {
    const { image, facts } = buildIndex([entry('a/b'), entry('a/', { mode: 0o750 })]);
    assert.deepEqual(facts.impliedDirs, []);
    assert.equal(readBack(image).get('a')!.mode, 0o750);
  });

  it('inherit nothing inside of an opaque or replaced directory', () => {
    const { facts } = buildIndex([
      entry('o/.wh..wh..opq'),
      entry('o/i/f'),
      entry('.wh.r'),
      entry('r/i/f'),
      entry('n/i/f'),
    ]);
    // The content of "o" is hidden, not "o" itself; "r" is made anew.
    assert.deepEqual(facts.impliedDirs, ['n', 'n/i', 'o']);
    assert.equal(facts.opaques, 2);
    assert.equal(facts.whiteouts, 0);
  });
});

describe('duplicates', () => {
  it('a later file replaces an earlier one', () => {
    const { image, facts } = buildIndex([entry('a', { size: 5 }), entry('./a', { size: 7, dataOffset: 1024 })]);
    assert.deepEqual(readBack(image).get('a')!.extents, [{ device: 1, start: 1024, length: 7 }]);
    assert.deepEqual([facts.entries, facts.files, facts.bytes], [1, 1, 7]);
  });

  it('a directory over a directory keeps what is in it', () => {
    const { image } = buildIndex([entry('d/'), entry('d/x'), entry('d/', { mode: 0o700 })]);
    assert.deepEqual(namesOf(image), ['', 'd', 'd/x']);
    assert.equal(readBack(image).get('d')!.mode, 0o700);
  });

  it('a file over a directory takes all that was in it away', () => {
    const { image, facts } = buildIndex([
      entry('keep', { size: 3 }),
      entry('d/'),
      hardlink('d/link', 'keep'),
      entry('d/e/f', { size: 9 }),
      entry('d', { size: 1 }),
    ]);
    assert.deepEqual(namesOf(image), ['', 'd', 'keep']);
    assert.equal(readBack(image).get('keep')!.nlink, 1);
    assert.deepEqual([facts.files, facts.bytes, facts.impliedDirs], [2, 4, []]);
  });

  it('a directory over a file makes room for entries below it', () => {
    const { image } = buildIndex([entry('d'), entry('d/'), entry('d/x')]);
    assert.deepEqual(namesOf(image), ['', 'd', 'd/x']);
  });
});

describe('hardlinks', () => {
  it('share one inode', () => {
    const { image, facts } = buildIndex([entry('a', { size: 4 }), hardlink('d/b', './a'), hardlink('c', '/d/b')]);
    const names = readBack(image);
    assert.deepEqual(
      ['a', 'c', 'd/b'].map((n) => names.get(n)!.nlink),
      [3, 3, 3],
    );
    assert.equal(new Set(['a', 'c', 'd/b'].map((n) => names.get(n)!.nid)).size, 1);
    assert.deepEqual([facts.entries, facts.files, facts.bytes], [3, 1, 4]);
  });

  it('keep the inode when the first name is replaced', () => {
    const { image } = buildIndex([entry('a', { size: 4 }), hardlink('b', 'a'), entry('a', { size: 5 })]);
    const names = readBack(image);
    assert.deepEqual([names.get('a')!.size, names.get('a')!.nlink], [5, 1]);
    assert.deepEqual([names.get('b')!.size, names.get('b')!.nlink], [4, 1]);
  });

  it('may name a symlink, and themselves where GNU tar stored a file twice', () => {
    const { image } = buildIndex([symlink('s', 'x'), hardlink('t', 's'), entry('f'), hardlink('f', 'f')]);
    const names = readBack(image);
    assert.equal(names.get('t')!.target, 'x');
    assert.equal(names.get('f')!.nlink, 1);
  });

  it('may come before their source', () => {
    const { image, facts } = buildIndex([hardlink('b', 'a'), entry('a', { size: 4 })]);
    assert.deepEqual(facts.lowerLinks, []);
    assert.equal(readBack(image).get('b')!.nlink, 2);
  });

  it('to files of lower layers are told, not written', () => {
    const { image, facts } = buildIndex([hardlink('x/b', 'bin/a'), hardlink('c', 'x/b'), entry('f')]);
    assert.deepEqual(facts.lowerLinks, [
      { path: 'c', target: 'bin/a' },
      { path: 'x/b', target: 'bin/a' },
    ]);
    assert.deepEqual(namesOf(image), ['', 'f', 'x']);
    assert.deepEqual([facts.entries, facts.impliedDirs], [3, ['x']]);
  });

  it("into AUFS's own directory take the file from there", () => {
    const { image, facts } = buildIndex([
      entry('.wh..wh.plnk/12.34', { size: 6 }),
      hardlink('a', '.wh..wh.plnk/12.34'),
      hardlink('b', '.wh..wh.plnk/12.34'),
    ]);
    assert.deepEqual(namesOf(image), ['', 'a', 'b']);
    assert.deepEqual([readBack(image).get('a')!.nlink, facts.bytes], [2, 6]);
  });
});

describe('whiteouts', () => {
  it('delete names of any length that a file system takes', () => {
    const { image } = buildIndex([entry(`d/.wh.${'x'.repeat(255)}`)]);
    assert.deepEqual(namesOf(image), ['', 'd', `d/${'x'.repeat(255)}`]);
    for (const path of [`d/.wh.${'x'.repeat(256)}`, `.wh.${'x'.repeat(252)}/d`, 'x'.repeat(256)]) {
      assert.throws(() => buildIndex([entry(path)]), { code: 'NAME_TOO_LONG' });
    }
  });

  it('become devices 0:0 in a directory that hides them from readdir', () => {
    const { image, facts } = buildIndex([entry('d/'), entry('d/.wh.gone'), entry('.wh.top')]);
    const names = readBack(image);
    for (const name of ['d/gone', 'top']) {
      const { type, devmajor, devminor } = names.get(name)!;
      assert.deepEqual([type, devmajor, devminor], ['char', 0, 0]);
    }
    assert.deepEqual([...names.get('d')!.xattrs.keys()], ['trusted.overlay.origin']);
    assert.deepEqual([...names.get('')!.xattrs.keys()], ['trusted.overlay.origin']);
    assert.deepEqual([facts.whiteouts, facts.entries], [2, 1]);
  });

  it('hide lower layers only, wherever they come', () => {
    const { image, facts } = buildIndex([
      entry('a'),
      entry('.wh.a'),
      entry('.wh.b'),
      entry('b'),
      entry('d/x'),
      entry('.wh.d'),
    ]);
    assert.deepEqual(namesOf(image), ['', 'a', 'b', 'd', 'd/x']);
    assert.equal(facts.whiteouts, 0);
    assert.equal(readBack(image).get('d')!.xattrs.has('trusted.overlay.opaque'), true);
  });

  it('opaque markers make directories opaque', () => {
    const { image, facts } = buildIndex([entry('d/.wh..wh..opq'), entry('d/x')]);
    const value = readBack(image).get('d')!.xattrs.get('trusted.overlay.opaque');
    assert.deepEqual(value, Uint8Array.of(0x79));
    assert.deepEqual([facts.opaques, facts.rootOpaque], [1, false]);
    assert.equal(buildIndex([entry('.wh..wh..opq')]).facts.rootOpaque, true);
  });

  it("AUFS's own names are left out", () => {
    const { image } = buildIndex([
      entry('.wh..wh.aufs'),
      entry('.wh..wh.orph/'),
      entry('d/.wh..wh.plnk/'),
      entry('.wh..wh.orph/x'),
    ]);
    assert.deepEqual(namesOf(image), ['']);
  });

  it('a device 0:0 is one, as in every overlay', () => {
    const { facts } = buildIndex([entry('dev', { type: 'char' })]);
    assert.deepEqual([facts.whiteouts, facts.entries], [1, 0]);
  });
});

describe('attributes', () => {
  it('keeps those EROFS can hold, sorted, and counts the others', () => {
    const { image, facts } = buildIndex([
      entry('f', {
        xattrs: xattrs({
          'user.b': '2',
          'security.capability': '\x01\0\0\x02',
          'system.posix_acl_access': '\x02\0\0\0',
          'user.a': '',
          'com.apple.quarantine': 'x',
          'system.nfs4_acl': 'y',
          'trusted.overlay.redirect': '/etc',
          'trusted.overlay.overlay.opaque': 'y',
          'trusted.t': 't',
        }),
      }),
    ]);
    assert.deepEqual(
      [...readBack(image).get('f')!.xattrs.keys()],
      [
        'security.capability',
        'system.posix_acl_access',
        'trusted.overlay.overlay.overlay.opaque',
        'trusted.overlay.overlay.redirect',
        'trusted.t',
        'user.a',
        'user.b',
      ],
    );
    assert.equal(facts.droppedXattrs, 2);
  });

  it('keeps times before 1970 and to the nanosecond, large owners, all mode bits', () => {
    const time = { sec: -6, nsec: 750_000_000 };
    const { image } = buildIndex([entry('f', { mtime: time, uid: 4294967294, gid: 65536, mode: 0o7777 })]);
    const f = readBack(image).get('f')!;
    assert.deepEqual([f.mtime, f.uid, f.gid, f.mode], [time, 4294967294, 65536, 0o7777]);
  });
});

describe('data', () => {
  it('of sparse files in uniform chunks', () => {
    const sparse = [
      { offset: 8192, length: 4096, dataOffset: 1024 },
      { offset: 12288, length: 4096, dataOffset: 5120 },
      { offset: 65536, length: 100, dataOffset: 9216 },
    ];
    const { image } = buildIndex([entry('f', { size: 65636, dataSize: 8292, dataOffset: 1024, sparse })]);
    assert.deepEqual(readBack(image).get('f')!.extents, [
      { device: -1, start: 0, length: 8192 },
      { device: 1, start: 1024, length: 8192 },
      { device: -1, start: 0, length: 49152 },
      { device: 1, start: 9216, length: 100 },
    ]);
  });

  it('of a hole of a tebibyte takes one chunk', () => {
    const { image } = buildIndex([entry('f', { size: 2 ** 40, dataSize: 0, sparse: [] })]);
    assert.deepEqual(readBack(image).get('f')!.extents, [{ device: -1, start: 0, length: 2 ** 40 }]);
    assert.ok(image.length < 4096);
  });

  it('whose padding is not zero ends in the index itself', () => {
    const tail = Uint8Array.from('the end', (c) => c.charCodeAt(0));
    for (const whole of [0, 512, 1536, 1 << 20]) {
      const size = whole + tail.length;
      const { image } = buildIndex([entry('f', { size, dirtyPadding: true, tail })]);
      const { extents } = readBack(image).get('f')!;
      const last = extents.pop()!;
      assert.deepEqual(extents, whole === 0 ? [] : [{ device: 1, start: 512, length: whole }]);
      assert.deepEqual([last.device, last.length], [0, 7]);
      const block = image.subarray(last.start, last.start + 512);
      assert.equal(Buffer.from(block).toString('latin1'), `the end${'\0'.repeat(505)}`);
    }
  });

  it('past the 2 TiB that blocks of one image reach is mapped by chunks', () => {
    const size = 2 ** 41 - 1024;
    const { image } = buildIndex([entry('f', { size: 700 * 2 ** 30 })], {}, size);
    assert.deepEqual(readBack(image).get('f')!.extents, [{ device: 1, start: 512, length: 700 * 2 ** 30 }]);
    assert.throws(() => buildIndex([entry('f')], {}, 2 ** 42), { code: 'TAR_TOO_LARGE' });
  });
});

describe('the image', () => {
  it('is a pure function of the entries', () => {
    const make = (): Uint8Array => buildIndex([entry('b/c', { size: 4 }), entry('a'), symlink('s', 't')]).image;
    assert.deepEqual(make(), make());
  });

  it('reads back with directories of every size', () => {
    for (const length of [1, 17, 100, 255]) {
      const names = Array.from(
        { length: 300 },
        (_, i) => `d/${String(i).padStart(3, '0').padEnd(length, 'x').slice(0, length)}`,
      );
      const unique = [...new Set(names)].sort();
      for (let count = 1; count <= unique.length; count = Math.ceil(count * 1.3)) {
        const { image } = buildIndex(unique.slice(0, count).map((n) => entry(n)));
        assert.deepEqual(namesOf(image), ['', 'd', ...unique.slice(0, count)]);
      }
    }
  });

  it('holds symlinks of every length', () => {
    const lengths = [1, 447, 448, 449, 511, 512, 513, 1000, 1024, 4095];
    const { image } = buildIndex(lengths.map((n) => symlink(`s${n}`, 'y'.repeat(n))));
    const names = readBack(image);
    for (const n of lengths) assert.equal(names.get(`s${n}`)!.target, 'y'.repeat(n));
  });
});
