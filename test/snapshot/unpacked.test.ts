import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Digest } from '../../src/core/digest.ts';
import { readEntries } from '../../src/formats/tar/read.ts';
import { checkUnpacked } from '../../src/snapshot/check-unpacked.ts';
import { unpackTree } from '../../src/snapshot/unpack.ts';
import { readLayerTree } from '../../src/tree/layer.ts';
import { type Member, Rig, skipReason, tarOf } from './rig.ts';

describe('unpacked layers', { skip: skipReason('unpacked') }, () => {
  let rig: Rig;
  before(() => {
    rig = new Rig('unpacked');
  });
  after(() => rig[Symbol.dispose]());

  const hostile: [name: string, code: string, members: Member[]][] = [
    ['..', 'PATH_TRAVERSAL', [{ path: '../evil', type: 'file', content: 'x' }]],
    ['an absolute name', 'ABSOLUTE_PATH', [{ path: '/evil', type: 'file', content: 'x' }]],
    [
      'a symlink and a file through it',
      'NOT_A_DIRECTORY',
      [
        { path: 'out', type: 'symlink', linkname: '..' },
        { path: 'out/evil', type: 'file', content: 'x' },
      ],
    ],
    ['a hardlink to the outside', 'PATH_TRAVERSAL', [{ path: 'l', type: 'hardlink', linkname: '../../evil' }]],
  ];
  for (const [name, code, members] of hostile) {
    it(`do not get out by ${name}`, () => {
      const directory = rig.place();
      const below = join(directory, 'a', 'b');
      mkdirSync(below, { recursive: true });
      const tar = tarOf(members);
      const entries = readEntries((buffer, offset) => tar.copy(buffer, 0, offset, offset + buffer.length), tar.length);
      const unpack = (): void => unpackTree(readLayerTree(entries, 0).root, below, () => -1);
      assert.throws(unpack, { code });
      assert.deepEqual([readdirSync(directory), readdirSync(join(directory, 'a'))], [['a'], ['b']]);
    });
  }

  it('keep symlinks that lead outside as what they are', async () => {
    const target = join(rig.place(), 'outside');
    const layer = await rig.layer([
      { path: 'link', type: 'symlink', linkname: target },
      { path: 'dir', type: 'symlink', linkname: rig.directory },
      { path: 'hard', type: 'hardlink', linkname: 'link' },
    ]);
    await rig.snapshotter.prepare([layer]);
    assert.ok(!existsSync(target));
    assert.ok(lstatSync(join(fsOf(layer), 'hard')).isSymbolicLink());
  });

  it('refuse paths that could not be removed again', async () => {
    const deep = `${`${'d'.repeat(200)}/`.repeat(19)}f`;
    const layer = await rig.layer([{ path: deep, type: 'file', content: 'x' }]);
    await assert.rejects(rig.snapshotter.prepare([layer]), { code: 'NAME_TOO_LONG' });
    assert.ok(!existsSync(fsOf(layer)));
    assert.deepEqual(readdirSync(join(rig.store.root, 'ingest')), []);
  });

  it('are there as a whole or not at all', async () => {
    const layers: Digest[] = [];
    for (let i = 0; i < 4; i++) layers.push(await rig.layer([{ path: `whole${i}`, type: 'file', content: `${i}` }]));
    const tar = rig.store.blobPath(layers[2]!);
    renameSync(tar, `${tar}.away`);
    await assert.rejects(rig.snapshotter.prepare(layers));
    renameSync(`${tar}.away`, tar);
    assert.ok(!existsSync(fsOf(layers[2]!)));
    await Promise.all([rig.snapshotter.prepare(layers), rig.snapshotter.prepare(layers)]);
    for (const [i, layer] of layers.entries()) assert.deepEqual(readdirSync(fsOf(layer)), [`whole${i}`]);
    assert.deepEqual(readdirSync(join(rig.store.root, 'ingest')), []);
  });

  const damages: [what: string, damage: (fs: string) => void][] = [
    ['content', (fs) => rewrite(join(fs, 'etc/a'), 'evil!')],
    ['size', (fs) => rewrite(join(fs, 'etc/a'), 'evil')],
    ['mode', (fs) => chmodSync(join(fs, 'etc/a'), 0o4755)],
    ['missing', (fs) => rmSync(join(fs, 'etc/a'))],
    ['type', (fs) => renameSync(join(fs, 'p'), join(fs, 'etc/a'))],
    ['extra', (fs) => keepTime(join(fs, 'etc'), () => writeFileSync(join(fs, 'etc/new'), ''))],
  ];
  for (const [what, damage] of damages) {
    it(`are checked against the tar: ${what}`, async () => {
      const layer = await rig.layer([
        { path: 'etc', type: 'directory', mtime: { sec: 5, nsec: 0 } },
        { path: 'etc/a', type: 'file', content: 'right', mtime: { sec: 6, nsec: 0 }, uname: what },
        { path: 'etc/.wh.gone', type: 'file', content: '' },
        { path: 'l', type: 'symlink', linkname: 'etc' },
        { path: 'dev', type: 'char', devmajor: 5, devminor: 300 },
        { path: 'p', type: 'fifo' },
        { path: 'h', type: 'hardlink', linkname: 'etc/a' },
      ]);
      await rig.snapshotter.prepare([layer]);
      assert.equal(checkUnpacked(rig.store, layer), undefined);
      damage(fsOf(layer));
      assert.equal(checkUnpacked(rig.store, layer)?.what, what);
      rmSync(fsOf(layer), { recursive: true });
      assert.equal(checkUnpacked(rig.store, layer), undefined);
      await rig.snapshotter.prepare([layer]);
      assert.equal(checkUnpacked(rig.store, layer), undefined);
    });
  }

  function fsOf(layer: Digest): string {
    return join(rig.store.layerDirectory(layer), 'fs');
  }
});

function rewrite(path: string, content: string): void {
  keepTime(path, () => writeFileSync(path, content));
}

function keepTime(path: string, change: () => void): void {
  const { atime, mtime } = lstatSync(path);
  change();
  utimesSync(path, atime, mtime);
}
