import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLimit, runTogether } from '../../src/core/limit.ts';

it('a limit lets so many in, in their order, and one that fails lets the next in', async () => {
  const limit = createLimit(2);
  let inside = 0;
  let most = 0;
  const seen: number[] = [];
  await Promise.all(
    Array.from({ length: 10 }, (_, i) =>
      limit(async () => {
        seen.push(i);
        most = Math.max(most, ++inside);
        await sleep(2);
        inside--;
        if (i === 3) throw new Error('one fails');
      }).catch(() => {}),
    ),
  );
  assert.equal(most, 2);
  assert.deepEqual(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

describe('work together', () => {
  const items = [0, 1, 2, 3, 4, 5];

  it('gives its results in order, with no more at once than may be', async () => {
    let inside = 0;
    let most = 0;
    const work = async (item: number): Promise<number> => {
      most = Math.max(most, ++inside);
      await sleep(6 - item);
      inside--;
      return item * 2;
    };
    assert.deepEqual(await runTogether(items, work), [0, 2, 4, 6, 8, 10]);
    assert.equal(most, 6);
    most = 0;
    assert.deepEqual(await runTogether(items, work, { atOnce: 2 }), [0, 2, 4, 6, 8, 10]);
    assert.equal(most, 2);
  });

  it('ends with the first failure, once those at work are done; those that wait never begin', async () => {
    const log: string[] = [];
    const work = async (item: number, signal: AbortSignal): Promise<void> => {
      log.push(`begin ${item}`);
      if (item === 1) throw new Error('the first');
      await sleep(10);
      log.push(`end ${item} ${signal.aborted}`);
      throw new Error('the second');
    };
    await assert.rejects(runTogether(items, work, { atOnce: 2 }), /the first/);
    assert.deepEqual(log, ['begin 0', 'begin 1', 'end 0 true']);
  });

  it('begins nothing where the signal says so, and tells its reason', async () => {
    const reason = new Error('enough');
    const work = (): Promise<never> => assert.fail('begun');
    await assert.rejects(runTogether(items, work, { signal: AbortSignal.abort(reason) }), reason);
  });
});
