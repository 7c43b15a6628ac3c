import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import type { BuildEvent } from '../../src/build/events.ts';
import { createBuildPrinter, readProgressKind } from '../../src/cli/build-output.ts';
import { PlainPrinter } from '../../src/cli/build-output-plain.ts';
import { LineSplitter } from '../../src/cli/build-output-text.ts';

class Output {
  text = '';

  write(text: string): void {
    this.text += text;
  }

  /** With times masked. */
  get masked(): string[] {
    return this.text.replace(/^(#\d+) \d+\.\d+ /gm, '$1 T ').split('\n');
  }
}

const start = (step: number, name: string): BuildEvent => ({ type: 'start', step, name });
const out = (step: number, text: string, stream: 'stdout' | 'stderr' = 'stdout'): BuildEvent => ({
  type: 'output',
  step,
  stream,
  data: Buffer.from(text),
});
const done = (step: number, cached = false): BuildEvent => ({ type: 'done', step, cached, seconds: 0.04 });

function print(events: readonly BuildEvent[]): string[] {
  const output = new Output();
  const printer = new PlainPrinter(output);
  for (const event of events) printer.print(event);
  printer.close();
  return output.masked;
}

describe('PlainPrinter', () => {
  it("prints steps as BuildKit's plain progress does", () => {
    assert.deepEqual(
      print([
        { type: 'plan', steps: 2 },
        start(1, '[1/2] FROM base'),
        done(1),
        start(2, '[2/2] RUN a  &&\n b'),
        out(2, 'one\ntw'),
        out(2, 'err\n', 'stderr'),
        out(2, 'o\n10%\r50%\r100%\r\n\x1b[31mred\x1b[0m \x1b[2Jx\nrest'),
        done(2, true),
        start(3, 'exporting to image'),
        { type: 'note', step: 3, text: 'naming to x' },
        { type: 'error', step: 3, message: 'no\x1b room', canceled: false },
        start(4, '[4/4] RUN y'),
        { type: 'error', step: 4, message: 'stopped', canceled: true },
        { type: 'warning', text: 'careful', line: 4 },
      ]),
      [
        '#1 [1/2] FROM base',
        '#1 DONE 0.0s',
        '',
        '#2 [2/2] RUN a && b',
        '#2 T one',
        '#2 T err',
        '#2 T two',
        '#2 T 100%',
        '#2 T \x1b[31mred\x1b[0m \\x1b[2Jx',
        '#2 T rest',
        '#2 CACHED',
        '',
        '#3 exporting to image',
        '#3 naming to x done',
        '#3 ERROR: no\\x1b room',
        '',
        '#4 [4/4] RUN y',
        '#4 CANCELED',
        'WARN: careful (line 4)',
        '',
      ],
    );
  });

  it('keeps the lines of steps that run side by side together', () => {
    assert.deepEqual(
      print([
        start(1, 'a'),
        start(2, 'b'),
        out(1, 'a1\n'),
        out(2, 'b1\n'),
        out(1, 'a2\n'),
        start(3, 'c'),
        out(2, 'b2\nb3'),
        done(2),
        out(1, 'a3\n'),
        done(1),
        done(3, true),
      ]),
      [
        '#1 a',
        '#1 T a1',
        '#1 T a2',
        '#1 ...',
        '',
        '#2 b',
        '#2 T b1',
        '#2 T b2',
        '#2 T b3',
        '#2 DONE 0.0s',
        '',
        '#3 c',
        '#3 ...',
        '',
        '#1 a',
        '#1 T a3',
        '#1 DONE 0.0s',
        '',
        '#3 c',
        '#3 CACHED',
        '',
      ],
    );
  });

  it('gives the floor to a step that waits when the other one is quiet, or has had it for long', () => {
    let now = 0;
    mock.timers.enable({ apis: ['setTimeout'] });
    const clock = mock.method(performance, 'now', () => now);
    const pass = (ms: number): void => {
      now += ms;
      mock.timers.tick(ms);
    };
    try {
      const output = new Output();
      const printer = new PlainPrinter(output);
      for (const event of [start(1, 'a'), start(2, 'b'), out(1, 'a1\n'), out(2, 'b1\n')]) printer.print(event);
      pass(1000);
      assert.deepEqual(output.masked.slice(-4), ['', '#2 b', '#2 T b1', '']);
      // b talks on: a has to wait five seconds.
      printer.print(out(1, 'a2\n'));
      for (let i = 0; i < 4; i++) {
        pass(900);
        printer.print(out(2, 'more\n'));
        assert.equal(output.text.includes('a2'), false);
      }
      pass(900);
      printer.print(out(2, 'more\n'));
      pass(900);
      assert.deepEqual(output.masked.slice(-5), ['#2 ...', '', '#1 a', '#1 T a2', '']);
      printer.close();
    } finally {
      clock.mock.restore();
      mock.timers.reset();
    }
  });

  it('lets no step that waits fill the memory', () => {
    const lines = print([start(1, 'a'), start(2, 'b'), out(2, `${'x'.repeat(60_000)}\n`.repeat(2)), out(1, 'a1\n')]);
    assert.equal(lines.filter((line) => line.includes('xxx')).length, 2);
    assert.equal(lines.indexOf('#2 b') > 0 && lines.indexOf('#2 b') < lines.indexOf('#1 T a1'), true);
  });

  it('tells how far a part is when it has got on, and at its end', () => {
    const part = (current: number, finished = false): BuildEvent => ({
      type: 'status',
      step: 1,
      id: 'sha256:ab',
      current,
      total: 1000,
      finished,
    });
    const lines = print([start(1, 'pull'), part(0), part(10), part(20), part(500), part(1000, true), done(1)]);
    assert.deepEqual(
      lines.map((line) => line.replace(/ \d\.\ds done/, ' done')),
      [
        '#1 pull',
        '#1 sha256:ab 0B / 1kB',
        '#1 sha256:ab 500B / 1kB',
        '#1 sha256:ab 1kB / 1kB done',
        '#1 DONE 0.0s',
        '',
      ],
    );
  });

  it('holds back what comes while somebody else has the output', () => {
    const output = new Output();
    const printer = new PlainPrinter(output);
    printer.print(start(1, 'a'));
    printer.pause();
    printer.print(out(1, 'hidden\n'));
    assert.deepEqual(output.masked, ['#1 a', '']);
    printer.resume();
    assert.deepEqual(output.masked, ['#1 a', '#1 T hidden', '']);
  });
});

describe('LineSplitter', () => {
  it('cuts no character, and holds back only so much of a line without an end', () => {
    const lines = new LineSplitter();
    const bytes = Buffer.from('größer\n日本');
    const got: string[] = [];
    for (const byte of bytes) got.push(...lines.push('stdout', Buffer.of(byte)));
    assert.deepEqual(got, ['größer']);
    assert.deepEqual(lines.peek(), ['日本']);
    assert.deepEqual(lines.end(), ['日本']);
    assert.deepEqual(lines.end(), []);
    let held = 0;
    for (let i = 0; i < 40; i++) held += lines.push('stdout', Buffer.alloc(10_000, 'x')).join('').length;
    assert.ok(held > 300_000, String(held));
  });
});

describe('kinds of progress', () => {
  it('come from the flag, or else from BUILDKIT_PROGRESS', () => {
    assert.equal(readProgressKind(undefined, {}), 'auto');
    assert.equal(readProgressKind(undefined, { BUILDKIT_PROGRESS: 'plain' }), 'plain');
    assert.equal(readProgressKind('rawjson', { BUILDKIT_PROGRESS: 'plain' }), 'rawjson');
    assert.throws(() => readProgressKind('fancy', {}), { code: 'BAD_FLAG_VALUE', message: /--progress/ });
    assert.throws(() => readProgressKind(undefined, { BUILDKIT_PROGRESS: 'x' }), { message: /BUILDKIT_PROGRESS/ });
  });

  it('are plain without a terminal, and on one that cannot move the cursor', () => {
    const terminal = Object.assign(new Output(), { isTTY: true });
    assert.ok(createBuildPrinter('auto', new Output(), { TERM: 'xterm' }) instanceof PlainPrinter);
    assert.ok(createBuildPrinter('auto', terminal, { TERM: 'dumb' }) instanceof PlainPrinter);
    assert.ok(createBuildPrinter('plain', terminal, { TERM: 'xterm' }) instanceof PlainPrinter);
    assert.ok(!(createBuildPrinter('auto', terminal, { TERM: 'xterm' }) instanceof PlainPrinter));
    assert.throws(() => createBuildPrinter('tty', new Output(), {}), { code: 'NO_TERMINAL' });
  });
});
