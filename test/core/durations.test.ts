import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatAge, formatDuration, formatTimestamp } from '../../src/core/durations.ts';

const S = 1000;
const H = 3600 * S;
const D = 24 * H;

/** As go-units v0.5.0 duration_test.go. */
const CASES: [milliseconds: number, text: string][] = [
  [450, 'Less than a second'],
  [1 * S, '1 second'],
  [47 * S, '47 seconds'],
  [60 * S, 'About a minute'],
  [119 * S, 'About a minute'],
  [35 * 60 * S, '35 minutes'],
  [1 * H, 'About an hour'],
  [89 * 60 * S, 'About an hour'],
  [90 * 60 * S, '2 hours'],
  [3 * H + 59 * 60 * S + 59 * S, '4 hours'],
  [35 * H, '35 hours'],
  [2 * D, '2 days'],
  [13 * D, '13 days'],
  [3 * 7 * D, '3 weeks'],
  [6 * 7 * D, '6 weeks'],
  [9 * 7 * D, '2 months'],
  [24 * 30 * D, '24 months'],
  [5 * 365 * D, '5 years'],
];

describe('formatDuration', () => {
  for (const [milliseconds, text] of CASES) it(text, () => assert.equal(formatDuration(milliseconds), text));
});

it('formatAge', () => {
  const now = Date.parse('2026-01-01T02:00:00Z');
  assert.equal(formatAge('2026-01-01T00:00:00.123456789Z', now), '2 hours ago');
  for (const none of [undefined, '', 'yesterday', '0001-01-01T00:00:00Z']) assert.equal(formatAge(none, now), 'N/A');
});

it('formatTimestamp', () => {
  assert.equal(formatTimestamp('2026-01-02T03:04:05.678+01:00'), '2026-01-02 02:04:05 +0000 UTC');
  assert.equal(formatTimestamp(undefined), 'N/A');
});
