import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatLink, parseLink } from '../../../src/registry/wire/link.ts';

const CASES: [string, { url: string; rel: string }[]][] = [
  ['</v2/a/tags/list?n=2&last=b>; rel="next"', [{ url: '/v2/a/tags/list?n=2&last=b', rel: 'next' }]],
  ['</v2/a>;rel=next', [{ url: '/v2/a', rel: 'next' }]],
  [
    '<https://h/x?a=1,2;3> ; title="a, <b>; rel=x" ; REL = "Prev Next"',
    [{ url: 'https://h/x?a=1,2;3', rel: 'prev next' }],
  ],
  [
    '<a>; rel=prev, <b>; rel="next", <c>',
    [
      { url: 'a', rel: 'prev' },
      { url: 'b', rel: 'next' },
      { url: 'c', rel: '' },
    ],
  ],
  ['</v2/a', []],
  ['rel="next"', []],
  ['', []],
  ['<>; rel=next', [{ url: '', rel: 'next' }]],
];

test('Link headers are read', () => {
  for (const [header, links] of CASES) assert.deepEqual(parseLink(header), links, header);
});

test('a Link header is written so that it reads back', () => {
  const link = { url: '/v2/team/app/tags/list?n=1&last=v1', rel: 'next' };
  assert.equal(formatLink(link), '</v2/team/app/tags/list?n=1&last=v1>; rel="next"');
  assert.deepEqual(parseLink(formatLink(link)), [link]);
});

test('odd Link headers take no time', () => {
  const start = performance.now();
  for (const part of ['<', '<a>;', '<a>; rel', ' ', '<a>;  rel =', '<a>; b="', ';']) {
    assert.ok(parseLink(part.repeat(100_000)).length <= 32);
    assert.ok(parseLink(`<a>${part.repeat(100_000)}`).length <= 32);
  }
  assert.ok(performance.now() - start < 15_000);
});
