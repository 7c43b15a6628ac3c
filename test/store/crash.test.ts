import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { ingestLayer } from '../../src/store/ingest-layer.ts';
import { prune } from '../../src/store/prune.ts';
import { Store } from '../../src/store/store.ts';
import { verify } from '../../src/store/verify.ts';

const ROUNDS = Number(process.env.IMAGO_TEST_KILLS ?? 6);

let dir: string;
let layer: string;

before(() => {
  dir = mkdtempSync(join(tmpdir(), 'imago-crash-'));
  // Large enough to be killed in the middle of.
  const program = readFileSync(process.execPath).subarray(0, 24 * 2 ** 20);
  mkdirSync(join(dir, 'files'));
  for (let i = 0; i < 12; i++) writeFileSync(join(dir, `files/${i}`), program.subarray(i * 2 ** 21, (i + 1) * 2 ** 21));
  layer = join(dir, 'layer.tar.gz');
  execFileSync('tar', ['-C', dir, '-I', 'gzip -1', '-cf', layer, 'files']);
});
after(() => rmSync(dir, { recursive: true, force: true }));

async function killAfter(what: string, store: Store, delay: number): Promise<void> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'killed.ts'), store.root, store.run, layer, what], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  await new Promise((resolve) => setTimeout(resolve, delay));
  child.kill('SIGKILL');
  const [code, signal] = await once(child, 'exit');
  assert.deepEqual([code, signal], [null, 'SIGKILL'], 'it did not end by itself');
}

describe('kill -9', () => {
  for (const what of ['ingest', 'prune']) {
    it(`in the middle of ${what}: whatever has a name is whole, and the rest is collected`, async () => {
      const store = Store.open({ root: join(dir, what), run: join(dir, 'run') });
      for (let round = 0; round < ROUNDS; round++) {
        const delay = Math.round(Math.random() * 500);
        await killAfter(what, store, delay);
        const { damaged, regenerated } = await verify(Store.open(store));
        assert.deepEqual([damaged, regenerated], [[], []], `round ${round}, killed after ${delay} ms`);
      }
      await prune(store);
      assert.deepEqual([readdirSync(join(store.root, 'ingest')), readdirSync(join(store.root, 'leases'))], [[], []]);
      using lease = store.lease('after');
      assert.equal((await ingestLayer(store, lease, { path: layer })).facts.files > 10, true);
      assert.deepEqual((await verify(store)).damaged, []);
    });
  }
});
