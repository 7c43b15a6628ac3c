import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TarEntry } from '../../src/formats/tar/entry.ts';
import { readEntries } from '../../src/formats/tar/read.ts';

const LETTERS: Record<TarEntry['type'], string> = {
  file: '-',
  hardlink: 'h',
  symlink: 'l',
  char: 'c',
  block: 'b',
  directory: 'd',
  fifo: 'p',
};

function modeString(e: TarEntry): string {
  const bit = (mask: number, letter: string) => (e.mode & mask ? letter : '-');
  const exec = (mask: number, special: number, letter: string) =>
    e.mode & special ? (e.mode & mask ? letter : letter.toUpperCase()) : bit(mask, 'x');
  return (
    LETTERS[e.type] +
    bit(0o400, 'r') +
    bit(0o200, 'w') +
    exec(0o100, 0o4000, 's') +
    bit(0o040, 'r') +
    bit(0o020, 'w') +
    exec(0o010, 0o2000, 's') +
    bit(0o004, 'r') +
    bit(0o002, 'w') +
    exec(0o001, 0o1000, 't')
  );
}

/** A line of `tar --list --verbose --full-time --numeric-owner --utc`, its columns one space apart. */
function line(e: TarEntry): string {
  const size = e.type === 'char' || e.type === 'block' ? `${e.devmajor},${e.devminor}` : String(e.size);
  const date = new Date(e.mtime.sec * 1000).toISOString().slice(0, 19).replace('T', ' ');
  const fraction = e.mtime.nsec === 0 ? '' : `.${String(e.mtime.nsec).padStart(9, '0').replace(/0+$/, '')}`;
  const link = e.type === 'symlink' ? ` -> ${e.linkname}` : e.type === 'hardlink' ? ` link to ${e.linkname}` : '';
  return `${modeString(e)} ${e.uid}/${e.gid} ${size} ${date}${fraction} ${e.path}${link}`;
}

const writers: [tool: string, args: string[]][] = [
  ['tar', ['--create', '--format=gnu', '--sparse', '-f']],
  ['tar', ['--create', '--format=posix', '--xattrs', '--sparse', '-f']],
  ['bsdtar', ['--format=gnutar', '-cf']],
  ['bsdtar', ['--format=pax', '-cf']],
];

for (const [tool, args] of writers) {
  const missing = [tool, 'tar'].find((name) => spawnSync(name, ['--version']).error);
  const skip = missing && `${missing} is not installed`;
  test(`a real tree by ${tool} ${args.join(' ')} lists as GNU tar lists it`, { skip }, () => {
    const root = mkdtempSync(join(tmpdir(), 'imago-tar-'));
    try {
      const file = join(root, 'a.tar');
      // What a file of /etc loses meanwhile, or an unreadable one, is no matter: the tar is what counts.
      spawnSync(tool, [...args, file, '-C', '/', 'etc', 'usr/share/doc'], {
        env: { ...process.env, LC_ALL: 'C.UTF-8' },
      });
      const listing = execFileSync(
        'tar',
        ['--list', '--verbose', '--full-time', '--numeric-owner', '--utc', '--quoting-style=literal', '-f', file],
        {
          encoding: 'latin1',
          maxBuffer: 1 << 28,
          env: { ...process.env, LC_ALL: 'C' },
          stdio: ['ignore', 'pipe', 'ignore'],
        },
      );
      const want = listing
        .trimEnd()
        .split('\n')
        .map((l) => l.replace(/^(\S+) +(\S+) +(\S+) +(\S+ \S+) +/, '$1 $2 $3 $4 '));
      const tar = readFileSync(file);
      const entries = readEntries((buffer, offset) => tar.copy(buffer, 0, offset, offset + buffer.length), tar.length);
      assert.ok(entries.length > 100, `${entries.length} entries`);
      assert.deepEqual(entries.map(line), want);
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });
}
