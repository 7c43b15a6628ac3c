import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { prune } from '../../src/store/prune.ts';
import { Store } from '../../src/store/store.ts';
import { verify } from '../../src/store/verify.ts';

let dir: string;
const layers: string[] = [];

before(() => {
  dir = mkdtempSync(join(tmpdir(), 'imago-concurrency-'));
  for (let i = 0; i < 3; i++) {
    const source = join(dir, `source-${i}`);
    mkdirSync(source);
    for (let f = 0; f < 50; f++) writeFileSync(join(source, `f${f}`), `${i} ${f} `.repeat(500));
    layers.push(join(dir, `layer-${i}.tar`));
    execFileSync('tar', ['--sort=name', '-C', source, '-cf', layers.at(-1)!, '.']);
  }
});
after(() => rmSync(dir, { recursive: true, force: true }));

it('images come and go in three processes while prune and verify run: no reference ever names what is missing', async (t) => {
  const store = Store.open({ root: join(dir, 'root'), run: join(dir, 'run') });
  const children = [1, 2, 3].map((seed) =>
    spawn(process.execPath, [join(import.meta.dirname, 'busy.ts'), store.root, store.run, String(seed), ...layers], {
      stdio: ['ignore', 'ignore', 'inherit'],
    }),
  );
  const ended = Promise.all(children.map((child) => once(child, 'exit')));
  let running = true;
  ended.then(() => {
    running = false;
  });
  t.after(() => children.map((child) => child.kill('SIGKILL')));
  let pruned = 0;
  for (let i = 0; running; i++) {
    pruned += (await prune(store)).blobs.length;
    if (i % 5 === 0) assert.deepEqual((await verify(store)).damaged, []);
  }
  for (const [code] of await ended) assert.equal(code, 0);
  assert.ok(pruned > 10, `prune had work to do: ${pruned}`);
  assert.deepEqual((await verify(store)).damaged, []);
  assert.ok(store.listRefs().length > 0);
  await prune(store);
  assert.deepEqual((await verify(store)).damaged, []);
  for (const name of ['ingest', 'leases']) assert.deepEqual(readdirSync(join(store.root, name)), []);
});
