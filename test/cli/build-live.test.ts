import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it, type Mock, mock } from 'node:test';
import type { BuildEvent } from '../../src/build/events.ts';
import { displayWidth, takeWidth } from '../../src/cli/display-width.ts';
import { LiveBuild } from '../../src/cli/live-build.ts';

/** A terminal as far as the live view needs one: lines, the cursor up, to the left, to the line's and screen's end. */
class Screen {
  readonly isTTY = true;
  columns: number;
  rows: number;
  frames = 0;
  raw = '';
  lines: string[] = [''];
  cursor = true;
  #row = 0;
  #resized: (() => void)[] = [];

  constructor(columns: number, rows: number) {
    this.columns = columns;
    this.rows = rows;
  }

  on(_event: 'resize', listener: () => void): void {
    this.#resized.push(listener);
  }

  off(_event: 'resize', listener: () => void): void {
    this.#resized = this.#resized.filter((one) => one !== listener);
  }

  get listeners(): number {
    return this.#resized.length;
  }

  /** A terminal that becomes narrower wraps what is on it. */
  resize(columns: number, rows: number): void {
    this.lines = this.lines.flatMap((line) => line.match(new RegExp(`.{1,${columns}}`, 'gu')) ?? ['']);
    this.#row = this.lines.length - 1;
    Object.assign(this, { columns, rows });
    for (const listener of this.#resized) listener();
  }

  write(text: string): void {
    this.frames++;
    this.raw += text;
    for (const [token, , number, final] of text.matchAll(/\x1b\[(\??)(\d*)([A-Za-z])|\r|\n|[^\x1b\r\n]+/g)) {
      if (token === '\n') {
        this.#row++;
        this.lines[this.#row] ??= '';
      } else if (token === '\r') continue;
      else if (final === 'A') this.#row = Math.max(this.lines.length - this.rows, 0, this.#row - Number(number));
      else if (final === 'J') this.lines.length = this.#row + 1;
      else if (final === 'K') continue;
      else if (final === 'h' || final === 'l') {
        if (number === '25') this.cursor = final === 'h';
      } else if (final === undefined) this.lines[this.#row] = token;
    }
    if (text.endsWith('\x1b[J\x1b[?7h\x1b[?25h')) this.lines[this.#row] = '';
  }
}

const start = (step: number, name: string, planned = true): BuildEvent => ({ type: 'start', step, name, planned });
const out = (step: number, text: string): BuildEvent => ({
  type: 'output',
  step,
  stream: 'stdout',
  data: Buffer.from(text),
});
const done = (step: number, cached = false): BuildEvent => ({ type: 'done', step, cached, seconds: 0 });

describe('LiveBuild', () => {
  let now = 0;
  let clock: Mock<() => number>;
  const saved = process.env.NO_COLOR;
  beforeEach(() => {
    process.env.NO_COLOR = '1';
    now = 1000;
    mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
    clock = mock.method(performance, 'now', () => now);
  });
  afterEach(() => {
    if (saved === undefined) delete process.env.NO_COLOR;
    else process.env.NO_COLOR = saved;
    clock.mock.restore();
    mock.timers.reset();
  });
  const pass = (ms: number): void => {
    for (let left = ms; left > 0; left -= 50) {
      now += Math.min(50, left);
      mock.timers.tick(Math.min(50, left));
    }
  };

  it('shows steps, the end of what they say, and how many are done', () => {
    const screen = new Screen(50, 20);
    const live = new LiveBuild(screen);
    live.print({ type: 'plan', steps: 4 });
    for (const event of [start(1, '[1/4] FROM base'), done(1), start(2, '[2/4] COPY a  /'), done(2, true)])
      live.print(event);
    live.print(start(3, `[3/4] RUN ${'long '.repeat(20)}`));
    live.print(out(3, 'one\ntwo\n10%\r90%'));
    pass(1200);
    assert.deepEqual(screen.lines, [
      '[+] Building 1.2s (2/4)',
      ' => [1/4] FROM base                          0.0s',
      ' => CACHED [2/4] COPY a /                    0.0s',
      ' => [3/4] RUN long long long long long long  1.2s',
      ' => => # one',
      ' => => # two',
      ' => => # 90%',
      '',
    ]);
    live.print({ type: 'error', step: 3, message: 'no', canceled: false });
    live.print(start(4, 'exporting', false));
    live.print({ type: 'status', step: 4, id: 'sha256:ab', current: 500_000, total: 2_000_000, finished: false });
    live.print({ type: 'error', step: 4, message: 'no', canceled: true });
    live.close();
    assert.deepEqual(screen.lines, [
      '[+] Building 1.2s (4/5)',
      ' => [1/4] FROM base                          0.0s',
      ' => CACHED [2/4] COPY a /                    0.0s',
      ' => ERROR [3/4] RUN long long long long long 1.2s',
      ' => CANCELED exporting                       0.0s',
      ' => => sha256:ab                500kB / 2MB  0.0s',
      '',
    ]);
    assert.equal(screen.listeners, 0);
  });

  it('ends with all steps, and the warnings', () => {
    const screen = new Screen(40, 6);
    const live = new LiveBuild(screen);
    for (let step = 1; step <= 9; step++)
      for (const event of [start(step, `step ${step}`), done(step)]) live.print(event);
    live.print({ type: 'warning', text: 'careful', line: 3 });
    live.close();
    assert.equal(screen.lines.filter((line) => / => step \d/.test(line)).length, 9);
    assert.equal(screen.lines[0], '[+] Building 0.0s (9/9) FINISHED');
    assert.deepEqual(screen.lines.slice(-3), [' 1 warning found:', ' - careful (line 3)', '']);
  });

  it('never draws more than fits, running steps first, and at most ten times a second', () => {
    const screen = new Screen(40, 8);
    const live = new LiveBuild(screen);
    for (let step = 1; step <= 20; step++)
      for (const event of [start(step, `done ${step}`), done(step)]) live.print(event);
    live.print(start(21, 'first'));
    live.print(start(22, 'second'));
    for (let i = 0; i < 500; i++) {
      live.print(out(21, `a ${i}\n`));
      live.print(out(22, `b ${i}\n`));
      pass(2);
    }
    assert.ok(screen.frames <= 11, String(screen.frames));
    assert.ok(screen.lines.length <= 8, String(screen.lines.length));
    const text = screen.lines.join('\n');
    assert.match(text, / => first .*\n => => # a \d+\n( => => # a \d+\n)? => second .*\n => => # b \d+/);
    assert.equal(text.includes('done 1 '), false);
    live.close();
  });

  it('survives a terminal that changes its size', () => {
    const screen = new Screen(80, 24);
    const live = new LiveBuild(screen);
    live.print(start(1, `RUN ${'x'.repeat(100)}`));
    live.print(out(1, `${'y'.repeat(100)}\n`));
    pass(300);
    assert.equal(screen.lines.length, 4);
    for (const [columns, rows] of [
      [40, 24],
      [13, 5],
      [1, 1],
      [120, 40],
    ] as const) {
      screen.resize(columns, rows);
      pass(300);
      for (const line of screen.lines) assert.ok(displayWidth(line) <= columns, `${columns}: ${line}`);
    }
    assert.equal(screen.lines.filter((line) => line.startsWith('[+]')).length, 1, screen.lines.join('\n'));
    live.close();
  });

  it('keeps widths with wide, combining and invisible characters, and takes no control characters', () => {
    const screen = new Screen(40, 10);
    const live = new LiveBuild(screen);
    live.print(start(1, 'RUN 日本語日本語日本語日本語日本語日本語'));
    live.print(start(2, 'RUN e\u0301e\u0301 😀 \u200bx'));
    live.print(out(2, '\x1b[31mred\x1b[0m\ttab \x1b[2J\x07\n'));
    pass(200);
    assert.deepEqual(
      screen.lines.slice(1).map((line) => displayWidth(line)),
      [39, 39, displayWidth(screen.lines[3]!), 0],
    );
    assert.equal(screen.lines[3], ' => => # red    tab \\x1b[2J\\x07');
    live.close();
  });

  it('leaves the cursor and wrapping as they were after each write', () => {
    const screen = new Screen(40, 10);
    const live = new LiveBuild(screen);
    for (let i = 1; i < 30; i++) {
      live.print(start(i, 'x'));
      pass(100);
      assert.equal(screen.cursor, true);
      assert.equal(screen.raw.lastIndexOf('\x1b[?7l') < screen.raw.lastIndexOf('\x1b[?7h'), true);
    }
    live.close();
    assert.doesNotMatch(screen.raw, /\x1b\[\d*m/);
  });

  it('draws nothing while somebody else has the screen, and below it afterwards', () => {
    const screen = new Screen(40, 10);
    const live = new LiveBuild(screen);
    live.print(start(1, 'x'));
    pass(200);
    live.pause();
    const { frames } = screen;
    live.print(out(1, 'hidden\n'));
    pass(500);
    assert.equal(screen.frames, frames);
    live.resume();
    live.print(done(1));
    live.close();
    assert.equal(screen.lines.filter((line) => line.startsWith('[+]')).length, 2);
  });
});

describe('displayWidth', () => {
  it('counts columns', () => {
    for (const [text, width] of [
      ['', 0],
      ['abc', 3],
      ['größe', 5],
      ['日本', 4],
      ['ｱ', 1],
      ['Ａ', 2],
      ['한글', 4],
      ['e\u0301', 1],
      ['😀', 2],
      ['\u200b', 0],
    ] as const) {
      assert.equal(displayWidth(text), width, text);
    }
    assert.equal(takeWidth('日本語', 5), '日本');
    assert.equal(takeWidth('abc', 2), 'ab');
    assert.equal(takeWidth('abc', 3), 'abc');
  });
});
