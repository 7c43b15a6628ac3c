import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { isImagoError } from '../../src/core/errors.ts';
import type { LayerIndex } from '../../src/formats/erofs/index-builder.ts';
import { type IndexEntry, IndexReader } from '../../src/formats/erofs/read.ts';
import type { TarEntry, TarEntryType } from '../../src/formats/tar/entry.ts';
import { MNT_DETACH, umount } from '../../src/system/mount.ts';
import { buildIndex, entry, randomSource, readBack } from './entries.ts';
import { closeLab, describeTree, mountIndex, openLab } from './lab.ts';

/** Errors are fine, wrong indexes and other exceptions are bugs. IMAGO_TEST_SECONDS makes it longer. */
const SECONDS = Number(process.env.IMAGO_TEST_SECONDS ?? 2);
const TAR_SIZE = 1 << 20;

type Random = (below: number) => number;

const TYPES: TarEntryType[] = [
  'file',
  'file',
  'file',
  'hardlink',
  'symlink',
  'directory',
  'directory',
  'char',
  'block',
  'fifo',
];
const PARTS = [
  'a',
  'b',
  'c',
  'd',
  'e',
  '!',
  '\xff\xfe',
  'n'.repeat(255),
  '.wh.a',
  '.wh.b',
  '.wh..wh..opq',
  '.',
  '.wh..wh.plnk',
];
const RARE = ['..', '.wh.', '/', '\0', 'x'.repeat(256), '.wh...'];

function pick<T>(random: Random, from: readonly T[]): T {
  return from[random(from.length)]!;
}

function randomPath(random: Random): string {
  const parts = Array.from({ length: 1 + random(4) }, () => pick(random, random(200) === 0 ? RARE : PARTS));
  return `${random(300) === 0 ? '/' : random(3) === 0 ? './' : ''}${parts.join('/')}${random(4) === 0 ? '/' : ''}`;
}

function randomEntry(random: Random): TarEntry {
  const type = pick(random, TYPES);
  const size = type === 'file' ? pick(random, [0, 1, 511, 512, 513, 5000, 70_000]) : 0;
  const dataOffset = 512 * random((TAR_SIZE - 70_144) / 512);
  const e = entry('', {
    path: randomPath(random),
    type,
    size,
    dataOffset,
    mode: random(0o10000),
    uid: pick(random, [0, 1000, 70_000]),
    mtime: { sec: random(2 ** 31) - 2 ** 30, nsec: random(1_000_000_000) },
    linkname: type === 'hardlink' ? randomPath(random) : type === 'symlink' ? 't'.repeat(1 + random(1200)) : '',
    devmajor: random(3),
    devminor: random(300),
  });
  if (random(5) === 0) e.xattrs = randomXattrs(random);
  if (type === 'file' && random(4) === 0) makeSparse(e, random);
  if (type === 'file' && e.dataSize % 512 !== 0 && random(4) === 0) {
    e.dirtyPadding = true;
    e.tail = new Uint8Array(e.dataSize % 512).fill(0x21);
  }
  return e;
}

function randomXattrs(random: Random): Map<string, Uint8Array> {
  const out = new Map<string, Uint8Array>();
  for (let i = random(4); i >= 0; i--) {
    const name = `${pick(random, ['user.', 'trusted.', 'trusted.overlay.', 'security.', 'odd.'])}${'k'.repeat(1 + random(20))}`;
    out.set(name, new Uint8Array(pick(random, [0, 1, 2, 3, 4, 300, 600])).fill(random(256)));
  }
  return out;
}

function makeSparse(e: TarEntry, random: Random): void {
  const unit = 512 << random(4);
  e.sparse = [];
  e.dataSize = 0;
  let at = 0;
  for (let i = random(5); i > 0; i--) {
    const offset = at + unit * random(4);
    const length = unit * (1 + random(3)) - (i === 1 ? random(500) : 0);
    e.sparse.push({ offset, length, dataOffset: e.dataOffset + e.dataSize });
    e.dataSize += length;
    at = offset + length;
  }
  e.size = at + (random(2) === 0 ? 0 : random(5000));
}

/** What must hold for every index, whatever went in. */
function checkIndex({ image, facts }: LayerIndex): Map<string, IndexEntry> {
  const names = readBack(image);
  const links = new Map<number, number>();
  const subdirectories = new Map<string, number>();
  for (const e of names.values()) {
    links.set(e.nid, (links.get(e.nid) ?? 0) + 1);
    const length = e.extents.reduce((sum, extent) => sum + extent.length, 0);
    if (e.type === 'file') assert.equal(length, e.size);
    for (const { device, start } of e.extents) assert.ok(device < 1 || start < TAR_SIZE);
    const parent = e.path.slice(0, Math.max(0, e.path.lastIndexOf('/')));
    if (e.path !== '') assert.equal(names.get(parent)?.type, 'directory');
    if (e.type === 'directory' && e.path !== '') subdirectories.set(parent, (subdirectories.get(parent) ?? 0) + 1);
  }
  for (const e of names.values()) {
    if (e.type === 'directory') assert.equal(e.nlink, 2 + (subdirectories.get(e.path) ?? 0));
    else assert.equal(e.nlink, links.get(e.nid));
  }
  assert.equal(new IndexReader(image).index.inodes, links.size);
  const whiteouts = [...names.values()].filter((e) => e.type === 'char' && e.devmajor === 0 && e.devminor === 0);
  assert.equal(whiteouts.length, facts.whiteouts);
  for (const path of facts.impliedDirs) assert.equal(names.get(path)?.type, 'directory');
  // At most the whiteout that the layer has beside the link.
  for (const { path } of facts.lowerLinks) assert.ok(!names.has(path) || whiteouts.includes(names.get(path)!));
  const files = [...new Map([...names.values()].filter((e) => e.type === 'file').map((e) => [e.nid, e])).values()];
  assert.deepEqual([facts.files, facts.bytes], [files.length, files.reduce((sum, e) => sum + e.size, 0)]);
  return names;
}

function checkShown(root: string, e: IndexEntry, devices: Uint8Array[], shown: string, seed: number): void {
  const time = BigInt(e.mtime.sec) * 1_000_000_000n + BigInt(e.mtime.nsec);
  const [mode, owner, mtime] = shown.split(' ');
  const got = [Number.parseInt(mode!, 8) & 0o7777, owner, mtime];
  assert.deepEqual(got, [e.mode, `${e.uid}:${e.gid}`, `${time}ns`], `seed ${seed}`);
  const names = shown.match(/[a-z]+\.[^ =]+(?==[0-9a-f]*)/g) ?? [];
  assert.deepEqual(names, [...e.xattrs.keys()].sort(), `seed ${seed}: ${shown}`);
  if (e.type !== 'file') return;
  const want = Buffer.concat(
    e.extents.map(({ device, start, length }) => {
      return device < 0 ? Buffer.alloc(length) : devices[device]!.subarray(start, start + length);
    }),
  );
  const path = Buffer.concat([Buffer.from(`${root}/`), Buffer.from(e.path, 'latin1')]);
  assert.ok(want.equals(readFileSync(path)), `seed ${seed}: content`);
}

/** Random entries that make an index: those that are refused are left out one by one. */
function randomLayer(random: Random): TarEntry[] {
  let good: TarEntry[] = [];
  for (let i = 1 + random(60); i > 0; i--) {
    const next = [...good, randomEntry(random)];
    try {
      buildIndex(next, {}, TAR_SIZE);
      good = next;
    } catch (error) {
      if (!isImagoError(error)) throw error;
    }
  }
  return good;
}

const { dir, skip } = openLab();
after(closeLab);

describe('random layers', () => {
  it('make consistent indexes or typed errors', () => {
    const end = performance.now() + SECONDS * 1000;
    for (let seed = 1; performance.now() < end; seed++) {
      try {
        const layer = randomLayer(randomSource(seed));
        checkIndex(buildIndex(layer, {}, TAR_SIZE));
      } catch (error) {
        throw new Error(`seed ${seed}`, { cause: error });
      }
    }
  });

  it('read the same by the kernel', { skip }, () => {
    const tar = join(dir, 'random.tar');
    const bytes = Uint8Array.from({ length: TAR_SIZE }, (_, i) => i * 31 + (i >> 9));
    writeFileSync(tar, bytes);
    const end = performance.now() + SECONDS * 1000;
    for (let seed = 1_000_001; performance.now() < end; seed++) {
      const index = buildIndex(randomLayer(randomSource(seed)), {}, TAR_SIZE);
      const names = checkIndex(index);
      const root = mountIndex(dir, 'random', index.image, [tar]);
      try {
        const shown = describeTree(root);
        assert.deepEqual([...shown.keys()], [...names.keys()], `seed ${seed}`);
        for (const e of names.values()) checkShown(root, e, [index.image, bytes], shown.get(e.path)!, seed);
      } finally {
        umount(root, MNT_DETACH);
      }
    }
    rmSync(tar);
  });
});

describe('a damaged index', () => {
  it('is read with typed errors only', () => {
    const random = randomSource(7);
    const { image } = buildIndex(randomLayer(randomSource(3)), {}, TAR_SIZE);
    const end = performance.now() + (SECONDS * 1000) / 2;
    while (performance.now() < end) {
      const copy = image.slice(0, random(10) === 0 ? random(image.length) : image.length);
      for (let i = random(8); i >= 0 && copy.length > 1536; i--) copy[1536 + random(copy.length - 1536)] = random(256);
      try {
        let count = 0;
        for (const _ of new IndexReader(copy).entries()) if (++count > 10_000) break;
      } catch (error) {
        if (!isImagoError(error, 'BAD_INDEX')) throw error;
      }
    }
  });
});
