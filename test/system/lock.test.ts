import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { lockFile, tryLockFile, tryLockIfThere } from '../../src/system/lock.ts';

let dir: string;
let path: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'imago-lock-'));
  path = join(dir, 'lock');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('locks', () => {
  it('are shared by many or held by one', () => {
    const one = lockFile(path, 'shared');
    const two = tryLockFile(path, 'shared');
    assert.ok(two);
    assert.equal(tryLockFile(path, 'exclusive'), undefined);
    one.release();
    two.release();
    two.release();
    using three = tryLockFile(path, 'exclusive');
    assert.ok(three);
    assert.equal(tryLockIfThere(path, 'shared'), 'held');
    assert.equal(tryLockIfThere(join(dir, 'none'), 'shared'), 'gone');
  });

  it('are for directories too', () => {
    mkdirSync(path);
    using held = tryLockFile(path, 'exclusive');
    assert.ok(held);
    assert.equal(tryLockFile(path, 'exclusive'), undefined);
  });

  it('end with a process that is killed', async () => {
    const script = `
      const { lockFile } = await import(${JSON.stringify(join(import.meta.dirname, '../../src/system/lock.ts'))});
      globalThis.lock = lockFile(${JSON.stringify(path)}, 'exclusive');
      console.log('held');
      setInterval(() => {}, 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    assert.equal(tryLockFile(path, 'shared'), undefined);
    child.kill('SIGKILL');
    await once(child, 'exit');
    using held = tryLockFile(path, 'exclusive');
    assert.ok(held);
  });
});
