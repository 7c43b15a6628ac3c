import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { makeDirectories } from '../../src/system/directories.ts';

let dir: string;
before(() => {
  dir = mkdtempSync(join(tmpdir(), 'imago-directories-'));
});
after(() => rmSync(dir, { recursive: true, force: true }));

describe('makeDirectories', () => {
  it('makes parents, with the mode, and is content with what is there', () => {
    for (let i = 0; i < 2; i++) makeDirectories(join(dir, 'a/b/c'), 0o711);
    assert.equal(statSync(join(dir, 'a/b')).mode & 0o777, 0o711);
    makeDirectories('/', 0o711);
  });
  it('ends where a file is in the way', () => {
    writeFileSync(join(dir, 'file'), '');
    assert.throws(() => makeDirectories(join(dir, 'file'), 0o711), { code: 'EEXIST' });
    assert.throws(() => makeDirectories(join(dir, 'file/a/b'), 0o711), { code: 'ENOTDIR' });
  });
  it('ends where directories cannot be made', () => {
    assert.throws(() => makeDirectories('/proc/imago/a', 0o711), { code: /^(?:ENOENT|EACCES|EPERM)$/ });
  });
});
