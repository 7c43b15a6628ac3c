import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { ImagoError } from '../../src/core/errors.ts';
import { packError, unpackError } from '../../src/system/worker-error.ts';
import { WorkerPool } from '../../src/system/worker-pool.ts';

let dir: string;
let pool: WorkerPool;
const source = (name: string) => new URL(`../../src/${name}.ts`, import.meta.url).href;

before(() => {
  dir = mkdtempSync(join(tmpdir(), 'imago-pool-'));
  const entry = join(dir, 'entry.mjs');
  writeFileSync(
    entry,
    `import { threadId } from 'node:worker_threads';
     import { serveJobs } from '${source('system/worker-serve')}';
     import { ImagoError } from '${source('core/errors')}';
     import { unbroken } from '${source('system/unbroken')}';
     import { writeFileSync } from 'node:fs';
     serveJobs(async ({ act, value }, onProgress) => {
       if (act === 'throw') throw new ImagoError('NO_LUCK', 'no luck', { want: 1, got: 2, remedy: 'try again' });
       if (act === 'exit') process.exit(3);
       if (act === 'crash') setTimeout(() => { throw new Error('crashed') });
       if (act === 'hang' || act === 'crash') await new Promise(() => setInterval(() => {}, 1000));
       if (act === 'section') {
         for (let round = 0; ; round++) {
           unbroken(() => {
             writeFileSync(value, 'torn');
             onProgress(round);
             const end = performance.now() + 30;
             while (performance.now() < end);
             writeFileSync(value, 'whole');
           });
         }
       }
       onProgress(1);
       return { value, threadId, at: performance.now() + performance.timeOrigin };
     });`,
  );
  pool = new WorkerPool(pathToFileURL(entry));
});
after(() => rmSync(dir, { recursive: true, force: true }));

type Done = { value: number; threadId: number; at: number };

describe('worker pool', () => {
  it('does jobs on few threads, the heaviest first', async () => {
    const progress: number[] = [];
    const jobs = Array.from({ length: 20 }, (_, value) =>
      pool.run<Done>({ act: 'echo', value }, { weight: value, onProgress: (p) => progress.push(p) }),
    );
    const done = await Promise.all(jobs);
    assert.deepEqual(
      done.map((d) => d.value),
      Array.from({ length: 20 }, (_, i) => i),
    );
    assert.ok(new Set(done.map((d) => d.threadId)).size <= 2);
    // A thread that starts slowly may keep its job until the others are done.
    for (const thread of new Set(done.map((d) => d.threadId))) {
      const order = done.filter((d) => d.threadId === thread).sort((a, b) => a.at - b.at);
      assert.deepEqual(
        order.map((d) => d.value),
        order.map((d) => d.value).sort((a, b) => b - a),
      );
    }
    assert.equal(progress.length, 20);
  });

  it('passes errors on as they are', async () => {
    await assert.rejects(pool.run({ act: 'throw' }), (error) => {
      assert.ok(error instanceof ImagoError);
      assert.equal(error.message, 'no luck: wanted 1, got 2: try again');
      assert.deepEqual([error.code, error.details.remedy], ['NO_LUCK', 'try again']);
      return true;
    });
  });

  it('survives threads that end or crash', async () => {
    await assert.rejects(pool.run({ act: 'exit' }), /ended with 3/);
    await assert.rejects(pool.run({ act: 'crash' }), /crashed/);
    assert.equal((await pool.run<Done>({ act: 'echo', value: 7 })).value, 7);
  });

  it('gives up by a signal', async () => {
    const controller = new AbortController();
    const hanging = pool.run({ act: 'hang' }, { signal: controller.signal });
    setTimeout(() => controller.abort(new Error('enough')), 50);
    await assert.rejects(hanging, /enough/);
    await assert.rejects(pool.run({ act: 'echo' }, { signal: AbortSignal.abort(new Error('before')) }), /before/);
    assert.equal((await pool.run<Done>({ act: 'echo', value: 8 })).value, 8);
  });

  it('runs jobs that wait beside those that compute', async () => {
    const controllers = [1, 2].map(() => new AbortController());
    const hanging = controllers.map(({ signal }) => pool.run({ act: 'hang' }, { waits: true, signal }));
    assert.equal((await pool.run<Done>({ act: 'echo', value: 9 })).value, 9);
    for (const controller of controllers) controller.abort(new Error('over'));
    await Promise.all(hanging.map((job) => assert.rejects(job, /over/)));
  });

  it('ends no thread in the middle of what must not be broken', async () => {
    const file = join(dir, 'section');
    for (let i = 0; i < 5; i++) {
      const controller = new AbortController();
      const onProgress = (): void => void setTimeout(() => controller.abort(new Error('enough')), 5 * i);
      await assert.rejects(
        pool.run({ act: 'section', value: file }, { signal: controller.signal, onProgress }),
        /enough/,
      );
      assert.equal(readFileSync(file, 'utf8'), 'whole');
    }
  });

  it('nor does the end of the process', () => {
    const file = join(dir, 'section');
    const script = `
      import { WorkerPool } from '${source('system/worker-pool')}';
      const pool = new WorkerPool(new URL('${pathToFileURL(join(dir, 'entry.mjs'))}'));
      const onProgress = () => setTimeout(() => process.exit(7), 10);
      pool.run({ act: 'section', value: '${file}' }, { onProgress });`;
    const { status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    assert.equal(status, 7);
    assert.equal(readFileSync(file, 'utf8'), 'whole');
  });

  it('keeps no process alive', () => {
    const script = `
      import { WorkerPool } from '${source('system/worker-pool')}';
      const pool = new WorkerPool(new URL('${pathToFileURL(join(dir, 'entry.mjs'))}'));
      await pool.run({ act: 'echo' });
      console.log(performance.now());
      process.on('exit', () => console.log(performance.now()));`;
    const { stdout, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    assert.equal(status, 0);
    const [done, exit] = stdout.trim().split('\n').map(Number);
    assert.ok(exit! - done! < 500, `it ended ${exit! - done!} ms after its work`);
  });
});

it('system errors keep errno, call and path between threads', () => {
  const error = Object.assign(new Error('ENOSPC: no space left on device, write'), {
    code: 'ENOSPC',
    errno: -28,
    syscall: 'write',
    path: '/x',
  });
  const copy = unpackError(structuredClone(packError(error)));
  assert.deepEqual({ ...copy, message: copy.message }, { ...error, message: error.message });
});
