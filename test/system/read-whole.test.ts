import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { readWholeFile } from '../../src/system/read-whole.ts';

describe('what a user names as a file', () => {
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'imago-read-'));
  });
  after(() => rmSync(directory, { recursive: true }));

  it('a file, up to the limit and no further', async () => {
    const path = join(directory, 'file');
    writeFileSync(path, 'x'.repeat(100_000));
    assert.equal((await readWholeFile(path, { limit: 100_000 }))?.length, 100_000);
    assert.equal(await readWholeFile(path, { limit: 99_999 }), undefined);
    writeFileSync(path, '');
    assert.equal((await readWholeFile(path, { limit: 0 }))?.length, 0);
    // Its size says 0.
    assert.ok((await readWholeFile('/proc/self/mountinfo', { limit: 1 << 20 }))!.length > 0);
  });

  it('a device without an end', async () => {
    assert.equal(await readWholeFile('/dev/zero', { limit: 1 << 20 }), undefined);
    assert.equal((await readWholeFile('/dev/null', { limit: 1 }))?.length, 0);
  });

  it('a pipe, as long as somebody writes; it can be given up', { timeout: 20_000 }, async () => {
    const path = join(directory, 'pipe');
    execFileSync('mkfifo', [path]);
    spawn('sh', ['-c', '(echo one; sleep 0.3; echo two) > "$0"', path], { stdio: 'ignore' });
    assert.equal(String(await readWholeFile(path, { limit: 100 })), 'one\ntwo\n');
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 100);
    await assert.rejects(readWholeFile(path, { limit: 100, signal: abort.signal }), { name: 'AbortError' });
  });

  it('a directory and nothing are errors', async () => {
    await assert.rejects(readWholeFile(directory, { limit: 1 }), { code: 'EISDIR' });
    await assert.rejects(readWholeFile(join(directory, 'none'), { limit: 1 }), { code: 'ENOENT' });
  });
});
