import assert from 'node:assert/strict';
import { lstatSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import type { Digest } from '../../src/core/digest.ts';
import { buildPatch, type PatchDirectory, type PatchOptions } from '../../src/formats/erofs/patch.ts';
import type { TarEntry } from '../../src/formats/tar/entry.ts';
import { readEntries } from '../../src/formats/tar/read.ts';
import { MNT_DETACH, mount, umount } from '../../src/system/mount.ts';
import { entry, hardlink, indexTar, readBack, xattrs } from './entries.ts';
import { closeLab, mountIndex, openLab } from './lab.ts';
import { makeTar, member } from './tars.ts';

const { dir, skip } = openLab();
after(closeLab);

const LOWER: Digest = `sha256:${'1'.repeat(64)}`;
const MIDDLE: Digest = `sha256:${'2'.repeat(64)}`;
const CHAIN: Digest = `sha256:${'c'.repeat(64)}`;

function directory(path: string, more: Partial<PatchDirectory['attributes']> = {}): PatchDirectory {
  return { path, attributes: { mode: 0o755, uid: 0, gid: 0, mtime: { sec: 1, nsec: 0 }, xattrs: undefined, ...more } };
}

function patchOf(more: Partial<PatchOptions>): PatchOptions {
  const layers = [
    { diffId: LOWER, tarSize: 10_240 },
    { diffId: MIDDLE, tarSize: 20_480 },
  ];
  return { chainId: CHAIN, layers, directories: [directory('')], links: [], ...more };
}

describe('a patch', () => {
  it('of directories alone has no device', () => {
    const { image, devices } = buildPatch(
      patchOf({ directories: [directory('usr/lib', { mode: 0o700, uid: 5 }), directory(''), directory('usr')] }),
    );
    assert.deepEqual(devices, []);
    const names = readBack(image);
    assert.deepEqual([...names.keys()], ['', 'usr', 'usr/lib']);
    assert.deepEqual([names.get('usr/lib')!.mode, names.get('usr/lib')!.uid], [0o700, 5]);
  });

  it('has only the devices that it needs, and one inode for all names of a file', () => {
    const source = entry('bin/a', { size: 9, dataOffset: 1024, xattrs: xattrs({ 'user.a': 'b' }) });
    const { image, devices } = buildPatch(
      patchOf({ directories: [directory(''), directory('bin')], links: [{ paths: ['bin/a', 'b'], source, layer: 1 }] }),
    );
    assert.deepEqual(devices, [MIDDLE]);
    const names = readBack(image);
    assert.equal(names.get('b')!.nid, names.get('bin/a')!.nid);
    assert.equal(names.get('b')!.nlink, 2);
    assert.deepEqual(names.get('b')!.extents, [{ device: 1, start: 1024, length: 9 }]);
    assert.deepEqual([...names.get('b')!.xattrs.keys()], ['user.a']);
  });

  it('takes files from several layers, and layers that a stack has twice', () => {
    const file = (n: number): TarEntry => entry(`f${n}`, { size: 10, dataOffset: 512 * n });
    const { image, devices } = buildPatch(
      patchOf({
        layers: [MIDDLE, LOWER, MIDDLE].map((diffId) => ({ diffId, tarSize: 10_240 })),
        links: [
          { paths: ['x'], source: file(1), layer: 2 },
          { paths: ['y'], source: file(2), layer: 1 },
          { paths: ['z'], source: file(3), layer: 0 },
        ],
      }),
    );
    assert.deepEqual(devices, [MIDDLE, LOWER]);
    const names = readBack(image);
    assert.deepEqual(
      ['x', 'y', 'z'].map((n) => names.get(n)!.extents[0]),
      [
        { device: 1, start: 512, length: 10 },
        { device: 2, start: 1024, length: 10 },
        { device: 1, start: 1536, length: 10 },
      ],
    );
  });

  it('needs every directory told', () => {
    const source = entry('f');
    for (const more of [
      { directories: [] },
      { directories: [directory(''), directory('a/b')] },
      { links: [{ paths: ['d/x'], source, layer: 0 }] },
      { links: [{ paths: ['x'], source, layer: 2 }] },
      { links: [{ paths: ['x'], source: hardlink('a', 'b'), layer: 0 }] },
    ]) {
      assert.throws(() => buildPatch(patchOf(more)), { code: 'BAD_PATCH' });
    }
  });

  it('has another UUID than the layer with the same digest', () => {
    const uuidOf = (image: Uint8Array): string => Buffer.from(image.subarray(1072, 1088)).toString('hex');
    const chainId: Digest = `sha256:${'0123456789abcdef'.repeat(2)}${'fedcba9876543210'.repeat(2)}`;
    const layer = indexTar(makeTar(['a']), chainId);
    assert.notEqual(uuidOf(buildPatch(patchOf({ chainId })).image), uuidOf(layer.image));
  });

  it('mends a stack', { skip }, () => {
    const tars = [
      makeTar([
        member('./', { mode: 0o750 }),
        member('usr/', { mode: 0o711, uid: 7 }),
        'usr/bin/',
        'usr/bin/tool=content',
      ]),
      makeTar(['usr/bin/other => usr/bin/tool', 'usr/new=2']),
    ];
    const files = tars.map((tar, i) => {
      const file = join(dir, `mend-${i}.tar`);
      writeFileSync(file, tar);
      return file;
    });
    const lower = indexTar(tars[0]!, LOWER);
    const upper = indexTar(tars[1]!, MIDDLE);
    assert.deepEqual(upper.facts.impliedDirs, ['usr', 'usr/bin']);
    assert.deepEqual(upper.facts.lowerLinks, [{ path: 'usr/bin/other', target: 'usr/bin/tool' }]);
    const below = new Map(
      readEntries(readAt(tars[0]!), tars[0]!.length).map((e) => [e.path.replace(/^\.\/|\/$/g, ''), e]),
    );
    const patch = buildPatch({
      chainId: CHAIN,
      layers: tars.map((tar, i) => ({ diffId: i === 0 ? LOWER : MIDDLE, tarSize: tar.length })),
      directories: ['', ...upper.facts.impliedDirs].map((path) => ({ path, attributes: below.get(path)! })),
      links: [{ paths: ['usr/bin/tool', 'usr/bin/other'], source: below.get('usr/bin/tool')!, layer: 0 }],
    });
    assert.deepEqual(patch.devices, [LOWER]);
    const mounts = [
      mountIndex(dir, 'mend-lower', lower.image, [files[0]!]),
      mountIndex(dir, 'mend-upper', upper.image, [files[1]!]),
      mountIndex(dir, 'mend-patch', patch.image, [files[0]!]),
    ];
    try {
      const merged = join(dir, 'mend-merged');
      mkdirSync(merged);
      mount('overlay', merged, 'overlay', MS_RDONLY, `lowerdir=${[...mounts].reverse().join(':')}`);
      mounts.push(merged);
      assert.equal(statSync(merged).mode & 0o7777, 0o750);
      const usr = statSync(join(merged, 'usr'));
      assert.deepEqual([usr.mode & 0o7777, usr.uid], [0o711, 7]);
      assert.equal(readFileSync(join(merged, 'usr/bin/other'), 'utf8'), 'content');
      const [a, b] = ['tool', 'other'].map((n) => lstatSync(join(merged, 'usr/bin', n)));
      assert.deepEqual([a!.nlink, b!.nlink, a!.ino], [2, 2, b!.ino]);
      assert.equal(readFileSync(join(merged, 'usr/new'), 'utf8'), '2');
    } finally {
      for (const path of mounts.reverse()) umount(path, MNT_DETACH);
    }
  });
});

const MS_RDONLY = 1;

function readAt(tar: Buffer): (buffer: Uint8Array, offset: number) => number {
  return (buffer, offset) => {
    const part = tar.subarray(offset, offset + buffer.length);
    buffer.set(part);
    return part.length;
  };
}
