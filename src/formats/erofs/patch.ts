import { type ByteString, displayName } from '../../core/bytes.ts';
import type { Digest } from '../../core/digest.ts';
import { ImagoError } from '../../core/errors.ts';
import type { TarEntry } from '../tar/entry.ts';
import { writeImage } from './image.ts';
import { type Directory, Inode, isDirectory } from './inode.ts';
import { LayerTree } from './layer-tree.ts';
import { isOwn, setAttributes, setContent } from './member.ts';
import { patchUuid } from './uuid.ts';

/** A directory as the merged layers should show it. */
export interface PatchDirectory {
  /** Clean; '' is the root. */
  path: ByteString;
  attributes: Pick<TarEntry, 'mode' | 'uid' | 'gid' | 'mtime' | 'xattrs'>;
}

/** A file of a lower layer under all the names that it should share one inode with. */
export interface PatchLink {
  paths: ByteString[];
  /** Any member but a directory or a hardlink, as its layer has it. */
  source: TarEntry;
  /** Which of `layers` holds the source's data. */
  layer: number;
}

export interface PatchOptions {
  /** ChainID of the stack that the patch is for; gives its UUID. */
  chainId: Digest;
  /** The stack from the bottom. */
  layers: readonly { diffId: Digest; tarSize: number }[];
  /** The root, and every directory above another path of the patch, must be among them. */
  directories: readonly PatchDirectory[];
  links: readonly PatchLink[];
}

export interface Patch {
  image: Uint8Array;
  /** Layers whose tars are its devices, in slot order. Often none. */
  devices: Digest[];
}

/**
 * The index that lies on top of a stack and mends what a pure function of each tar cannot know: attributes of
 * directories that a layer only implies, and hardlinks to files of lower layers. Its directories merge with those
 * below. Throws `BAD_PATCH` for a path whose parent directory is not among `directories`, and as `IndexBuilder.add`.
 */
export function buildPatch(options: PatchOptions): Patch {
  const tree = new LayerTree();
  for (const directory of [...options.directories].sort((a, b) => (a.path < b.path ? -1 : 1))) {
    addDirectory(tree, directory);
  }
  if (tree.root.implied) throw badPatch('');
  const slots = new Map<Digest, number>();
  const sizes: number[] = [];
  for (const link of options.links) {
    const layer = options.layers[link.layer];
    if (layer === undefined)
      throw new ImagoError('BAD_PATCH', 'patch from a layer that is not there', { got: link.layer });
    if (link.source.type === 'file' && link.source.dataSize > 0 && !slots.has(layer.diffId)) {
      sizes.push(layer.tarSize);
      slots.set(layer.diffId, sizes.length);
    }
    addLink(tree, link, slots.get(layer.diffId) ?? 1);
  }
  const image = writeImage(tree.root, { uuid: patchUuid(options.chainId), devices: sizes });
  return { image, devices: [...slots.keys()] };
}

function addDirectory(tree: LayerTree, { path, attributes }: PatchDirectory): void {
  const { mode, uid, gid, mtime, xattrs } = attributes;
  const parent = path === '' ? undefined : parentOf(tree, path);
  const directory = parent === undefined ? tree.root : tree.directory(path);
  setAttributes(directory, { type: 'directory', path, headerOffset: 0, mode, uid, gid, mtime, xattrs }, () => {});
}

function addLink(tree: LayerTree, link: PatchLink, device: number): void {
  const { source, paths } = link;
  if (!isOwn(source) || source.type === 'directory') {
    throw new ImagoError('BAD_PATCH', 'hardlink to something that cannot have one', { path: displayName(source.path) });
  }
  const inode = new Inode(0);
  setAttributes(inode, source, () => {});
  setContent(inode, source, device);
  inode.nlink = 0;
  for (const path of paths) {
    inode.nlink++;
    tree.place(parentOf(tree, path), path.slice(path.lastIndexOf('/') + 1), inode);
  }
}

function parentOf(tree: LayerTree, path: ByteString): Directory {
  const slash = path.lastIndexOf('/');
  const parent = tree.lookup(slash < 0 ? '' : path.slice(0, slash));
  if (parent === undefined || !isDirectory(parent) || parent.implied) throw badPatch(path);
  return parent;
}

function badPatch(path: ByteString): ImagoError {
  return new ImagoError('BAD_PATCH', 'no directory in the patch for a path', { path: `/${displayName(path)}` });
}
