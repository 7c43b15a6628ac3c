import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { replaceFile, uniqueName } from '../../src/system/atomic.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'imago-atomic-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('replaceFile', () => {
  it('makes and replaces, with the mode', () => {
    const path = join(dir, 'file');
    replaceFile(path, 'one');
    replaceFile(path, Buffer.from('two'), { mode: 0o600 });
    assert.equal(readFileSync(path, 'utf8'), 'two');
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(dir), ['file']);
  });

  it('leaves what was there, and nothing else, where it fails', () => {
    const path = join(dir, 'file');
    writeFileSync(path, 'old');
    assert.throws(() => replaceFile(path, 'new', { temporary: join(dir, 'no/such') }), { code: 'ENOENT' });
    assert.equal(readFileSync(path, 'utf8'), 'old');
    mkdirSync(join(dir, 'directory/child'), { recursive: true });
    assert.throws(() => replaceFile(join(dir, 'directory'), 'new'), { code: 'EISDIR' });
    assert.deepEqual(readdirSync(dir).toSorted(), ['directory', 'file']);
  });

  it('takes the longest name that a file may have', () => {
    replaceFile(join(dir, 'n'.repeat(255)), 'x');
    assert.deepEqual(readdirSync(dir), ['n'.repeat(255)]);
  });
});

it('unique names differ', () => {
  assert.equal(new Set(Array.from({ length: 1000 }, uniqueName)).size, 1000);
});
