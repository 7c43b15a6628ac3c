import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { byteString } from '../../src/core/bytes.ts';
import type { TarEntry } from '../../src/formats/tar/entry.ts';
import { readEntries } from '../../src/formats/tar/read.ts';
import { readRootAttributes } from '../../src/snapshot/root-attributes.ts';
import { readUpperChanges } from '../../src/snapshot/upper-changes.ts';
import { type UpperTarOptions, upperTarChunks, writeUpperTar } from '../../src/snapshot/upper-tar.ts';
import { carriedName } from '../../src/snapshot/upper-xattrs.ts';
import { mknod, setTimes } from '../../src/system/files.ts';
import { setXattr } from '../../src/system/xattr.ts';
import { mergeLayers } from '../../src/tree/merge.ts';
import { tarOf } from './rig.ts';

const skip = process.getuid?.() !== 0 ? 'needs root: whiteouts and trusted attributes' : false;

/** An upper directory as overlayfs would write it. */
class Upper implements Disposable {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'imago-upper-'));

  at(path: string): string {
    return join(this.directory, path);
  }

  file(path: string, content = ''): string {
    writeFileSync(this.at(path), content);
    return this.at(path);
  }

  dir(path: string): string {
    mkdirSync(this.at(path));
    return this.at(path);
  }

  whiteout(path: string): void {
    mknod(this.at(path), 0o020000, 0, 0);
  }

  opaque(path: string): void {
    setXattr(this.at(path), 'trusted.overlay.opaque', Buffer.from('y'));
  }

  tar(options?: UpperTarOptions): Buffer {
    return Buffer.concat([...upperTarChunks(this.directory, options)]);
  }

  entries(options?: UpperTarOptions): TarEntry[] {
    return entriesOf(this.tar(options));
  }

  paths(options?: UpperTarOptions): string[] {
    return this.entries(options).map(({ path }) => path);
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function entriesOf(tar: Buffer): TarEntry[] {
  return readEntries((buffer, offset) => tar.copy(buffer, 0, offset, offset + buffer.length), tar.length);
}

describe('a writable layer as a tar', { skip }, () => {
  it('has parents first, siblings by bytes, markers where they belong', () => {
    using upper = new Upper();
    upper.dir('b');
    upper.file('b/x');
    upper.whiteout('b/a');
    upper.file('b!');
    upper.dir('o');
    upper.opaque('o');
    upper.file('o/new');
    writeFileSync(Buffer.concat([Buffer.from(upper.at('\x00').slice(0, -1)), Buffer.from([0xff])]), '');
    const paths = upper.paths();
    assert.deepEqual(paths, ['./', 'b/', 'b/.wh.a', 'b/x', 'b!', 'o/', 'o/.wh..wh..opq', 'o/new', '\xff']);
    assert.ok(upper.tar().equals(upper.tar()));
  });

  it('marks directories opaque only over lower directories, where those are known', () => {
    using upper = new Upper();
    for (const name of ['over', 'fresh']) {
      upper.dir(name);
      upper.opaque(name);
    }
    const lower = (path: string): 'directory' | undefined => (path === 'over' ? 'directory' : undefined);
    assert.deepEqual(upper.paths({ lower }), ['./', 'fresh/', 'over/', 'over/.wh..wh..opq']);
  });

  it('tells the root only where it changed', () => {
    using upper = new Upper();
    setXattr(upper.directory, 'user.k', Buffer.from('v'));
    setXattr(upper.directory, 'trusted.overlay.uuid', Buffer.from('0123456789abcdef'));
    const root = readRootAttributes(upper.directory);
    upper.file('a');
    assert.deepEqual(upper.paths({ root }), ['a']);
    setXattr(upper.directory, 'user.k', Buffer.from('w'));
    assert.deepEqual(upper.paths({ root }), ['./', 'a']);
    setXattr(upper.directory, 'user.k', Buffer.from('v'));
    chmodSync(upper.directory, 0o1777);
    assert.equal(upper.entries({ root })[0]?.mode, 0o1777);
  });

  it('says what it leaves out', async () => {
    using upper = new Upper();
    upper.file('.wh.mine');
    upper.dir('.wh..wh.dir');
    upper.file('.wh..wh.dir/below');
    execFileSync('mknod', [upper.at('pipe'), 'p']);
    const server = (await import('node:net')).createServer().listen(upper.at('sock'));
    await new Promise((done) => server.once('listening', done));
    const skipped: string[] = [];
    const paths = upper.paths({ onSkipped: (path, reason) => void skipped.push(`${path} ${reason}`) });
    server.close();
    assert.deepEqual(paths, ['./', 'pipe']);
    assert.deepEqual(skipped, ['.wh..wh.dir reserved-name', '.wh.mine reserved-name', 'sock socket']);
  });

  it('carries attributes of files, not of the overlay or the host', () => {
    const names = {
      'user.a': 'user.a',
      'security.capability': 'security.capability',
      'system.posix_acl_access': 'system.posix_acl_access',
      'trusted.mine': 'trusted.mine',
      'trusted.overlay.overlay.opaque': 'trusted.overlay.opaque',
      'trusted.overlay.origin': undefined,
      'trusted.overlay.opaque': undefined,
      'security.selinux': undefined,
      'system.nfs4_acl': undefined,
    };
    for (const [stored, carried] of Object.entries(names)) assert.equal(carriedName(stored), carried, stored);
    using upper = new Upper();
    setXattr(upper.file('f'), 'trusted.overlay.overlay.k', Buffer.from([1, 0, 255]));
    setXattr(upper.at('f'), 'trusted.overlay.origin', Buffer.from('o'));
    assert.deepEqual([...(upper.entries()[1]?.xattrs ?? [])], [['trusted.overlay.k', Uint8Array.of(1, 0, 255)]]);
  });

  it('stores holes and links once, times before 1970 and past 2106', () => {
    using upper = new Upper();
    truncateSync(upper.file('sparse', 'start'), 50_000_000);
    const fd = openSync(upper.at('sparse'), 'r+');
    writeSync(fd, 'end', 49_999_997);
    closeSync(fd);
    truncateSync(upper.file('small-hole', 'x'), 40_000);
    linkSync(upper.file('link-a', 'content'), upper.at('link-b'));
    symlinkSync('t', upper.at('sym-a'));
    linkSync(upper.at('sym-a'), upper.at('sym-b'));
    setTimes(upper.file('past'), { sec: -3, nsec: 250_000_000 });
    setTimes(upper.file('future'), { sec: 5_000_000_000, nsec: 1 });
    const tar = upper.tar();
    assert.ok(tar.length < 200_000, `${tar.length}`);
    const byPath = new Map(entriesOf(tar).map((entry) => [entry.path, entry]));
    const of = (path: string): TarEntry => byPath.get(path)!;
    assert.deepEqual([of('sparse').size, of('sparse').sparse?.length], [50_000_000, 2]);
    assert.equal(of('small-hole').sparse, undefined);
    assert.deepEqual([of('link-b').type, of('link-b').linkname], ['hardlink', 'link-a']);
    assert.deepEqual([of('sym-b').type, of('sym-b').linkname], ['hardlink', 'sym-a']);
    assert.deepEqual(
      [of('past').mtime, of('future').mtime],
      [
        { sec: -3, nsec: 250_000_000 },
        { sec: 5_000_000_000, nsec: 1 },
      ],
    );
  });

  it('fills up a file that shrinks while it is read', () => {
    using upper = new Upper();
    upper.file('a', 'x'.repeat(2_000_000));
    const chunks: Uint8Array[] = [];
    for (const chunk of upperTarChunks(upper.directory)) {
      if (chunks.push(chunk) === 1) truncateSync(upper.at('a'), 1_000_000);
    }
    const tar = Buffer.concat(chunks);
    const [, entry] = entriesOf(tar);
    assert.equal(entry?.size, 2_000_000);
    assert.equal(tar[entry!.dataOffset + 1_999_999], 0);
  });

  it('is what GNU tar extracts to the same', {
    skip: spawnSync('tar', ['--version']).status !== 0 && 'needs tar',
  }, async () => {
    using upper = new Upper();
    using copy = new Upper();
    upper.dir('d');
    for (let i = 0; i < 50; i++) upper.file(`d/${byteString('ü').repeat(i)}${i}`, 'y'.repeat(i * 99));
    upper.file(`d/${'n'.repeat(255)}`, 'long');
    truncateSync(upper.at('d/0'), 1_000_000);
    const parts: Uint8Array[] = [];
    for await (const chunk of writeUpperTar(upper.directory)) parts.push(chunk);
    execFileSync('tar', ['-xpf', '-', '-C', copy.directory], { input: Buffer.concat(parts) });
    execFileSync('diff', ['-r', '--no-dereference', upper.directory, copy.directory]);
  });
});

describe('changes in a writable layer', { skip }, () => {
  it('are told against what was below', () => {
    using upper = new Upper();
    const lower = mergeLayers([
      entriesOf(
        tarOf([
          { path: 'file', type: 'file' },
          { path: 'becomes-dir', type: 'file' },
          { path: 'becomes-file/x', type: 'file' },
          { path: 'opaque/a', type: 'file' },
          { path: 'opaque/b/c', type: 'file' },
          { path: 'gone/deep', type: 'file' },
          { path: 'dir/kept', type: 'file' },
        ]),
      ),
    ]);
    upper.dir('becomes-dir');
    upper.file('becomes-dir/new');
    upper.file('becomes-file');
    upper.dir('opaque');
    upper.opaque('opaque');
    upper.file('opaque/a');
    upper.whiteout('gone');
    upper.whiteout('never-was');
    upper.dir('dir');
    upper.file('dir/z');
    const told = readUpperChanges(upper.directory, lower).map(({ kind, path }) => `${kind} ${path}`);
    assert.deepEqual(told, [
      'C /becomes-dir',
      'A /becomes-dir/new',
      'C /becomes-file',
      'C /dir',
      'A /dir/z',
      'D /gone',
      'C /opaque',
      'C /opaque/a',
      'D /opaque/b',
    ]);
  });
});
