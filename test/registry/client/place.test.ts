import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ImagoError } from '../../../src/core/errors.ts';
import { reasonOf } from '../../../src/registry/client/place.ts';

test('the reason for another try says what happened, not what the user could do', () => {
  const error = new ImagoError('X', 'a.example broke the connection', { path: 'PUT /v2/', remedy: 'try again' });
  assert.equal(reasonOf(error), 'a.example broke the connection (PUT /v2/)');
  assert.equal(reasonOf(new ImagoError('X', 'no remedy', { got: 5 })), 'no remedy: got 5');
  assert.equal(reasonOf(new Error('first line\nsecond')), 'first line');
  assert.equal(reasonOf('words'), 'words');
});
