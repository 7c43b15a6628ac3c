import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatTable } from '../../src/cli/table.ts';

test('columns are at least ten wide and three apart, the last is not padded', () => {
  assert.equal(
    formatTable([
      ['ID', 'NAME', 'SIZE'],
      ['1', 'a name of some length', '5kB'],
      ['22', '', ''],
    ]),
    'ID        NAME                    SIZE\n1         a name of some length   5kB\n22                                \n',
  );
});

test('width is counted in code points', () => {
  assert.equal(formatTable([['äöü€😀', 'b']]), 'äöü€😀     b\n');
});

test('a single column is as it is', () => {
  assert.equal(formatTable([['A'], ['b']]), 'A\nb\n');
});
