import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseChallenges } from '../../../src/registry/wire/challenge.ts';

const CASES: [header: string | undefined, ...challenges: [scheme: string, parameters: Record<string, string>][]][] = [
  [undefined],
  [''],
  [', ,,'],
  ['Basic realm="Registry Realm"', ['basic', { realm: 'Registry Realm' }]],
  ['basic', ['basic', {}]],
  [
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
    [
      'bearer',
      { realm: 'https://auth.docker.io/token', service: 'registry.docker.io', scope: 'repository:a/b:pull,push' },
    ],
  ],
  ['Bearer Realm = unquoted , Service="x"', ['bearer', { realm: 'unquoted', service: 'x' }]],
  ['Bearer realm="a \\"b\\" \\\\c"', ['bearer', { realm: 'a "b" \\c' }]],
  ['Basic realm="a", Bearer realm="b",service=c', ['basic', { realm: 'a' }], ['bearer', { realm: 'b', service: 'c' }]],
  ['Negotiate YWJj==, Basic realm="x"', ['negotiate', { '': 'YWJj==' }], ['basic', { realm: 'x' }]],
  ['Bearer realm="first", realm="second"', ['bearer', { realm: 'first' }]],
  ['Basic realm="open', ['basic', {}]],
  ['Bearer realm="a" "b" c', ['bearer', { realm: 'a' }]],
  ['="x"'],
  ['Bearer __proto__="x"', ['bearer', { ['__proto__']: 'x' }]],
];

describe('challenges', () => {
  for (const [header, ...wanted] of CASES) {
    test(JSON.stringify(header) ?? 'no header', () => {
      const got = parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.entries(parameters)]);
      assert.deepEqual(
        got,
        wanted.map(([scheme, parameters]) => [scheme, Object.entries(parameters)]),
      );
    });
  }
  test('hostile headers end at once', () => {
    for (const piece of ['a ', 'a=', 'a="', '"', '\\', ',', 'a b=c,', 'A'.repeat(7)]) {
      const before = performance.now();
      parseChallenges(piece.repeat(1_000_000 / piece.length));
      assert.ok(performance.now() - before < 5000, piece);
    }
  });
});
