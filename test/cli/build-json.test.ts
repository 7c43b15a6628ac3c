import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BuildError } from '../../src/build/errors.ts';
import { BuildProgress } from '../../src/build/events.ts';
import { JsonPrinter } from '../../src/cli/build-output-json.ts';
import { isDigest } from '../../src/core/digest.ts';
import { ImagoError } from '../../src/core/errors.ts';

interface Vertex {
  digest: string;
  inputs?: string[];
  name: string;
  [key: string]: unknown;
}
interface Line {
  vertexes?: Vertex[];
  statuses?: Record<string, unknown>[];
  logs?: Record<string, unknown>[];
  warnings?: Record<string, unknown>[];
}

/** The fields of docker 26.1 with buildx 0.13's `--progress=rawjson`, for the same steps. */
const FIELDS = {
  started: ['digest', 'inputs', 'name', 'started'],
  completed: ['completed', 'digest', 'inputs', 'name', 'started'],
  cached: ['cached', 'completed', 'digest', 'inputs', 'name', 'started'],
  failed: ['completed', 'digest', 'error', 'inputs', 'name', 'started'],
  log: ['data', 'stream', 'timestamp', 'vertex'],
  part: ['current', 'id', 'started', 'timestamp', 'vertex'],
};

async function record(work: (progress: BuildProgress) => Promise<void>): Promise<Line[]> {
  let text = '';
  const printer = new JsonPrinter({ write: (chunk) => (text += chunk) });
  await work(new BuildProgress((event) => printer.print(event)));
  printer.close();
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
}

describe('JsonPrinter', () => {
  it("prints BuildKit's SolveStatus, one a line", async () => {
    const lines = await record(async (progress) => {
      progress.plan(3);
      let base = 0;
      await progress.step('[1/3] FROM base', async ({ number }) => {
        base = number;
        return { value: undefined };
      });
      let run = 0;
      await progress.step(
        '[2/3] RUN x',
        async (step) => {
          run = step.number;
          step.output('stdout', Buffer.from('öut\n'));
          step.output('stderr', Buffer.from([0xff, 0x00]));
          step.status('sha256:ab', { current: 5, total: 10 });
          step.status('sha256:ab', { current: 10, total: 10, finished: true });
          step.note('naming to x');
          return { value: undefined };
        },
        { inputs: [base, undefined, base] },
      );
      await progress.step('[3/3] COPY a /', async () => ({ cached: true, value: undefined }), { inputs: [run] });
      progress.warn('careful', 4);
    });
    const vertexes = lines.flatMap((line) => line.vertexes ?? []);
    const [base, , run, runEnd, copy, copyEnd, definition] = vertexes as [
      Vertex,
      Vertex,
      Vertex,
      Vertex,
      Vertex,
      Vertex,
      Vertex,
    ];
    for (const { digest, started } of vertexes) {
      assert.ok(isDigest(digest), digest);
      assert.match(String(started), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    }
    assert.deepEqual(run.inputs, [base.digest]);
    assert.deepEqual(copy.inputs, [run.digest]);
    assert.deepEqual(Object.keys(run).sort(), FIELDS.started);
    assert.deepEqual(Object.keys(runEnd).sort(), FIELDS.completed);
    assert.deepEqual(Object.keys(copyEnd).sort(), FIELDS.cached);
    assert.equal(new Set(vertexes.map(({ digest }) => digest)).size, 4);

    const logs = lines.flatMap((line) => line.logs ?? []);
    assert.deepEqual(Object.keys(logs[0]!).sort(), FIELDS.log);
    assert.deepEqual(
      logs.map(({ vertex, stream, data }) => [vertex, stream, Buffer.from(String(data), 'base64').toString('latin1')]),
      [
        [run.digest, 1, Buffer.from('öut\n').toString('latin1')],
        [run.digest, 2, '\xff\0'],
      ],
    );
    const parts = lines.flatMap((line) => line.statuses ?? []);
    assert.deepEqual(Object.keys(parts[0]!).sort(), [...FIELDS.part, 'total'].sort());
    assert.deepEqual(
      parts.map(({ id, current, total, completed }) => [id, current, total, completed !== undefined]),
      [
        ['sha256:ab', 5, 10, false],
        ['sha256:ab', 10, 10, true],
        ['naming to x', 0, undefined, true],
      ],
    );
    assert.equal(parts[0]!.started, parts[1]!.started);
    const [warning] = lines.flatMap((line) => line.warnings ?? []);
    assert.equal(Buffer.from(String(warning!.short), 'base64').toString(), 'careful');
    assert.equal(warning!.vertex, definition.digest);
    assert.deepEqual(warning!.range, [{ start: { line: 4 }, end: { line: 4 } }]);
  });

  it('tells which step failed and which were only stopped', async () => {
    const failure = new BuildError('RUN_FAILED', 'exit code: 3', { line: 1, endLine: 1 }, '[2/2] RUN x');
    const lines = await record(async (progress) => {
      const fail = (error: Error): Promise<unknown> =>
        progress.step('x', () => Promise.reject(error), { inputs: [1] }).catch(() => {});
      await progress.step('base', async () => ({ value: undefined }));
      await fail(failure);
      await fail(failure);
      await fail(new ImagoError('ABORTED', 'the step was stopped', { cause: failure }));
      await fail(new ImagoError('OTHER', 'wrapped', { cause: failure }));
      await fail(new Error('another'));
    });
    const ended = lines.flatMap((line) => line.vertexes ?? []).filter(({ error }) => error !== undefined);
    assert.deepEqual(Object.keys(ended[0]!).sort(), FIELDS.failed);
    assert.deepEqual(
      ended.map(({ error }) => error),
      ['exit code: 3', 'context canceled', 'context canceled', 'context canceled', 'another'],
    );
  });
});
