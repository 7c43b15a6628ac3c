import assert from 'node:assert/strict';
import test from 'node:test';
import { parseLogLine } from '../../src/container/logs.ts';

const CASES: [line: string, stream: string | undefined, content: string][] = [
  ['2026-11-21T23:28:51.377047773+00:00 stdout F out\n', 'stdout', 'out\n'],
  ['2026-11-21T23:28:51.377047773+00:00 stderr F  two  blanks \n', 'stderr', ' two  blanks \n'],
  ['2026-11-21T23:28:51.377047773+00:00 stdout F \n', 'stdout', '\n'],
  ['2026-11-21T23:28:51.377047773+00:00 stdout P part\n', 'stdout', 'part'],
  ['2026-11-21T23:28:51.377047773+00:00 stdin F x\n', undefined, ''],
  ['torn\n', undefined, ''],
];
for (const [line, stream, content] of CASES) {
  test(`log line ${JSON.stringify(line.slice(36))}`, () => {
    const entry = parseLogLine(Buffer.from(line));
    assert.equal(entry?.stream, stream);
    assert.equal(Buffer.from(entry?.bytes ?? []).toString(), content);
    if (entry !== undefined) assert.equal(new Date(entry.at).toISOString(), '2026-11-21T23:28:51.377Z');
  });
}
