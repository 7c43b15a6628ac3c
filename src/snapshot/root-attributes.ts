import { chmodSync, chownSync, lstatSync } from 'node:fs';
import type { ByteString } from '../core/bytes.ts';
import type { Time } from '../core/time.ts';
import { escapeXattrName } from '../formats/erofs/xattrs.ts';
import { setTimes } from '../system/files.ts';
import { setXattr } from '../system/xattr.ts';
import { readUpperXattrs } from './upper-xattrs.ts';

/** Attributes of an image's root directory. An overlay shows those of its top layer only. */
export interface RootAttributes {
  mode: number;
  uid: number;
  gid: number;
  mtime: Time;
  xattrs: Map<ByteString, Uint8Array> | undefined;
}

/** What a root directory has that no layer describes. */
export const DEFAULT_ROOT: RootAttributes = {
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtime: { sec: 0, nsec: 0 },
  xattrs: undefined,
};

export function readRootAttributes(directory: string): RootAttributes {
  const path = Buffer.from(directory);
  const stat = lstatSync(path, { bigint: true });
  return {
    mode: Number(stat.mode & 0o7777n),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    mtime: splitTime(stat.mtimeNs),
    xattrs: readUpperXattrs(path),
  };
}

export function writeRootAttributes(directory: string, root: RootAttributes): void {
  chownSync(directory, root.uid, root.gid);
  chmodSync(directory, root.mode);
  for (const [name, value] of root.xattrs ?? []) setXattr(directory, escapeXattrName(name), value);
  setTimes(directory, root.mtime);
}

export function splitTime(ns: bigint): Time {
  const nsec = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return { sec: Number((ns - nsec) / 1_000_000_000n), nsec: Number(nsec) };
}
