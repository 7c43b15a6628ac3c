import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { TarEntry } from '../../src/formats/tar/entry.ts';
import { readEntries } from '../../src/formats/tar/read.ts';
import { mknod } from '../../src/system/files.ts';
import { setXattr } from '../../src/system/xattr.ts';
import { applyLayer } from '../../src/tree/merge.ts';
import { newTree, type TreeNode } from '../../src/tree/node.ts';
import { walkTree } from '../../src/tree/walk.ts';

/**
 * The oracle: random layers, once as tars by GNU tar (whiteouts as OCI writes them) merged by us, once as directories
 * (whiteouts as overlayfs writes them) merged by the kernel.
 */
const ROUNDS = Number(process.env.IMAGO_TEST_ROUNDS ?? 6);
const LAYERS = 4;

/** mulberry32: the same layers on every run. */
function randomSource(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

type Random = (below: number) => number;

interface Item {
  kind: 'file' | 'directory' | 'symlink' | 'fifo' | 'link';
  mode: number;
  uid: number;
  mtime: number;
  size: number;
  target: string;
  /** A directory that the tar does not name. */
  implied: boolean;
}

interface RandomLayer {
  items: Map<string, Item>;
  whiteouts: Set<string>;
  opaque: Set<string>;
}

function makeLayer(random: Random): RandomLayer {
  const items = new Map<string, Item>();
  const whiteouts = new Set<string>();
  const opaque = new Set<string>();
  const fill = (directory: string, depth: number): void => {
    for (const name of ['a', 'b', 'c', 'd', 'e']) {
      const path = directory === '' ? name : `${directory}/${name}`;
      if (random(4) === 0) whiteouts.add(path);
      if (random(5) < 2) continue;
      const kinds = depth < 3 ? (['directory', 'directory', 'file', 'symlink'] as const) : (['file', 'fifo'] as const);
      const kind = kinds[random(kinds.length)]!;
      const files = [...items].filter(([, item]) => item.kind === 'file');
      const link = kind === 'file' && files.length > 0 && random(5) === 0;
      items.set(path, {
        kind: link ? 'link' : kind,
        mode: kind === 'directory' ? 0o700 + random(0o100) : 0o600 + random(0o100),
        uid: random(3),
        mtime: 1_000_000_000 + random(1_000_000),
        size: random(1000),
        target: link ? files[random(files.length)]![0] : 'a/b',
        implied: kind === 'directory' && random(3) === 0,
      });
      if (kind === 'directory') {
        if (random(5) === 0) opaque.add(path);
        fill(path, depth + 1);
      }
    }
  };
  fill('', 0);
  // An empty directory cannot be implied: nothing in the tar would tell of it.
  for (const [path, item] of items) {
    const below = [...items.keys(), ...whiteouts].some((other) => other.startsWith(`${path}/`));
    if (item.implied && !below && !opaque.has(path)) item.implied = false;
  }
  return { items, whiteouts, opaque };
}

function makeItem(path: string, item: Item, root: string): void {
  mkdirSync(dirname(path), { recursive: true });
  if (item.kind === 'file') writeFileSync(path, Buffer.alloc(item.size, 7));
  else if (item.kind === 'directory') mkdirSync(path, { recursive: true });
  else if (item.kind === 'symlink') symlinkSync(item.target, path);
  else if (item.kind === 'link') linkSync(join(root, item.target), path);
  else mknod(path, 0o10600);
}

/** Deepest first: making a child changes the times of its directory. */
function setAttributes(root: string, items: Map<string, Item>): void {
  for (const [name, item] of [...items].reverse()) {
    if (item.kind === 'link') continue;
    const path = join(root, name);
    if (item.kind !== 'symlink') {
      chownSync(path, item.uid, item.uid);
      chmodSync(path, item.mode);
    }
    lutimesSync(path, item.mtime, item.mtime);
  }
}

/** The layer as a tar, members in random order but hard links after their sources. */
function makeTar(layer: RandomLayer, directory: string, random: Random): TarEntry[] {
  mkdirSync(directory);
  const names: string[] = [];
  for (const [path, item] of layer.items) {
    makeItem(join(directory, path), item, directory);
    if (!item.implied) names.push(path);
  }
  const marks = [...[...layer.whiteouts].map((p) => join(dirname(p), `.wh.${p.split('/').at(-1)}`))];
  marks.push(...[...layer.opaque].map((p) => `${p}/.wh..wh..opq`));
  for (const mark of marks) {
    mkdirSync(dirname(join(directory, mark)), { recursive: true });
    writeFileSync(join(directory, mark), '');
  }
  setAttributes(directory, layer.items);
  const shuffled = [...names, ...marks].map((name) => ({ name, key: random(1e9) }));
  shuffled.sort((a, b) => a.key - b.key);
  const list = shuffled.map(({ name }) => `./${name}\n`).join('');
  const tar = `${directory}.tar`;
  execFileSync('tar', ['--format=posix', '--no-recursion', '-C', directory, '-T', '-', '-cf', tar], { input: list });
  const fd = openSync(tar, 'r');
  try {
    return readEntries((buffer, offset) => readSync(fd, buffer, 0, buffer.length, offset), statSync(tar).size);
  } finally {
    closeSync(fd);
  }
}

/** The layer as the kernel wants it. Implied directories take what is below, as `below` lists it. */
function makeLower(layer: RandomLayer, directory: string, below: Map<string, string>): void {
  mkdirSync(directory);
  for (const [path, item] of layer.items) makeItem(join(directory, path), item, directory);
  const opaque = new Set(layer.opaque);
  for (const path of layer.whiteouts) {
    const item = layer.items.get(path);
    if (item?.kind === 'directory') opaque.add(path);
    if (item !== undefined) continue;
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    mknod(join(directory, path), 0o20000);
    // Else readdir lists the whiteouts of a directory that is in one layer only.
    setXattr(dirname(join(directory, path)), 'trusted.overlay.origin', new Uint8Array());
  }
  const items = new Map(layer.items);
  for (const [path, item] of layer.items) {
    if (item.implied) items.set(path, { ...item, ...inherited(path, layer, below) });
  }
  setAttributes(directory, items);
  for (const path of opaque) setXattr(join(directory, path), 'trusted.overlay.opaque', Buffer.from('y'));
}

function inherited(path: string, layer: RandomLayer, below: Map<string, string>): Partial<Item> {
  const parts = path.split('/');
  const above = parts.map((_, i) => parts.slice(0, i + 1).join('/'));
  // What this layer hides below has nothing to give; opaque hides the contents of a directory, not itself.
  const hidden = above.some((p) => layer.whiteouts.has(p) || (p !== path && layer.opaque.has(p)));
  const [type, mode, uid, , mtime] = hidden ? [] : (below.get(path) ?? '').split(' ');
  if (type !== 'd') return { mode: 0o755, uid: 0, mtime: 0 };
  return { mode: Number.parseInt(mode!, 8), uid: Number(uid), mtime: Number(mtime) };
}

/** type, mode, owner, group, time, size, link target of each path, as the kernel merges the directories. */
function listOverlay(lowers: string[], base: string): Map<string, string> {
  mkdirSync(join(base, 'empty'), { recursive: true });
  mkdirSync(join(base, 'merged'), { recursive: true });
  const lowerdir = [...lowers.toReversed(), join(base, 'empty')].join(':');
  const script = `mount -t overlay -o lowerdir=${lowerdir} none ${base}/merged && cd ${base}/merged && find . -mindepth 1 -printf '%P\\t%y %m %U %G %T@ %s %l\\n'`;
  const result = spawnSync('unshare', ['--mount', 'sh', '-c', script], { encoding: 'utf8' });
  assert.equal(result.status, 0, result.stderr);
  const out = new Map<string, string>();
  for (const line of result.stdout.split('\n')) {
    const [path, rest] = line.split('\t');
    if (path === undefined || rest === undefined) continue;
    const [type, mode, uid, gid, time, size, ...target] = rest.split(' ');
    const shown = type === 'f' ? size : '-';
    out.set(path, [type, mode, uid, gid, Number(time), shown, ...target].join(' '));
  }
  return out;
}

const LETTERS: Record<TreeNode['type'], string> = {
  file: 'f',
  directory: 'd',
  symlink: 'l',
  fifo: 'p',
  char: 'c',
  block: 'b',
};

function listTree(tree: TreeNode): Map<string, string> {
  const out = new Map<string, string>();
  walkTree(tree, (path, node) => {
    if (path === '') return;
    const mode = (node.type === 'symlink' ? 0o777 : node.mode).toString(8);
    const size = node.type === 'file' ? node.size : '-';
    const { type, uid, gid, mtime, linkname } = node;
    out.set(path, `${LETTERS[type]} ${mode} ${uid} ${gid} ${mtime.sec + mtime.nsec / 1e9} ${size} ${linkname}`);
  });
  return out;
}

function skipWithoutRoot(t: TestContext): boolean {
  if (process.getuid?.() === 0 && spawnSync('unshare', ['--mount', 'true']).status === 0) return false;
  t.skip('mounting overlays needs root');
  return true;
}

describe('merged trees against overlayfs', () => {
  for (let round = 0; round < ROUNDS; round++) {
    it(`random layers, seed ${round}`, (t) => {
      if (skipWithoutRoot(t)) return;
      const base = mkdtempSync(join(tmpdir(), 'imago-overlay-'));
      try {
        const random = randomSource(round);
        const tree = newTree();
        const lowers: string[] = [];
        let below = new Map<string, string>();
        for (let number = 0; number < LAYERS; number++) {
          const layer = makeLayer(random);
          applyLayer(tree, makeTar(layer, join(base, `tar${number}`), random), number);
          lowers.push(join(base, `lower${number}`));
          makeLower(layer, lowers[number]!, below);
          below = listOverlay(lowers, base);
          assert.deepEqual(listTree(tree), new Map([...below].sort(([a], [b]) => comparePaths(a, b))));
        }
      } finally {
        rmSync(base, { recursive: true, force: true });
      }
    });
  }
});

function comparePaths(a: string, b: string): number {
  const [x, y] = [a.split('/').join('\0'), b.split('/').join('\0')];
  return x < y ? -1 : x > y ? 1 : 0;
}
