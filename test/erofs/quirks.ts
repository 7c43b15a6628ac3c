import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { mknod, setTimes } from '../../src/system/files.ts';
import { setXattr } from '../../src/system/xattr.ts';

/** A directory with one of everything that a tar, EROFS and Linux can hold. Needs root, setfacl, setcap. */
export function makeQuirks(dir: string): void {
  mkdirSync(dir);
  const at = (name: string): string => join(dir, name);
  makeFiles(at);
  makeNames(dir);
  makeSpecial(at);
  makeAttributes(at);
  makeDirectories(at);
  setTimes(dir, { sec: 1_234_567_890, nsec: 123_456_789 });
}

type At = (name: string) => string;

function makeFiles(at: At): void {
  for (const size of [0, 1, 511, 512, 513, 4096, 100_000]) writeFileSync(at(`size-${size}`), pattern(size));
  writeFileSync(at('links-a'), 'shared');
  linkSync(at('links-a'), at('links-b'));
  mkdirSync(at('elsewhere'));
  linkSync(at('links-a'), at('elsewhere/links-c'));
  writeFileSync(at('setuid'), 'x');
  lchownSync(at('setuid'), 1000, 70_000);
  chmodSync(at('setuid'), 0o6755);
  // Times before 1970 do not fit ustar.
  writeFileSync(at('old'), 'x');
  setTimes(at('old'), { sec: -6, nsec: 750_000_000 });
  writeFileSync(at('nanoseconds'), 'x');
  setTimes(at('nanoseconds'), { sec: 1_700_000_001, nsec: 999_999_999 });
  makeSparse(at('sparse-middle'), 1 << 20, [65_536, 131_072, 524_288]);
  makeSparse(at('sparse-end'), (1 << 20) + 77, []);
  makeSparse(at('sparse-start'), 300_000, [0, 299_000]);
}

function pattern(size: number): Buffer {
  return Buffer.from(Uint8Array.from({ length: size }, (_, i) => i * 7 + (i >> 8)));
}

function makeSparse(path: string, size: number, data: number[]): void {
  const fd = openSync(path, 'w');
  for (const offset of data) writeSync(fd, pattern(900), 0, 900, offset);
  ftruncateSync(fd, size);
  closeSync(fd);
}

function makeNames(dir: string): void {
  for (const name of ['!', '-', '.hidden', '..odd', 'sp ace', 'new\nline', 'quo"te\\', 'ünïcode', '漢字']) {
    writeFileSync(join(dir, name), name);
  }
  for (const bytes of [
    [0xff, 0xfe],
    [0x61, 0x80, 0x62],
  ]) {
    writeFileSync(Buffer.concat([Buffer.from(`${dir}/`), Buffer.from(bytes)]), 'no text');
  }
  writeFileSync(join(dir, `long-${'n'.repeat(250)}`), 'x');
  let path = join(dir, 'long-path');
  for (let i = 0; i < 20; i++) path = join(path, 'x'.repeat(100));
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, 'end'), 'x');
  symlinkSync('l'.repeat(1000), join(dir, 'long-link'));
}

function makeSpecial(at: At): void {
  for (const length of [1, 99, 100, 255]) symlinkSync('t'.repeat(length), at(`to-${length}`));
  symlinkSync('/etc/passwd', at('link-absolute'));
  lchownSync(at('link-absolute'), 12, 34);
  setTimes(at('link-absolute'), { sec: 1_600_000_000, nsec: 0 });
  mknod(at('null'), 0o020666, 1, 3);
  mknod(at('char-large'), 0o020600, 511, 70_000);
  mknod(at('disk'), 0o060660, 8, 17);
  mknod(at('pipe'), 0o010640);
  linkSync(at('pipe'), at('pipe-link'));
}

function makeAttributes(at: At): void {
  writeFileSync(at('attributes'), 'x');
  setXattr(at('attributes'), 'user.text', Buffer.from('a=b'));
  setXattr(at('attributes'), 'user.empty', new Uint8Array(0));
  setXattr(at('attributes'), 'user.binary', Uint8Array.of(0, 10, 255, 61));
  setXattr(at('attributes'), 'trusted.t', Buffer.from('t'));
  setXattr(at('attributes'), 'user.large', pattern(2500));
  writeFileSync(at('capable'), 'x');
  execFileSync('setcap', ['cap_net_raw,cap_net_bind_service+ep', at('capable')]);
  writeFileSync(at('acl'), 'x');
  execFileSync('setfacl', ['-m', 'u:1000:rw,g:33:r', at('acl')]);
  mkdirSync(at('acl-dir'));
  execFileSync('setfacl', ['-d', '-m', 'u:7:rwx', at('acl-dir')]);
  setXattr(at('acl-dir'), 'user.on-directory', Buffer.from('d'));
}

function makeDirectories(at: At): void {
  mkdirSync(at('empty'), { mode: 0o700 });
  mkdirSync(at('sticky'));
  chmodSync(at('sticky'), 0o3777);
  for (const count of [10, 100, 1000]) {
    const dir = at(`many-${count}`);
    mkdirSync(dir);
    for (let i = 0; i < count; i++) writeFileSync(join(dir, `f${i}`), String(i));
    setTimes(dir, { sec: 1_500_000_000 + count, nsec: 5 });
  }
  mkdirSync(at(`deep/${Array.from({ length: 60 }, (_, i) => i).join('/')}`), { recursive: true });
}
