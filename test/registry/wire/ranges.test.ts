import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  formatContentRange,
  formatUploadRange,
  parseByteRange,
  parseContentRange,
  parseUploadRange,
} from '../../../src/registry/wire/ranges.ts';

describe('ranges of uploads', () => {
  const good: [header: string, start: number, end: number][] = [
    ['0-0', 0, 1],
    ['0-1023', 0, 1024],
    [' 5-9 ', 5, 10],
    ['bytes 5-9/*', 5, 10],
    ['bytes=5-9', 5, 10],
    ['bytes 5-9/100', 5, 10],
  ];
  for (const [header, start, end] of good) {
    it(header, () => assert.deepEqual(parseUploadRange(header), { start, end }));
  }
  for (const header of [
    '',
    '-',
    '5-',
    '-5',
    '5-4',
    'a-b',
    '1-2-3',
    '0-1,2-3',
    `0-${'9'.repeat(16)}`,
    '0x0-1',
    '1.0-2',
  ]) {
    it(`not ${JSON.stringify(header)}`, () => assert.equal(parseUploadRange(header), undefined));
  }

  it('are written inclusive', () => {
    assert.equal(formatUploadRange(0), '0-0');
    assert.equal(formatUploadRange(1), '0-0');
    assert.equal(formatUploadRange(1024), '0-1023');
  });
});

describe('ranges of bytes', () => {
  it('of a blob of 100', () => {
    assert.deepEqual(parseByteRange('bytes=10-19', 100), { start: 10, end: 20 });
    assert.deepEqual(parseByteRange('BYTES=90-', 100), { start: 90, end: 100 });
    assert.deepEqual(parseByteRange('bytes=-5', 100), { start: 95, end: 100 });
    assert.equal(parseByteRange('bytes=100-', 100), 'unsatisfiable');
    assert.equal(parseByteRange(undefined, 100), 'whole');
    assert.equal(parseByteRange('bytes=0-1, 3-4', 100), 'whole');
  });

  it('come back as they were written', () => {
    const span = { start: 10, end: 20 };
    assert.deepEqual(parseContentRange(formatContentRange(span, 100)), { ...span, size: 100 });
    assert.deepEqual(parseContentRange('bytes 10-19/*'), { ...span, size: undefined });
  });

  for (const header of ['', 'bytes */100', 'bytes 5-4/100', 'bytes 0-100/100', '0-9/10', 'bytes 0-9']) {
    it(`not ${JSON.stringify(header)}`, () => assert.equal(parseContentRange(header), undefined));
  }
});
