import assert from 'node:assert/strict';
import { it } from 'node:test';
import { ImagoError } from '../../src/core/errors.ts';
import { IndexBuilder } from '../../src/formats/erofs/index-builder.ts';
import type { TarEntry } from '../../src/formats/tar/entry.ts';
import { readLayerTree } from '../../src/tree/layer.ts';
import type { TreeNode } from '../../src/tree/node.ts';
import { walkTree } from '../../src/tree/walk.ts';

/**
 * A layer is read twice, for its index and as a tree: what one refuses the other must refuse, with the same code, and
 * what they take they must understand alike. Small random layers full of what makes them differ.
 */
const LAYERS = Number(process.env.IMAGO_TEST_ROUNDS ?? 60) * 100;
const TYPES = ['file', 'file', 'directory', 'directory', 'symlink', 'hardlink', 'char', 'fifo'] as const;
const COMMON = ['a', 'b', 'c', '.wh.a', '.wh.b', '.wh..wh..opq'];
const RARE = ['.wh..wh.plnk', '.wh.', '..', '.', ''];

let seed = 20_260_101;
function random(below: number): number {
  seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
  return (seed >> 8) % below;
}

function randomPath(): string {
  const parts = Array.from({ length: 1 + random(3) }, () => {
    const names = random(20) === 0 ? RARE : COMMON;
    return names[random(names.length)]!;
  });
  return parts.join('/');
}

function randomEntry(number: number): TarEntry {
  const type = TYPES[random(TYPES.length)]!;
  return {
    path: randomPath(),
    type,
    mode: 0o644,
    uid: 0,
    gid: 0,
    uname: '',
    gname: '',
    mtime: { sec: 1, nsec: 0 },
    size: 0,
    linkname: type === 'hardlink' ? randomPath() : type === 'symlink' ? 'x' : '',
    devmajor: 0,
    devminor: random(2),
    xattrs: undefined,
    headerOffset: number * 512,
    dataOffset: 0,
    dataSize: 0,
    sparse: undefined,
    dirtyPadding: false,
  };
}

function summarize(read: () => { entries: number; files: number; links: string[] }): string {
  try {
    const { entries, files, links } = read();
    return `${entries} entries, ${files} files, links ${links.join(' ')}`;
  } catch (error) {
    if (error instanceof ImagoError) return error.code;
    throw error;
  }
}

function readAsIndex(layer: TarEntry[]): { entries: number; files: number; links: string[] } {
  const builder = new IndexBuilder();
  for (const entry of layer) builder.add(entry);
  const { facts } = builder.finish({ diffId: `sha256:${'1'.repeat(64)}`, tarSize: 0 });
  return { ...facts, links: facts.lowerLinks.map(({ path, target }) => `${path}=>${target}`) };
}

function readAsTree(layer: TarEntry[]): { entries: number; files: number; links: string[] } {
  const tree = readLayerTree(layer, 0);
  let entries = tree.lowerLinks.length;
  const files = new Set<TreeNode>();
  walkTree(tree.root, (path, node) => {
    if (path !== '' && !(node.type === 'directory' && node.implied)) entries++;
    if (node.type === 'file') files.add(node);
  });
  return { entries, files: files.size, links: tree.lowerLinks.map(({ path, target }) => `${path}=>${target}`).sort() };
}

it(`the index and the tree of a layer agree (${LAYERS} random layers)`, () => {
  const outcomes = new Set<string>();
  for (let i = 0; i < LAYERS; i++) {
    const layer = Array.from({ length: 1 + random(7) }, (_, number) => randomEntry(number));
    const want = summarize(() => readAsIndex(layer));
    const names = layer.map(({ path, type, linkname, devminor }) => `${path} ${type} ${linkname} ${devminor}`);
    assert.equal(
      summarize(() => readAsTree(layer)),
      want,
      names.join('\n'),
    );
    outcomes.add(want.split(' ')[0]!);
  }
  // All kinds of refusal that names alone can cause were met.
  for (const code of ['NOT_A_DIRECTORY', 'BAD_HARDLINK', 'BAD_WHITEOUT', 'PATH_TRAVERSAL', '3']) {
    assert.ok(outcomes.has(code), code);
  }
});
