import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { ByteString } from '../../src/core/bytes.ts';
import { ImagoError } from '../../src/core/errors.ts';
import { IndexBuilder } from '../../src/formats/erofs/index-builder.ts';
import { IndexReader } from '../../src/formats/erofs/read.ts';
import type { TarEntry } from '../../src/formats/tar/entry.ts';
import { type IndexedLayer, IndexedTree, indexTells, type TreeEntry } from '../../src/tree/indexed.ts';
import { lookup } from '../../src/tree/lookup.ts';
import { mergeLayers } from '../../src/tree/merge.ts';
import type { TreeNode } from '../../src/tree/node.ts';

/** What indexes tell of a stack must be what its tree tells. Small random stacks full of what makes layers differ. */
const STACKS = Number(process.env.IMAGO_TEST_ROUNDS ?? 60) * 50;
const TYPES = ['file', 'file', 'directory', 'directory', 'symlink', 'hardlink', 'char', 'fifo'] as const;
const NAMES = ['a', 'b', 'c', 'a', 'b', '.wh.a', '.wh.b', '.wh..wh..opq'];
const XATTRS = ['user.x', 'trusted.overlay.opaque', 'trusted.overlay.overlay.x', 'security.capability', 'odd.name'];

let seed = 20_261_130;
function random(below: number): number {
  seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
  return (seed >> 8) % below;
}

function pick<T>(list: readonly T[]): T {
  return list[random(list.length)]!;
}

function randomPath(): string {
  if (random(20) === 0) return './';
  return Array.from({ length: 1 + random(3) }, () => pick(NAMES)).join('/');
}

function randomEntry(number: number): TarEntry {
  const type = pick(TYPES);
  const xattr = random(4) === 0 ? pick(XATTRS) : undefined;
  return {
    path: randomPath(),
    type,
    mode: pick([0o644, 0o755, 0o1777]),
    uid: random(3),
    gid: random(70_000),
    uname: '',
    gname: '',
    mtime: { sec: pick([-5, 1, 2 ** 33]), nsec: random(2) * 500 },
    size: 0,
    linkname: type === 'hardlink' ? randomPath() : type === 'symlink' ? 'x' : '',
    devmajor: 0,
    devminor: random(2),
    xattrs: xattr === undefined ? undefined : new Map([[xattr, Buffer.from('y')]]),
    headerOffset: number * 512,
    dataOffset: 0,
    dataSize: 0,
    sparse: undefined,
    dirtyPadding: false,
  };
}

function show(node: TreeEntry | TreeNode | undefined): unknown {
  if (node === undefined) return undefined;
  const { type, mode, uid, gid, mtime, linkname, xattrs } = node;
  return {
    type,
    mode,
    uid,
    gid,
    mtime,
    linkname,
    xattrs: [...(xattrs ?? [])].map(([name, value]) => `${name}=${Buffer.from(value)}`).sort(),
  };
}

/** All paths that such stacks can have, and some more. */
function paths(depth: number, above: ByteString = ''): ByteString[] {
  const here = ['a', 'b', 'c', 'd'].map((name) => (above === '' ? name : `${above}/${name}`));
  return depth === 0 ? [] : here.flatMap((path) => [path, ...paths(depth - 1, path)]);
}

/** With its index; undefined for one that is refused, or whose index does not tell all. */
function randomLayer(): { entries: TarEntry[]; layer: IndexedLayer } | undefined {
  const entries = Array.from({ length: 1 + random(7) }, (_, number) => randomEntry(number));
  const builder = new IndexBuilder();
  try {
    for (const entry of entries) builder.add(entry);
    const { image, facts } = builder.finish({ diffId: `sha256:${'1'.repeat(64)}`, tarSize: 0 });
    return indexTells(facts) ? { entries, layer: { index: new IndexReader(Buffer.from(image)), facts } } : undefined;
  } catch (error) {
    assert.ok(error instanceof ImagoError);
    return undefined;
  }
}

it(`indexes tell of a stack what its tree tells (${STACKS} random stacks)`, () => {
  const all = ['', ...paths(3)];
  for (let i = 0; i < STACKS; i++) {
    const tree = new IndexedTree();
    const stack: TarEntry[][] = [];
    for (const height = 1 + random(4); stack.length < height; ) {
      const made = randomLayer();
      if (made === undefined) continue;
      stack.push(made.entries);
      tree.push(made.layer);
      // Asked for in between, so that nothing of the stack as it was is remembered.
      tree.at(randomPath());
    }
    const want = mergeLayers(stack);
    const text = stack.map((layer) => layer.map(({ path, type }) => `${path} ${type}`).join('\n')).join('\n--\n');
    for (const path of all) {
      assert.deepEqual(show(tree.at(path)), show(lookup(want, path, { links: 'none' })), `'${path}' in\n${text}`);
    }
  }
});
