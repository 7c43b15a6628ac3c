import assert from 'node:assert/strict';
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import type { LayerFacts } from '../../src/formats/erofs/facts.ts';
import { MNT_DETACH, mount, umount } from '../../src/system/mount.ts';
import { indexTar } from './entries.ts';
import { closeLab, mountIndex, openLab } from './lab.ts';
import { type Member, makeTar, member } from './tars.ts';

/** What the kernel makes of stacked indexes, against what OCI and Docker say of whiteouts. */
const { dir, skip } = openLab();
after(closeLab);
const OPTIONS = 'index=off,metacopy=off,redirect_dir=off';
let count = 0;

/** Layers from the bottom as mounted overlay; `use` gets its path and the layers' facts. */
function withOverlay(layers: (Member | string)[][], use: (merged: string, facts: LayerFacts[]) => void): void {
  const home = join(dir, `stack-${count++}`);
  for (const name of ['upper', 'work', 'merged']) mkdirSync(join(home, name), { recursive: true });
  const merged = join(home, 'merged');
  const mounts: string[] = [];
  try {
    const all = layers.map((members, i) => {
      const tar = makeTar(members);
      writeFileSync(join(home, `${i}.tar`), tar);
      const { image, facts } = indexTar(tar, `sha256:${String(i + 1).padStart(64, '0')}`);
      mounts.push(mountIndex(home, String(i), image, [join(home, `${i}.tar`)]));
      return facts;
    });
    // Overlayfs does not look at the opaque mark of a root.
    const bottom = Math.max(
      0,
      all.findLastIndex((facts) => facts.rootOpaque),
    );
    const lower = mounts.slice(bottom).reverse().join(':');
    const upper = `upperdir=${join(home, 'upper')},workdir=${join(home, 'work')}`;
    mount('overlay', merged, 'overlay', 0, `lowerdir=${lower},${upper},${OPTIONS}`);
    mounts.push(merged);
    use(merged, all);
  } finally {
    for (const path of mounts.reverse()) umount(path, MNT_DETACH);
    rmSync(home, { recursive: true });
  }
}

/** The names below a directory in the notation of `member`. */
function listTree(root: string, below = ''): string[] {
  const out: string[] = [];
  for (const name of readdirSync(join(root, below)).sort()) {
    const path = below === '' ? name : `${below}/${name}`;
    const full = join(root, path);
    const stat = lstatSync(full);
    if (stat.isDirectory()) out.push(`${path}/`, ...listTree(root, path));
    else if (stat.isSymbolicLink()) out.push(`${path} -> ${readlinkSync(full)}`);
    else out.push(stat.isFile() ? `${path}=${readFileSync(full, 'utf8')}` : `${path} (mode ${stat.mode.toString(8)})`);
  }
  return out;
}

const BASE = ['a=1', 'd/', 'd/x=1', 'd/y=1', 'd/sub/', 'd/sub/z=1', 'l -> a'];

const CASES: [what: string, layers: (Member | string)[][], want: string[]][] = [
  ['nothing', [BASE], BASE],
  ['a deleted file', [BASE, ['.wh.a', 'd/.wh.x']], ['d/', 'd/sub/', 'd/sub/z=1', 'd/y=1', 'l -> a']],
  ['a deleted directory', [BASE, ['.wh.d']], ['a=1', 'l -> a']],
  ['a deletion of nothing', [BASE, ['.wh.none', 'new/.wh.none']], [...BASE, 'new/']],
  ['deletions in the lowest layer', [['.wh.q', 'e/.wh.q', ...BASE]], [...BASE, 'e/']],
  ['deletions in a directory of one layer', [BASE, ['e/', 'e/.wh.q', 'e/f=2']], [...BASE, 'e/', 'e/f=2']],
  [
    'a deletion and a new file, in either order',
    [BASE, ['.wh.a', 'a=2', 'l=2', '.wh.l']],
    ['a=2', 'd/', 'd/sub/', 'd/sub/z=1', 'd/x=1', 'd/y=1', 'l=2'],
  ],
  ['a deletion and a new directory', [BASE, ['.wh.d', 'd/', 'd/n=2']], ['a=1', 'd/', 'd/n=2', 'l -> a']],
  [
    'a deletion after a new directory, only implied',
    [BASE, ['d/sub/n=2', '.wh.d']],
    ['a=1', 'd/', 'd/sub/', 'd/sub/n=2', 'l -> a'],
  ],
  ['an opaque directory', [BASE, ['d/', 'd/.wh..wh..opq', 'd/n=2']], ['a=1', 'd/', 'd/n=2', 'l -> a']],
  [
    'an opaque marker after its siblings',
    [BASE, ['d/n=2', 'd/sub/m=2', 'd/.wh..wh..opq']],
    ['a=1', 'd/', 'd/n=2', 'd/sub/', 'd/sub/m=2', 'l -> a'],
  ],
  ['an opaque root', [BASE, ['.wh..wh..opq', 'd/n=2'], ['o=3']], ['d/', 'd/n=2', 'o=3']],
  ['a deletion and a return', [BASE, ['.wh.d'], ['d/back=3']], ['a=1', 'd/', 'd/back=3', 'l -> a']],
  ['a file over a directory', [BASE, ['d=2'], ['e=3']], ['a=1', 'd=2', 'e=3', 'l -> a']],
  ['a directory over a file', [BASE, ['a/n=2']], ['a/', 'a/n=2', ...BASE.slice(1)]],
  ['a directory over a symlink', [BASE, ['l/n=2']], [...BASE.slice(0, -1), 'l/', 'l/n=2']],
  ['a symlink over a directory', [BASE, ['d -> a']], ['a=1', 'd -> a', 'l -> a']],
  [
    'merged directories',
    [BASE, ['d/n=2', 'd/sub/z=2']],
    ['a=1', 'd/', 'd/n=2', 'd/sub/', 'd/sub/z=2', 'd/x=1', 'd/y=1', 'l -> a'],
  ],
  ['a device 0:0', [BASE, [member('a', { type: 'char', size: 0 })]], BASE.slice(1)],
  ['hardlinks over a deletion', [BASE, ['.wh.a', 'n=2', 'a => n']], ['a=2', ...BASE.slice(1), 'n=2']],
  [
    'a layer that would steer the overlay',
    [BASE, [member('d/', { xattrs: new Map([['trusted.overlay.opaque', Buffer.from('y')]]) })]],
    BASE,
  ],
  [
    'a layer that would redirect',
    [BASE, [member('e/', { xattrs: new Map([['trusted.overlay.redirect', Buffer.from('/d')]]) })]],
    [...BASE, 'e/'],
  ],
  [
    "AUFS's own",
    [BASE, ['.wh..wh.aufs', '.wh..wh.orph/', '.wh..wh.plnk/', '.wh..wh.plnk/1.2=2', 'n => .wh..wh.plnk/1.2']],
    [...BASE, 'n=2'],
  ],
];

describe('stacked layers show', { skip }, () => {
  for (const [what, layers, want] of CASES) {
    it(what, () => {
      withOverlay(layers, (merged) => {
        assert.deepEqual(listTree(merged).sort(), [...want].sort());
      });
    });
  }

  it('the same through a writable layer: what is deleted can be made again, and is then empty', () => {
    withOverlay([BASE, ['.wh.d', 'e/.wh.q']], (merged) => {
      mkdirSync(join(merged, 'd'));
      assert.deepEqual(readdirSync(join(merged, 'd')), []);
      writeFileSync(join(merged, 'e/q'), 'new');
      rmSync(join(merged, 'e'), { recursive: true });
      assert.deepEqual(listTree(merged), ['a=1', 'd/', 'l -> a']);
    });
  });
});
