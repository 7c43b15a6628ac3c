import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  type BigIntStats,
  closeSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ByteString, displayName, latin1 } from '../../src/core/bytes.ts';
import { deviceMajor, deviceMinor } from '../../src/system/files.ts';
import { MNT_DETACH, MS, mount, umount } from '../../src/system/mount.ts';
import { CLONE_FS, CLONE_NEWNS, unshare } from '../../src/system/namespace.ts';
import { getXattr, listXattrs } from '../../src/system/xattr.ts';
import { buildIndex, entry } from './entries.ts';

/** A directory on a file system that can hold indexes, and a mount namespace that ends with this process. */
export interface Lab {
  dir: string;
  /** Why nothing can be mounted; false where it can. */
  skip: string | false;
}

let lab: Lab | undefined;

/** The same one for all tests of a process; the caller removes it with `closeLab`. */
export function openLab(): Lab {
  lab ??= makeLab();
  return lab;
}

export function closeLab(): void {
  if (lab !== undefined) rmSync(lab.dir, { recursive: true, force: true });
  lab = undefined;
}

function makeLab(): Lab {
  let skip = 'needs root: mounting EROFS';
  // An index on tmpfs, overlay or EROFS cannot be mounted without a loop device.
  for (const base of [tmpdir(), '/var/tmp']) {
    const dir = mkdtempSync(join(base, 'imago-erofs-'));
    if (process.getuid?.() !== 0) return { dir, skip };
    try {
      enterNamespace();
      const { image } = buildIndex([entry('probe')]);
      writeFileSync(join(dir, 'probe.tar'), new Uint8Array(1024));
      umount(mountIndex(dir, 'probe', image, [join(dir, 'probe.tar')]), MNT_DETACH);
      return { dir, skip: false };
    } catch (error) {
      skip = `EROFS over files does not mount in ${base} here: ${(error as Error).message}`;
      rmSync(dir, { recursive: true });
    }
  }
  return { dir: mkdtempSync(join(tmpdir(), 'imago-erofs-')), skip };
}

let inNamespace = false;

/** The tests' own mounts are seen by this thread and its children only, and end with them. */
function enterNamespace(): void {
  if (inNamespace) return;
  unshare(CLONE_FS | CLONE_NEWNS);
  mount('none', '/', 'none', MS.REC | MS.PRIVATE);
  inNamespace = true;
}

/** Mounts an image over its tars at DIR/NAME, which is returned. */
export function mountIndex(dir: string, name: string, image: Uint8Array, tars: string[]): string {
  const target = join(dir, name);
  const file = join(dir, `${name}.erofs`);
  writeFileSync(file, image);
  mkdirSync(target, { recursive: true });
  mount(file, target, 'erofs', MS.RDONLY, tars.map((tar) => `device=${tar}`).join(','));
  return target;
}

/** The names of the tools that are not in PATH, as a reason to skip; false where all are. */
export function missing(...tools: string[]): string | false {
  const absent = tools.filter((tool) => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0);
  return absent.length === 0 ? false : `needs ${absent.join(', ')}`;
}

/**
 * Everything the kernel tells of the names below a directory, a line each by path: type, mode, owner, size, time,
 * links, device, target, attributes, digest of the content, and which names are one inode.
 */
export function describeTree(root: string, options: { directoryLinks?: boolean } = {}): Map<ByteString, string> {
  const out = new Map<ByteString, string>();
  const firstNames = new Map<bigint, ByteString>();
  const pending: ByteString[] = [''];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    const full = Buffer.concat([Buffer.from(root), Buffer.from(`/${path}`, 'latin1')]);
    const stat = lstatSync(full, { bigint: true });
    const fields = [describeStat(stat, options.directoryLinks !== false)];
    if (stat.isSymbolicLink()) fields.push(`-> ${displayName(latin1(readlinkSync(full, { encoding: 'buffer' })))}`);
    if (stat.isFile()) fields.push(hashFile(full));
    for (const name of listXattrs(full).sort()) {
      fields.push(`${displayName(name)}=${getXattr(full, name)?.toString('hex')}`);
    }
    out.set(path, fields.join(' '));
    if (stat.isDirectory()) {
      const names = readdirSync(full, { encoding: 'buffer' }).map((name) => latin1(name));
      names.sort((a, b) => (a < b ? 1 : -1));
      for (const name of names) pending.push(path === '' ? name : `${path}/${name}`);
    } else if (stat.nlink > 1n) {
      const first = firstNames.get(stat.ino) ?? path;
      firstNames.set(stat.ino, first);
      out.set(path, `${out.get(path)} = ${displayName(first)}`);
    }
  }
  return out;
}

function describeStat(stat: BigIntStats, directoryLinks: boolean): string {
  const fields = [stat.mode.toString(8), `${stat.uid}:${stat.gid}`, `${stat.mtimeNs}ns`];
  if (!stat.isDirectory()) fields.push(`size=${stat.size}`);
  if (!stat.isDirectory() || directoryLinks) fields.push(`nlink=${stat.nlink}`);
  const rdev = Number(stat.rdev);
  if (rdev !== 0) fields.push(`dev=${deviceMajor(rdev)}:${deviceMinor(rdev)}`);
  return fields.join(' ');
}

const buffer: Buffer = Buffer.alloc(1 << 18);

function hashFile(path: Buffer): string {
  const hash = createHash('sha256');
  const fd = openSync(path, 'r');
  try {
    for (let n = readSync(fd, buffer); n > 0; n = readSync(fd, buffer)) hash.update(buffer.subarray(0, n));
  } finally {
    closeSync(fd);
  }
  return hash.digest('hex').slice(0, 16);
}

/** Lines that differ, at most `limit`, as text; '' where the trees are the same. */
export function compareTrees(got: Map<ByteString, string>, want: Map<ByteString, string>, limit = 10): string {
  const lines: string[] = [];
  for (const path of [...new Set([...got.keys(), ...want.keys()])].sort()) {
    if (got.get(path) === want.get(path)) continue;
    lines.push(`/${displayName(path)}\n   got ${got.get(path)}\n  want ${want.get(path)}`);
    if (lines.length === limit) break;
  }
  return lines.join('\n');
}
