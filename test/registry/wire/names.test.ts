import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { isRepositoryName, isTag } from '../../../src/registry/wire/names.ts';

describe('names', () => {
  for (const name of ['a', 'library/debian', 'a.b', 'a_b', 'a__b', 'a---b', 'a/b/c/d', '0', 'x'.repeat(255)]) {
    it(`repository ${name.slice(0, 20)}`, () => assert.ok(isRepositoryName(name)));
  }
  for (const name of [
    '',
    '/',
    'a/',
    '/a',
    'a//b',
    'A',
    'a___b',
    'a..b',
    'a._b',
    '.',
    '..',
    'a\n',
    ' a',
    'x'.repeat(256),
  ]) {
    it(`no repository ${JSON.stringify(name.slice(0, 20))}`, () => assert.ok(!isRepositoryName(name)));
  }
  for (const tag of ['latest', '_', '1', 'A.b-c_d', 'x'.repeat(128)]) {
    it(`tag ${tag.slice(0, 20)}`, () => assert.ok(isTag(tag)));
  }
  for (const tag of ['', '.a', '-a', 'a/b', 'a:b', 'a\n', 'ä', 'x'.repeat(129)]) {
    it(`no tag ${JSON.stringify(tag.slice(0, 20))}`, () => assert.ok(!isTag(tag)));
  }

  it('a long name that almost is one is refused at once', () => {
    const started = performance.now();
    assert.ok(!isRepositoryName(`${'a-'.repeat(100_000)}!`));
    assert.ok(performance.now() - started < 5000);
  });
});
