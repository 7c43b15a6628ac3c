import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Digest } from '../../src/core/digest.ts';
import { prune } from '../../src/store/prune.ts';
import { Store } from '../../src/store/store.ts';
import { verify } from '../../src/store/verify.ts';

const root = process.getuid?.() === 0;
let dir: string;
let store: Store;
let digest: Digest;
const descriptor = () => ({ mediaType: 'm', digest, size: 2 });

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'imago-access-'));
  store = Store.open({ root: join(dir, 'root'), run: join(dir, 'run') });
  using lease = store.lease('test');
  digest = store.putBlob(lease, Buffer.from('{}'));
  store.setRef('r/a:1', descriptor());
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('a read-only store', { skip: !root && 'mounting needs root' }, () => {
  let mounted: string;
  beforeEach(() => {
    mounted = join(dir, 'mounted');
    mkdirSync(mounted);
    execFileSync('mount', ['--bind', '-o', 'ro', store.root, mounted]);
  });
  afterEach(() => execFileSync('umount', [mounted]));

  it('can be read and verified, and says so where it is to be changed', async () => {
    const readOnly = Store.open({ root: mounted, run: store.run });
    assert.equal(readOnly.readBlob(readOnly.getRef('r/a:1')!.digest).toString(), '{}');
    assert.equal(readOnly.listRefs().length, 1);
    assert.deepEqual((await verify(readOnly)).damaged, []);
    for (const change of [
      () => readOnly.lease('test'),
      () => readOnly.setRef('r/b:1', descriptor()),
      () => readOnly.deleteRef('r/a:1'),
    ]) {
      assert.throws(change, { code: 'STORE_READ_ONLY', message: /--root/ });
    }
    await assert.rejects(prune(readOnly), { code: 'STORE_READ_ONLY' });
  });
});

describe('a store of somebody else', { skip: !root && 'becoming another user needs root' }, () => {
  it('is refused in words', () => {
    const script = `
      const { Store } = await import(${JSON.stringify(join(import.meta.dirname, '../../src/store/store.ts'))});
      process.setgid(65534);
      process.setuid(65534);
      try {
        Store.open({ root: process.argv[1], run: process.argv[2] }).lease('test');
      } catch (error) { console.log(error.code, error.message); }`;
    const open = (storeRoot: string): string =>
      spawnSync(process.execPath, ['--input-type=module', '-e', script, storeRoot, join(dir, 'nobody')], {
        encoding: 'utf8',
      }).stdout;
    chmodSync(dir, 0o777);
    assert.match(open(store.root), /^STORE_NOT_READABLE .*IMAGO_ROOT/);
    execFileSync('chmod', ['-R', 'a+rX', store.root]);
    assert.match(open(store.root), /^STORE_NOT_WRITABLE .*IMAGO_ROOT/);
    chmodSync(store.root, 0o700);
    assert.match(open(store.root), /^STORE_NOT_READABLE .*IMAGO_ROOT/);
    mkdirSync(join(dir, 'closed'), { mode: 0o755 });
    assert.match(open(join(dir, 'closed/new')), /^STORE_NOT_WRITABLE .*IMAGO_ROOT/);
    chmodSync(store.root, 0o711);
    // RUN was made by us; what another user made is not used.
    rmSync(join(dir, 'nobody'), { recursive: true, force: true });
    mkdirSync(join(dir, 'nobody'));
    assert.match(open(store.root), /^RUN_NOT_OURS/);
  });
});

it('opening a store and reading of it loads nothing heavy', () => {
  const script = `
    const { Store } = await import(${JSON.stringify(join(import.meta.dirname, '../../src/store/store.ts'))});
    const store = Store.open({ root: process.argv[1], run: process.argv[2] });
    store.readBlob(store.getRef('r/a:1').digest);
    store.listRefs();
    { using lease = store.lease('run'); lease.add(${JSON.stringify(digestText())}); }
    console.log(process.moduleLoadList.filter((m) => /^NativeModule (crypto|zlib|http|worker_threads|child_process)$/.test(m)).join());`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script, store.root, store.run], {
    encoding: 'utf8',
  });
  assert.equal(stderr, '');
  assert.equal(stdout.trim(), '');
});

function digestText(): Digest {
  return `sha256:${'a'.repeat(64)}`;
}
