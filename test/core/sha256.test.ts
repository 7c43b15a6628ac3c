import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { it } from 'node:test';
import { sha256 } from '../../src/core/sha256.ts';

it('is what node:crypto gives, around every block edge', () => {
  for (let length = 0; length < 300; length++) {
    const bytes = new Uint8Array(length).map((_, i) => (i * 31 + length) & 0xff);
    assert.equal(sha256(bytes), `sha256:${createHash('sha256').update(bytes).digest('hex')}`, `${length} bytes`);
  }
});
