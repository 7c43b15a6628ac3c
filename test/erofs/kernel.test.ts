import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { after, describe, it } from 'node:test';
import { MNT_DETACH, umount } from '../../src/system/mount.ts';
import { indexTar } from './entries.ts';
import { closeLab, compareTrees, describeTree, missing, mountIndex, openLab } from './lab.ts';
import { makeQuirks } from './quirks.ts';

/**
 * The oracle: the kernel's view of an index over its tar, entry by entry, against what a real tar extracts from it.
 * IMAGO_TEST_TARS (paths, colon-separated) names further tars to compare.
 */
const { dir, skip } = openLab();
after(closeLab);

function compareMounted(tar: string, extract: (tar: string, into: string) => void, skipped: string[] = []): void {
  const name = basename(tar, '.tar');
  const into = join(dir, `${name}.extracted`);
  mkdirSync(into);
  extract(tar, into);
  const { image, facts } = indexTar(readFileSync(tar));
  const mounted = mountIndex(dir, name, image, [tar]);
  try {
    const got = describeTree(mounted);
    const want = describeTree(into);
    // The tar says nothing of these, so the extraction leaves them as it made them.
    for (const path of [...skipped, ...(facts.rootImplied ? ['', ...facts.impliedDirs] : facts.impliedDirs)]) {
      assert.ok(got.delete(path) && want.delete(path));
    }
    assert.equal(compareTrees(got, want), '');
    assert.ok(got.size > 1);
  } finally {
    umount(mounted, MNT_DETACH);
    rmSync(into, { recursive: true });
  }
}

function extractWithGnu(tar: string, into: string): void {
  const options = ['--xattrs', '--xattrs-include=*', '--numeric-owner', '--delay-directory-restore'];
  // It warns of times before 1970.
  execFileSync('tar', [...options, '-xpf', tar, '-C', into], { stdio: 'pipe' });
}

function extractWithBsd(tar: string, into: string): void {
  execFileSync('bsdtar', ['--xattrs', '--numeric-owner', '-xpf', tar, '-C', into]);
}

describe('the kernel shows what tar extracts', { skip }, () => {
  const quirks = join(dir, 'quirks');
  const made = missing('tar', 'setfacl', 'setcap');
  if (made === false) makeQuirks(quirks);

  for (const format of ['posix', 'gnu', 'ustar']) {
    it(`quirks, GNU tar --format=${format}`, { skip: made }, () => {
      const tar = join(dir, `gnu-${format}.tar`);
      const more = format === 'posix' ? ['--xattrs', '--xattrs-include=*', '--acls', '--sparse'] : [];
      if (format === 'gnu') more.push('--sparse');
      // Ustar has no room for the long names.
      if (format === 'ustar') more.push('--exclude=./long*', '--exclude=./old*', '--exclude=./to-255');
      execFileSync('tar', [`--format=${format}`, ...more, '-cf', tar, '-C', quirks, '.'], { stdio: 'pipe' });
      compareMounted(tar, extractWithGnu);
    });
  }

  it('quirks, bsdtar', { skip: made || missing('bsdtar') }, () => {
    const tar = join(dir, 'bsd.tar');
    // It writes −5.25 s as −6.75, and ACLs as text with names, which no engine reads.
    const options = ['--xattrs', '--format=pax', '--exclude=./old', '--exclude=./acl*'];
    execFileSync('bsdtar', [...options, '-cf', tar, '-C', quirks, '.'], { stdio: 'pipe' });
    // It leaves alone the directory that it extracts into.
    compareMounted(tar, extractWithBsd, ['']);
  });

  const real = ['etc', 'usr/share/zoneinfo'].filter((path) => existsSync(join('/', path)));
  it(`/${real.join(', /')} of this machine`, { skip: missing('tar') }, () => {
    const tar = join(dir, 'real.tar');
    const options = ['--format=posix', '--xattrs', '--xattrs-include=*', '--acls'];
    execFileSync('tar', [...options, '-cf', tar, '-C', '/', ...real], { stdio: 'pipe' });
    compareMounted(tar, extractWithGnu);
  });

  for (const tar of process.env.IMAGO_TEST_TARS?.split(':') ?? []) {
    it(tar, () => compareMounted(tar, extractWithGnu));
  }
});
