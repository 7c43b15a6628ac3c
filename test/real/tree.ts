/** The files of an image as its layers tell them, and how two images differ. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readTar, type TarItem } from '../../src/formats/tar/read.ts';

export interface RealFile {
  type: string;
  mode: number;
  owner: string;
  size: number;
  digest: string;
  link: string;
  device: string;
  xattrs: string;
  /** Seconds. */
  mtime: number;
  /** Files with more than one name share it. */
  inode: object;
}

export type RealTree = Map<string, RealFile>;

const FIELDS = ['type', 'mode', 'owner', 'size', 'digest', 'link', 'device', 'xattrs'] as const;

/** Applies one layer (OCI image-spec, layer.md: whiteouts, hard links) to a tree. Paths that it touches go to `seen`. False where it changes nothing. */
export async function applyLayer(tree: RealTree, path: string, seen: Set<string>): Promise<boolean> {
  const fresh = new Set<string>();
  let changed = false;
  for await (const item of readTar(createReadStream(path))) {
    const name = clean(item.entry.path);
    if (name === '') continue;
    const slash = name.lastIndexOf('/') + 1;
    const base = name.slice(slash);
    if (base.startsWith('.wh.')) changed = true;
    if (base === '.wh..wh..opq') removeBelow(tree, name.slice(0, slash), fresh, seen);
    else if (base.startsWith('.wh.')) remove(tree, name.slice(0, slash) + base.slice(4), seen);
    else {
      const before = tree.get(name);
      await add(tree, name, item, seen);
      if (!isSame(before, tree.get(name)!)) changed = true;
      fresh.add(name);
    }
  }
  return changed;
}

function isSame(before: RealFile | undefined, after: RealFile): boolean {
  return before !== undefined && FIELDS.every((key) => before[key] === after[key]);
}

function clean(path: string): string {
  return path.replace(/^(?:\.?\/)+|^\.$/, '').replace(/\/+$/, '');
}

function removeBelow(tree: RealTree, prefix: string, fresh: ReadonlySet<string>, seen: Set<string>): void {
  for (const path of [...tree.keys()]) {
    if (!path.startsWith(prefix) || fresh.has(path)) continue;
    tree.delete(path);
    seen.add(path);
  }
}

function remove(tree: RealTree, name: string, seen: Set<string>): void {
  if (tree.delete(name)) seen.add(name);
  removeBelow(tree, `${name}/`, new Set(), seen);
}

async function add(tree: RealTree, name: string, item: TarItem, seen: Set<string>): Promise<void> {
  const { entry } = item;
  seen.add(name);
  if (tree.get(name)?.type === 'directory' && entry.type !== 'directory') remove(tree, name, seen);
  if (entry.type === 'hardlink') {
    const target = tree.get(clean(entry.linkname));
    if (target === undefined) throw new Error(`${name}: hard link to ${entry.linkname}, which is not there`);
    tree.set(name, target);
    return;
  }
  const hash = createHash('sha256');
  for await (const chunk of item.body()) hash.update(chunk);
  const device = entry.type === 'char' || entry.type === 'block' ? `${entry.devmajor}:${entry.devminor}` : '';
  const xattrs = [...(entry.xattrs ?? [])].map(([key, value]) => `${key}=${Buffer.from(value).toString('hex')}`);
  tree.set(name, {
    type: entry.type,
    mode: entry.type === 'symlink' ? 0o777 : entry.mode,
    owner: `${entry.uid}:${entry.gid}`,
    size: entry.size,
    digest: entry.type === 'file' ? hash.digest('hex') : '',
    link: entry.linkname,
    device,
    xattrs: xattrs.sort().join(' '),
    mtime: entry.mtime.sec,
    inode: {},
  });
}

export interface Difference {
  path: string;
  what: string;
}

/**
 * What differs at the paths of `seen`. Times are compared where one is from before `start` (seconds): those after it
 * are when something was built. A directory that was there before a COPY into it keeps its time here, and gets its
 * source's there.
 */
export function compareTrees(own: RealTree, other: RealTree, seen: Iterable<string>, start: number): Difference[] {
  const out: Difference[] = [];
  const tell = (path: string, what: string): void => void out.push({ path, what });
  const peers = new Map<object, object>();
  for (const path of [...new Set(seen)].sort()) {
    const a = own.get(path);
    const b = other.get(path);
    if (a === undefined && b === undefined) continue;
    if (a === undefined || b === undefined) tell(path, a === undefined ? 'is missing here' : 'is missing there');
    else {
      for (const key of FIELDS) {
        if (a[key] !== b[key]) tell(path, `${key}: ${show(key, a[key])}, not ${show(key, b[key])}`);
      }
      const sure = (a.type === 'directory' ? Math.max : Math.min)(a.mtime, b.mtime) < start;
      if (a.mtime !== b.mtime && sure) tell(path, `mtime: ${a.mtime}, not ${b.mtime}`);
      if ((peers.get(a.inode) ?? b.inode) !== b.inode) tell(path, 'is not a link of the same file');
      peers.set(a.inode, b.inode);
    }
  }
  return out;
}

function show(key: string, value: string | number): string {
  return key === 'mode' ? `0${value.toString(8)}` : String(value) || 'none';
}
