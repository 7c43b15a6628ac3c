import assert from 'node:assert/strict';
import test from 'node:test';
import { ImagoError } from '../../src/core/errors.ts';
import { resolveUser } from '../../src/runtime/user.ts';

const DATABASE = {
  passwd: [
    'root:x:0:0:root:/root:/bin/sh',
    '# a comment',
    'ann:x:1000:1001:Ann:/home/ann:/bin/sh',
    'bob:x:1002:1002::',
    '1003:x:5:6:a name of digits:/five:/bin/sh',
    'broken',
  ].join('\n'),
  group: 'root:x:0:\nann:x:1001:\nwheel:x:10:ann,root\nvideo:x:44:ann\nnumbers:x:bad:ann\n',
};

const CASES: [text: string, uid: number, gid: number, additional: number[], home: string][] = [
  ['', 0, 0, [10], '/root'],
  ['root', 0, 0, [10], '/root'],
  ['0', 0, 0, [10], '/root'],
  ['ann', 1000, 1001, [10, 44], '/home/ann'],
  ['1000', 1000, 1001, [10, 44], '/home/ann'],
  ['ann:video', 1000, 44, [], '/home/ann'],
  ['ann:7', 1000, 7, [], '/home/ann'],
  ['4711', 4711, 0, [], '/'],
  ['4711:4712', 4711, 4712, [], '/'],
  [':video', 0, 44, [], '/root'],
  ['bob', 1002, 1002, [], '/'],
  ['1003', 5, 6, [], '/five'],
];

for (const [text, uid, gid, additionalGids, home] of CASES) {
  test(`user '${text}' is ${uid}:${gid}`, () => {
    assert.deepEqual(resolveUser(text, DATABASE), { uid, gid, additionalGids, home });
  });
}

test('without /etc/passwd and /etc/group numbers work and names do not', () => {
  const none = { passwd: undefined, group: undefined };
  assert.deepEqual(resolveUser('12:34', none), { uid: 12, gid: 34, additionalGids: [], home: '/' });
  assert.deepEqual(resolveUser('', none), { uid: 0, gid: 0, additionalGids: [], home: '/' });
  assert.throws(() => resolveUser('root', none), codeAndStatus('UNKNOWN_USER', 125));
});

for (const [text, code] of [
  ['nobody-here', 'UNKNOWN_USER'],
  ['ann:nogroup', 'UNKNOWN_GROUP'],
  ['2147483648', 'UNKNOWN_USER'],
  ['-1', 'UNKNOWN_USER'],
] as const) {
  test(`user '${text}' is refused: ${code}`, () => {
    assert.throws(() => resolveUser(text, DATABASE), codeAndStatus(code, 125));
  });
}

function codeAndStatus(code: string, status: number): (error: unknown) => boolean {
  return (error) => error instanceof ImagoError && error.code === code && error.details.exitCode === status;
}
