import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ImagoError } from '../../src/core/errors.ts';
import type { TarEntry } from '../../src/formats/tar/entry.ts';
import { diffTrees } from '../../src/tree/diff.ts';
import { lookup, resolvePath } from '../../src/tree/lookup.ts';
import { mergeLayers } from '../../src/tree/merge.ts';
import type { TreeNode } from '../../src/tree/node.ts';
import { layerShares, walkTree } from '../../src/tree/walk.ts';

/** Members by a short notation: "d/" directory, "f" file, "f=5" file of 5 bytes, "l->t" symlink, "h=>t" hard link. */
function layer(text: string, attributes: Partial<TarEntry> = {}): TarEntry[] {
  return text
    .split(/\s+/)
    .filter((word) => word !== '')
    .map((word, i): TarEntry => {
      const [, path, operator, rest] = /^(.*?)(?:(->|=>|=)(.*))?$/.exec(word)!;
      const type =
        operator === '->' ? 'symlink' : operator === '=>' ? 'hardlink' : path!.endsWith('/') ? 'directory' : 'file';
      return {
        path: path!,
        type,
        mode: type === 'directory' ? 0o700 : 0o644,
        uid: 1,
        gid: 2,
        uname: '',
        gname: '',
        mtime: { sec: 100, nsec: 0 },
        size: operator === '=' ? Number(rest) : 0,
        linkname: operator === '->' || operator === '=>' ? rest! : '',
        devmajor: 0,
        devminor: 0,
        xattrs: undefined,
        headerOffset: i * 512,
        dataOffset: 0,
        dataSize: 0,
        sparse: undefined,
        dirtyPadding: false,
        ...attributes,
      };
    });
}

/** "a/ a/f:1 …": names with the number of the layer that each comes from. */
function show(tree: TreeNode): string {
  const out: string[] = [];
  walkTree(tree, (path, node) => {
    if (path !== '') out.push(`${path}${node.type === 'directory' ? '/' : ''}:${node.layer}`);
  });
  return out.join(' ');
}

const MERGES: [name: string, layers: string[], want: string][] = [
  ['files add up', ['a/ a/x', 'a/y b'], 'a/:0 a/x:0 a/y:1 b:1'],
  ['a later file replaces', ['a', 'a'], 'a:1'],
  ['a whiteout deletes a file', ['a/ a/x a/y', 'a/.wh.x'], 'a/:0 a/y:0'],
  ['a whiteout deletes a whole directory', ['a/ a/b/ a/b/c d', '.wh.a'], 'd:0'],
  ['a whiteout of what is not there', ['a', '.wh.b'], 'a:0'],
  ['a whiteout, then the same name again', ['a/ a/x', '.wh.a a/ a/y'], 'a/:1 a/y:1'],
  ['the same name, then its whiteout: lower layers only', ['a/ a/x', 'a/ a/y .wh.a'], 'a/:1 a/y:1'],
  ['a whiteout and an implied directory of that name', ['a/ a/x', '.wh.a a/y'], 'a/:1 a/y:1'],
  ['a whiteout of a file and the file again', ['a', 'a .wh.a'], 'a:1'],
  ['opaque first', ['a/ a/x a/s/ a/s/t', 'a/.wh..wh..opq a/y'], 'a/:0 a/y:1'],
  ['opaque last', ['a/ a/x a/s/ a/s/t', 'a/y a/s/ a/s/u a/.wh..wh..opq'], 'a/:0 a/s/:1 a/s/u:1 a/y:1'],
  ['opaque root', ['a b/ b/c', '.wh..wh..opq d'], 'd:1'],
  ['opaque where nothing was', ['b', 'a/.wh..wh..opq a/x'], 'a/:1 a/x:1 b:0'],
  ['marks do not outlive their layer', ['a/ a/x', 'a/.wh.x', 'a/ a/x'], 'a/:2 a/x:2'],
  ['a file over a directory', ['a/ a/x', 'a'], 'a:1'],
  ['a directory over a file', ['a', 'a/ a/x'], 'a/:1 a/x:1'],
  ['a symlink over a directory', ['a/ a/x', 'a->b'], 'a:1'],
  ['a directory over a symlink does not follow it', ['a->b b/', 'a/x'], 'a/:1 a/x:1 b/:0'],
  ['a duplicate in one layer', ['a=1 a=2'], 'a:0'],
  ['a file over a directory in one layer, and back', ['a/ a/x a a/ a/y'], 'a/:0 a/y:0'],
  ['a directory twice keeps its children', ['a/ a/x a/ a/y'], 'a/:0 a/x:0 a/y:0'],
  ['children before their directory', ['a/b/x a/b/ a/'], 'a/:0 a/b/:0 a/b/x:0'],
  ['a whiteout in the first layer', ['.wh.a a/.wh.b c'], 'a/:0 c:0'],
  ['aufs records are left out', ['.wh..wh.aufs .wh..wh.plnk/ .wh..wh.plnk/1.2 a'], 'a:0'],
  ['names like whiteouts', ['.wh a.wh.b .whx q', '.wh.q'], '.wh:0 .whx:0 a.wh.b:0'],
  ['dot prefixes and slashes', ['./ ./a/ ./a//x ./a/./y/'], 'a/:0 a/x:0 a/y/:0'],
];

describe('mergeLayers', () => {
  for (const [name, layers, want] of MERGES) {
    it(name, () => assert.equal(show(mergeLayers(layers.map((text) => layer(text)))), want));
  }

  it('an implied directory keeps the attributes of the one below', () => {
    const tree = mergeLayers([layer('a/'), layer('a/b/x')]);
    assert.equal(lookup(tree, 'a')!.mode, 0o700);
    assert.equal(lookup(tree, 'a/b')!.mode, 0o755);
    assert.equal(lookup(tree, 'a/b')!.uid, 0);
    assert.deepEqual(lookup(tree, 'a/b')!.mtime, { sec: 0, nsec: 0 });
    assert.equal(tree.mode, 0o755);
  });

  it('a described root gives its attributes, an implied one inherits them', () => {
    const tree = mergeLayers([layer('./'), layer('a')]);
    assert.deepEqual([tree.mode, tree.uid, tree.layer], [0o700, 1, 0]);
  });

  it('a described directory changes the attributes of the one below', () => {
    const tree = mergeLayers([layer('a/ a/x'), layer('a/', { mode: 0o711 })]);
    assert.equal(lookup(tree, 'a')!.mode, 0o711);
    assert.equal(show(tree), 'a/:1 a/x:0');
  });

  it('a 0:0 character device is a whiteout', () => {
    const tree = mergeLayers([layer('a b'), layer('a', { type: 'char' })]);
    assert.equal(show(tree), 'b:0');
  });

  it('hard links share a node', () => {
    const tree = mergeLayers([layer('a=7 d/b=>a d/c=>./d/b')]);
    assert.equal(lookup(tree, 'a'), lookup(tree, 'd/b'));
    assert.equal(lookup(tree, 'a'), lookup(tree, 'd/c'));
    assert.equal(lookup(tree, 'a')!.hardlinked, true);
    assert.deepEqual(layerShares(tree, 1), [{ entries: 2, files: 1, bytes: 7 }]);
  });

  it('a hard link keeps what a later duplicate of its source replaces', () => {
    const tree = mergeLayers([layer('a=7 b=>a a=8')]);
    assert.deepEqual([lookup(tree, 'a')!.size, lookup(tree, 'b')!.size], [8, 7]);
  });

  it('a hard link before its source', () => {
    const tree = mergeLayers([layer('b=>a a=7')]);
    assert.equal(lookup(tree, 'a'), lookup(tree, 'b'));
  });

  it('a hard link to a lower layer, even to what this layer deletes; and a link to that link', () => {
    const tree = mergeLayers([layer('a=7'), layer('.wh.a b=>a c=>b')]);
    assert.equal(show(tree), 'b:0 c:0');
    assert.equal(lookup(tree, 'b'), lookup(tree, 'c'));
  });

  it('a waiting hard link is forgotten where a later member takes its name', () => {
    assert.equal(show(mergeLayers([layer('b=>nowhere b')])), 'b:0');
  });
});

const REFUSED: [layers: string[], code: string][] = [
  [['../a'], 'PATH_TRAVERSAL'],
  [['a/../../b'], 'PATH_TRAVERSAL'],
  [['/etc/passwd'], 'ABSOLUTE_PATH'],
  [['a->/etc a/passwd'], 'NOT_A_DIRECTORY'],
  [['a a/b'], 'NOT_A_DIRECTORY'],
  [['b=>../../etc/shadow'], 'PATH_TRAVERSAL'],
  [['b=>nowhere'], 'BAD_HARDLINK'],
  [['a', 'b=>nowhere'], 'BAD_HARDLINK'],
  [['d/ b=>d'], 'BAD_HARDLINK'],
  [['d/', 'b=>d'], 'BAD_HARDLINK'],
  [['.wh.'], 'BAD_WHITEOUT'],
  [['a/.wh...'], 'BAD_WHITEOUT'],
  [['.wh.a/b'], 'BAD_WHITEOUT'],
  [['a=>a'], 'BAD_HARDLINK'],
  [[`${'n'.repeat(300)}`], 'NAME_TOO_LONG'],
];

describe('mergeLayers refuses', () => {
  for (const [layers, code] of REFUSED) {
    it(`${layers.join(' | ').slice(0, 40)} (${code})`, () => {
      assert.throws(
        () => mergeLayers(layers.map((text) => layer(text))),
        (error) => error instanceof ImagoError && error.code === code,
      );
    });
  }
});

describe('lookup', () => {
  const tree = mergeLayers([
    layer(
      'usr/ usr/lib/ usr/lib/x lib->usr/lib abs->/usr up->../../usr loop->loop2 loop2->loop file dang->no here->./usr/.',
    ),
  ]);
  const cases: [path: string, links: 'none' | 'parents' | 'all', want: string | undefined][] = [
    ['/', 'parents', ''],
    ['usr/lib/x', 'none', 'usr/lib/x'],
    ['lib/x', 'none', undefined],
    ['/lib/x', 'parents', 'usr/lib/x'],
    ['lib', 'parents', 'lib'],
    ['lib', 'all', 'usr/lib'],
    ['lib/', 'all', 'usr/lib'],
    ['abs/lib/x', 'parents', 'usr/lib/x'],
    ['up/lib/x', 'parents', 'usr/lib/x'],
    ['here/lib/x', 'parents', 'usr/lib/x'],
    ['loop', 'all', undefined],
    ['loop/x', 'parents', undefined],
    ['dang', 'parents', 'dang'],
    ['dang', 'all', undefined],
    ['file/x', 'parents', undefined],
    ['file/', 'parents', undefined],
    ['file/.', 'parents', undefined],
    ['usr/../../usr/./lib/..', 'parents', 'usr'],
    ['../../..', 'parents', ''],
  ];
  for (const [path, links, want] of cases) {
    it(`${path} (${links})`, () => assert.equal(resolvePath(tree, path, { links })?.path, want));
  }
});

describe('diffTrees', () => {
  const diff = (before: string[], after: string[], attributes?: Partial<TarEntry>): string =>
    diffTrees(
      mergeLayers(before.map((t) => layer(t))),
      mergeLayers(after.map((t, i) => layer(t, i > 0 ? attributes : {}))),
    )
      .map(({ kind, path }) => `${kind} ${path}`)
      .join(', ');

  it('nothing', () => assert.equal(diff(['a/ a/x b'], ['a/ a/x b']), ''));
  it('added, with the parents changed', () => assert.equal(diff(['a/'], ['a/', 'a/b/x']), 'C /a, A /a/b, A /a/b/x'));
  it('the root is never listed', () => assert.equal(diff(['a'], ['a b']), 'A /b'));
  it('only the top of what was deleted', () => assert.equal(diff(['a/ a/b/ a/b/c'], ['a/']), 'C /a, D /a/b'));
  it('changed mode', () => assert.equal(diff(['a b'], ['a b', 'a'], { mode: 0o600 }), 'C /a'));
  it('changed size', () => assert.equal(diff(['a=1'], ['a=2']), 'C /a'));
  it('changed time', () => assert.equal(diff(['a'], ['a', 'a'], { mtime: { sec: 5, nsec: 0 } }), 'C /a'));
  it('a directory by its time alone is not changed', () =>
    assert.equal(diff(['a/'], ['a/', 'a/'], { mtime: { sec: 5, nsec: 0 } }), ''));
  it('a file becomes a directory', () => assert.equal(diff(['a'], ['a/ a/x']), 'C /a, A /a/x'));
  it('a directory becomes a file', () => assert.equal(diff(['a/ a/x'], ['a']), 'C /a'));
  it('a symlink changes its target', () => assert.equal(diff(['a->b'], ['a->c']), 'C /a'));
  it('sorted by path', () => assert.equal(diff(['z/ z/q'], ['b a/ z/']), 'A /a, A /b, C /z, D /z/q'));
  it('changed xattr', () =>
    assert.equal(diff(['a'], ['a', 'a'], { xattrs: new Map([['user.x', new Uint8Array([1])]]) }), 'C /a'));
  it('asks for content where all else is equal', () => {
    const [a, b] = [mergeLayers([layer('a=1 b=0')]), mergeLayers([layer('a=1 b=0')])];
    assert.deepEqual(diffTrees(a, b, { sameContent: () => false }), [{ kind: 'C', path: '/a' }]);
  });
});
