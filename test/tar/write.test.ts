import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { byteString, bytesOf, latin1 } from '../../src/core/bytes.ts';
import { isImagoError } from '../../src/core/errors.ts';
import type { TarEntry } from '../../src/formats/tar/entry.ts';
import { TarScanner } from '../../src/formats/tar/scan.ts';
import { END_OF_ARCHIVE, encodeHeader, paddingBytes, storedSize, type TarMember } from '../../src/formats/tar/write.ts';
import { deviceMajor, deviceMinor } from '../../src/system/files.ts';
import { getXattr, listXattrs } from '../../src/system/xattr.ts';

const time = { sec: 1700000000, nsec: 0 };
const long = 'a-directory-with-a-name/'.repeat(6);
const members: TarMember[] = [
  { path: 'd', type: 'directory', mode: 0o1777, mtime: { sec: 1700000000, nsec: 250000000 } },
  {
    path: 'plain',
    type: 'file',
    mode: 0o4755,
    uid: 31000,
    gid: 31001,
    uname: 'anna',
    gname: 'crew',
    mtime: time,
    size: 5,
  },
  { path: 'empty', type: 'file', mode: 0, mtime: { sec: 0, nsec: 1 } },
  { path: 'before-1970', type: 'file', mtime: { sec: -6, nsec: 750000000 } },
  { path: 'just-before-1970', type: 'file', mtime: { sec: -1, nsec: 999999999 } },
  { path: 'whole-before-1970', type: 'file', mtime: { sec: -5, nsec: 0 } },
  { path: 'late', type: 'file', mtime: { sec: 10000000000, nsec: 0 } },
  { path: 'ids', type: 'file', uid: 4000000000, gid: 2097152, mtime: time },
  { path: 'soft', type: 'symlink', linkname: '../somewhere else', mtime: time },
  { path: 'soft-long', type: 'symlink', linkname: 't/'.repeat(80), mtime: time },
  { path: 'hard', type: 'hardlink', linkname: 'plain', mode: 0o4755, uid: 31000, gid: 31001, mtime: time },
  { path: 'char', type: 'char', mode: 0o666, devmajor: 1, devminor: 3, mtime: time },
  { path: 'block', type: 'block', mode: 0o660, devmajor: 259, devminor: 70000, mtime: time },
  { path: 'fifo', type: 'fifo', mode: 0o600, mtime: time },
  { path: `${long.slice(0, 99)}`, type: 'file', size: 1, mtime: time },
  { path: `${long.slice(0, 90)}-file-of-100`.slice(0, 100), type: 'file', size: 1, mtime: time },
  { path: `prefix/${'n'.repeat(100)}`, type: 'file', size: 1, mtime: time },
  { path: `prefix/${'n'.repeat(101)}`, type: 'file', size: 1, mtime: time },
  { path: `${'p'.repeat(155)}/${'n'.repeat(100)}`, type: 'file', size: 1, mtime: time },
  { path: `${'p'.repeat(156)}/${'n'.repeat(100)}`, type: 'file', size: 1, mtime: time },
  { path: `${'q'.repeat(120)}`, type: 'directory', mtime: time },
  { path: `${long}${'é'.repeat(100)}`.slice(0, 240), type: 'file', size: 1, mtime: time },
  { path: byteString('über ☃'), type: 'file', size: 1, mtime: time },
  { path: 'not-utf8-\xfc\xff', type: 'file', size: 1, mtime: time },
  { path: 'new\nline = 5', type: 'file', size: 1, mtime: time },
  { path: 'exact-block', type: 'file', size: 512, mtime: time },
  {
    path: 'attributes',
    type: 'file',
    mtime: time,
    xattrs: new Map([
      ['user.z', bytesOf('last')],
      ['user.empty', bytesOf('')],
      ['user.equals=and%3D', bytesOf('a=b\nc\0d')],
      ['user.binary', Uint8Array.from({ length: 256 }, (_, i) => i)],
      ['security.capability', Uint8Array.from([1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
    ]),
  },
  {
    path: 'holes',
    type: 'file',
    size: 1 << 20,
    mtime: time,
    sparse: [
      { offset: 4096, length: 4096 },
      { offset: 65536, length: 512 },
    ],
  },
  { path: 'all-hole', type: 'file', size: 5 << 20, mtime: time, sparse: [] },
  {
    path: 'many-holes',
    type: 'file',
    size: 400 * 8192,
    mtime: time,
    sparse: Array.from({ length: 400 }, (_, i) => ({ offset: i * 8192, length: 4096 })),
  },
];

const letters = (size: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => 97 + (i % 23));

function archive(list: TarMember[]): Buffer {
  const parts: Uint8Array[] = [];
  for (const member of list) {
    const size = storedSize(member);
    parts.push(encodeHeader(member), letters(size), paddingBytes(size));
  }
  return Buffer.concat([...parts, END_OF_ARCHIVE]);
}

function scan(tar: Uint8Array): TarEntry[] {
  const out: TarEntry[] = [];
  const scanner = new TarScanner({ entry: (e) => void out.push(e) });
  scanner.push(tar);
  scanner.finish();
  return out;
}

test('what is written is read back, member by member', () => {
  const entries = scan(archive(members));
  assert.equal(entries.length, members.length);
  for (const [i, m] of members.entries()) {
    const e = entries[i]!;
    const directory = m.type === 'directory';
    assert.deepEqual(
      [e.path, e.type, e.uid, e.gid, e.uname, e.gname, e.mtime, e.size, e.linkname, e.devmajor, e.devminor],
      [
        directory ? `${m.path}/` : m.path,
        m.type,
        m.uid ?? 0,
        m.gid ?? 0,
        m.uname ?? '',
        m.gname ?? '',
        m.mtime,
        m.size ?? 0,
        m.linkname ?? '',
        m.devmajor ?? 0,
        m.devminor ?? 0,
      ],
    );
    assert.equal(e.mode, m.mode ?? (directory ? 0o755 : m.type === 'symlink' ? 0o777 : 0o644));
    assert.deepEqual(new Map([...(e.xattrs ?? [])].sort()), new Map([...(m.xattrs ?? [])].sort()));
    assert.deepEqual(
      e.sparse?.map(({ offset, length }) => ({ offset, length })),
      m.sparse,
    );
    assert.equal(e.dataSize, storedSize(m));
    assert.equal(e.dirtyPadding, false);
  }
});

test('ustar alone where it holds everything; a PAX header only where it does not', () => {
  const plain: TarMember = { path: 'plain', type: 'file', uid: 0o7777777, size: 0o77777777777, mtime: time };
  assert.equal(encodeHeader(plain).length, 512);
  assert.equal(encodeHeader({ ...plain, path: `${'p'.repeat(155)}/${'n'.repeat(100)}` }).length, 512);
  const wide: Partial<TarMember>[] = [
    { uid: 0o10000000 },
    { size: 2 ** 33 },
    { mtime: { sec: 0, nsec: 1 } },
    { mtime: { sec: -1, nsec: 0 } },
    { path: 'n'.repeat(101) },
    { path: '\xc3\xbc' },
    { uname: 'u'.repeat(32) },
    { xattrs: new Map([['user.a', bytesOf('')]]) },
  ];
  for (const change of wide) assert.equal(encodeHeader({ ...plain, ...change }).length, 1536, JSON.stringify(change));
  assert.equal(scan(Buffer.concat([encodeHeader({ path: 'big', type: 'file', size: 0 })]))[0]!.path, 'big');
});

test('the same member gives the same bytes, whatever the order of its attributes', () => {
  const a = members.find((m) => m.xattrs)!;
  const b = { ...a, xattrs: new Map([...a.xattrs!].reverse()) };
  assert.deepEqual(encodeHeader(a), encodeHeader(b));
});

test('what no tar can hold is refused', () => {
  for (const bad of [
    { path: 'a\0b' },
    { path: '' },
    { uid: -1 },
    { gid: 2 ** 32 },
    { uid: 1.5 },
    { size: -1 },
    { size: 2 ** 53 },
  ]) {
    assert.throws(
      () => encodeHeader({ path: 'a', type: 'file', ...bad }),
      (e) => isImagoError(e, 'TAR_BAD_MEMBER'),
    );
  }
});

/** Compares an extracted tree with `members`. */
function compareTree(root: string, entries: TarEntry[], sameTimes: boolean): void {
  for (const e of entries) {
    const path = Buffer.concat([Buffer.from(`${root}/`), Buffer.from(e.path.replace(/\/$/, ''), 'latin1')]);
    const name = latin1(path);
    const stat = lstatSync(path, { bigint: true });
    assert.equal(Number(stat.uid), e.uid, name);
    assert.equal(Number(stat.gid), e.gid, name);
    if (e.type !== 'symlink') assert.equal(Number(stat.mode) & 0o7777, e.mode, name);
    if (sameTimes && e.type !== 'hardlink') {
      assert.equal(stat.mtimeNs, BigInt(e.mtime.sec) * 1000000000n + BigInt(e.mtime.nsec), name);
    }
    if (e.type === 'symlink') assert.equal(latin1(readlinkSync(path, 'buffer')), e.linkname);
    if (e.type === 'char' || e.type === 'block') {
      assert.deepEqual([deviceMajor(Number(stat.rdev)), deviceMinor(Number(stat.rdev))], [e.devmajor, e.devminor]);
    }
    if (e.type === 'hardlink') assert.equal(stat.ino, lstatSync(join(root, e.linkname), { bigint: true }).ino);
    if (e.type !== 'file') continue;
    assert.equal(Number(stat.size), e.size, name);
    const want = Buffer.alloc(e.size);
    const data = letters(e.dataSize);
    for (const s of e.sparse ?? [{ offset: 0, length: e.size, dataOffset: e.dataOffset }]) {
      want.set(data.subarray(s.dataOffset - e.dataOffset, s.dataOffset - e.dataOffset + s.length), s.offset);
    }
    assert.ok(readFileSync(path).equals(want), `content of ${name}`);
    for (const [key, value] of e.xattrs ?? []) assert.deepEqual(getXattr(path, key), Buffer.from(value), key);
    assert.equal(listXattrs(path).filter((n) => n !== 'security.selinux').length, e.xattrs?.size ?? 0, name);
  }
}

const tools: [name: string, args: string[], refuses: (m: TarMember) => boolean][] = [
  ['tar', ['--extract', '--xattrs', '--xattrs-include=*', '--same-owner', '--numeric-owner', '-p'], () => false],
  // libarchive reads the escape of GNU tar in attribute names as it stands, and does not take back what it never wrote.
  [
    'bsdtar',
    ['-x', '-p', '--xattrs', '--numeric-owner'],
    (m) => [...(m.xattrs?.keys() ?? [])].some((k) => /[=%]/.test(k)),
  ],
];

for (const [tool, args, refuses] of tools) {
  const missing = spawnSync(tool, ['--version']).error ? `${tool} is not installed` : undefined;
  const skip = process.getuid?.() === 0 ? missing : 'owners and devices need root';
  test(`${tool} extracts what is written: contents, owners, modes, times, devices, attributes, holes`, { skip }, () => {
    const root = mkdtempSync(join(tmpdir(), 'imago-tar-'));
    try {
      const list = members.filter((m) => !refuses(m));
      const tar = archive(list);
      writeFileSync(join(root, 'a.tar'), tar);
      mkdirSync(join(root, 'out'));
      execFileSync(tool, [...args, '-f', join(root, 'a.tar'), '-C', join(root, 'out')], {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: { ...process.env, LC_ALL: 'C.UTF-8' },
      });
      // libarchive 3.6 adds the fraction of a negative time instead of taking it off.
      compareTree(
        join(root, 'out'),
        scan(tar).filter((e) => tool === 'tar' || e.mtime.sec >= 0),
        true,
      );
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });
}

const python = spawnSync('python3', ['-c', 'import tarfile']).status === 0;
test("Python's tarfile lists what is written", { skip: python ? undefined : 'python3 is not installed' }, () => {
  const root = mkdtempSync(join(tmpdir(), 'imago-tar-'));
  try {
    const tar = archive(members);
    writeFileSync(join(root, 'a.tar'), tar);
    const script =
      'import tarfile, json, sys\n' +
      'for m in tarfile.open(sys.argv[1]):\n' +
      '  print(json.dumps([list(m.name.encode("utf-8", "surrogateescape")), m.mode, m.uid, m.gid, m.size, m.linkname]))\n';
    const out = execFileSync('python3', ['-c', script, join(root, 'a.tar')], { encoding: 'utf8' });
    const got = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const want = scan(tar).map((e) => [
      [...bytesOf(e.path.replace(/\/$/, ''))],
      e.mode,
      e.uid,
      e.gid,
      e.size,
      e.linkname.replace(/\/$/, ''),
    ]);
    for (const line of got) line[5] = line[5].replace(/\/$/, '');
    assert.deepEqual(got, want);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});
