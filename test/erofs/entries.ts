import { type ByteString, byteString } from '../../src/core/bytes.ts';
import type { Digest } from '../../src/core/digest.ts';
import { IndexBuilder, type IndexLimits, type LayerIndex } from '../../src/formats/erofs/index-builder.ts';
import { type IndexEntry, IndexReader } from '../../src/formats/erofs/read.ts';
import type { TarEntry } from '../../src/formats/tar/entry.ts';
import { TarScanner } from '../../src/formats/tar/scan.ts';

export const DIFF_ID: Digest = `sha256:${'0123456789abcdef'.repeat(4)}`;

/** A member with plain attributes; `path` is text. A trailing slash makes a directory. */
export function entry(path: string, more: Partial<TarEntry> = {}): TarEntry {
  const type = more.type ?? (path.endsWith('/') ? 'directory' : 'file');
  const size = more.size ?? 0;
  return {
    path: byteString(path),
    type,
    mode: type === 'directory' ? 0o755 : 0o644,
    uid: 0,
    gid: 0,
    uname: '',
    gname: '',
    mtime: { sec: 1_700_000_000, nsec: 0 },
    size,
    linkname: '',
    devmajor: 0,
    devminor: 0,
    xattrs: undefined,
    headerOffset: 0,
    dataOffset: 512,
    dataSize: size,
    sparse: undefined,
    dirtyPadding: false,
    ...more,
  };
}

export function hardlink(path: string, linkname: string): TarEntry {
  return entry(path, { type: 'hardlink', linkname: byteString(linkname) });
}

export function symlink(path: string, linkname: string): TarEntry {
  return entry(path, { type: 'symlink', linkname: byteString(linkname) });
}

/** Values are text. */
export function xattrs(values: Record<string, string>): Map<ByteString, Uint8Array> {
  return new Map(Object.entries(values).map(([name, value]) => [name, Buffer.from(value, 'latin1')]));
}

export function buildIndex(
  entries: Iterable<TarEntry>,
  limits: IndexLimits = {},
  tarSize: number = 2 ** 32,
): LayerIndex {
  const builder = new IndexBuilder(limits);
  for (const e of entries) builder.add(e);
  return builder.finish({ diffId: DIFF_ID, tarSize });
}

export function indexTar(tar: Uint8Array, diffId: Digest = DIFF_ID): LayerIndex {
  const builder = new IndexBuilder();
  const scanner = new TarScanner({ entry: (e) => builder.add(e) });
  scanner.push(tar);
  scanner.finish();
  return builder.finish({ diffId, tarSize: tar.length });
}

/** The names of an index with what the independent reader says of them. */
export function readBack(image: Uint8Array): Map<ByteString, IndexEntry> {
  return new Map([...new IndexReader(image).entries()].map((e) => [e.path, e]));
}

/** mulberry32: the same numbers on every run. */
export function randomSource(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}
