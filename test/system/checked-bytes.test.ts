import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import type { Digest } from '../../src/core/digest.ts';
import { checkBytes } from '../../src/system/checked-bytes.ts';

const BYTES = Buffer.from('0123456789'.repeat(10));
const EXPECT = { digest: digestOf(BYTES), size: BYTES.length };

function digestOf(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

/** Pieces of seven bytes. */
function from(bytes: Buffer): (offset: number) => AsyncGenerator<Buffer> {
  return async function* (offset) {
    for (let at = offset; at < bytes.length; at += 7) yield bytes.subarray(at, at + 7);
  };
}

async function take(source: AsyncIterable<Uint8Array>, most = Number.POSITIVE_INFINITY): Promise<Buffer> {
  let out = Buffer.alloc(0);
  for await (const part of source) {
    out = Buffer.concat([out, part]);
    if (out.length >= most) break;
  }
  return out;
}

describe('checked bytes', () => {
  it('pass where they are right', async () => {
    assert.ok((await take(checkBytes(EXPECT, from(BYTES), 'x')(0))).equals(BYTES));
    assert.equal(
      (await take(checkBytes({ digest: digestOf(Buffer.alloc(0)), size: 0 }, from(Buffer.alloc(0)), 'x')(0))).length,
      0,
    );
  });

  it('go on from wherever the transfer is, also where it never was', async () => {
    for (const [stop, again] of [
      [50, 56],
      [50, 20],
      [50, 0],
      [100, 100],
      [100, 99],
      [0, 60],
    ] as const) {
      const open = checkBytes(EXPECT, from(BYTES), 'x');
      if (stop > 0) await take(open(0), stop);
      assert.ok((await take(open(again))).equals(BYTES.subarray(again)), `${stop} ${again}`);
    }
  });

  it('never let all of wrong ones through', async () => {
    const wrong = Buffer.from(BYTES);
    wrong[3] = 0;
    const cases: [Buffer, string][] = [
      [wrong, 'DIGEST_MISMATCH'],
      [BYTES.subarray(1), 'SIZE_MISMATCH'],
      [Buffer.concat([BYTES, BYTES]), 'SIZE_MISMATCH'],
      [Buffer.alloc(0), 'SIZE_MISMATCH'],
    ];
    for (const [bytes, code] of cases) {
      const open = checkBytes(EXPECT, from(bytes), 'x');
      let got = 0;
      await assert.rejects(
        async () => {
          for await (const part of open(0)) got += part.length;
        },
        { code },
      );
      assert.ok(got < EXPECT.size);
      // Nor at another try.
      await assert.rejects(() => take(open(Math.min(50, bytes.length))), { code });
    }
  });
});
