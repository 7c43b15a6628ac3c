import assert from 'node:assert/strict';
import test from 'node:test';
import { DEFAULT_DETACH_KEYS, DetachScanner, parseDetachKeys } from '../../src/runtime/detach-keys.ts';

const CTRL_P = '\x10';
const CTRL_Q = '\x11';

/** Pieces as they are typed → what goes on, and whether the user left. */
const CASES: [pieces: string[], pass: string, detached: boolean][] = [
  [['hello'], 'hello', false],
  [[`a${CTRL_P}${CTRL_Q}b`], 'a', true],
  [[CTRL_P, CTRL_Q], '', true],
  [[CTRL_P, 'x'], `${CTRL_P}x`, false],
  [[`${CTRL_P}${CTRL_P}${CTRL_Q}`], CTRL_P, true],
  [[CTRL_Q], CTRL_Q, false],
  [[CTRL_P], '', false],
];
for (const [pieces, pass, detached] of CASES) {
  test(`detach keys in ${JSON.stringify(pieces)}`, () => {
    const scanner = new DetachScanner(parseDetachKeys(DEFAULT_DETACH_KEYS));
    const results = pieces.map((piece) => scanner.push(Buffer.from(piece)));
    assert.equal(results.map(({ pass: bytes }) => Buffer.from(bytes).toString()).join(''), pass);
    assert.equal(results.at(-1)!.detached, detached);
  });
}

test("keys in Docker's notation", () => {
  assert.deepEqual([...parseDetachKeys('ctrl-a,x,ctrl-]')], [1, 120, 29]);
  assert.throws(() => parseDetachKeys('ctrl-1'), { code: 'BAD_DETACH_KEYS' });
  assert.throws(() => parseDetachKeys(''), { code: 'BAD_DETACH_KEYS' });
});
