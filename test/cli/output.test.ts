import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createProgress } from '../../src/cli/progress.ts';
import { createStyle } from '../../src/cli/style.ts';

describe('colours', () => {
  test('on a terminal only', () => {
    assert.equal(createStyle({ isTTY: true }, {}).red('x'), '\x1b[31mx\x1b[39m');
    assert.equal(createStyle({ isTTY: false }, {}).red('x'), 'x');
    assert.equal(createStyle({}, {}).bold('x'), 'x');
  });
  test('not with NO_COLOR, whatever it is set to, nor on a dumb terminal', () => {
    assert.equal(createStyle({ isTTY: true }, { NO_COLOR: '1' }).red('x'), 'x');
    assert.equal(createStyle({ isTTY: true }, { NO_COLOR: '0' }).red('x'), 'x');
    assert.equal(createStyle({ isTTY: true }, { NO_COLOR: '' }).red('x'), '\x1b[31mx\x1b[39m');
    assert.equal(createStyle({ isTTY: true }, { TERM: 'dumb' }).red('x'), 'x');
  });
});

class FakeStream {
  text = '';
  isTTY: boolean;
  columns = 60;
  rows = 4;
  constructor(isTTY: boolean) {
    this.isTTY = isTTY;
  }
  write(text: string): void {
    this.text += text;
  }
}

describe('progress', () => {
  test('in a pipe: a line for each new status', () => {
    const stream = new FakeStream(false);
    const progress = createProgress(stream);
    progress.update('layer 1', { status: 'reading', done: 0, total: 10 });
    progress.update('layer 1', { status: 'reading', done: 5, total: 10 });
    progress.update('layer 2', { status: 'reading' });
    progress.update('layer 1', { status: 'done', finished: true });
    progress.close();
    progress.update('layer 2', { status: 'late' });
    assert.equal(stream.text, 'layer 1: reading\nlayer 2: reading\nlayer 1: done\n');
  });

  test('on a terminal: lines redrawn in place, at most ten times a second', () => {
    const stream = new FakeStream(true);
    const progress = createProgress(stream);
    progress.update('a', { status: 'reading', done: 0, total: 1000 });
    assert.equal(stream.text, '\r\x1b[2Ka: reading [>                       ] 0B/1kB\n');
    const first = stream.text.length;
    for (let done = 0; done < 1000; done += 10) progress.update('a', { status: 'reading', done, total: 1000 });
    assert.equal(stream.text.length, first, 'too soon to draw again');
    progress.update('a', { status: 'done', finished: true });
    progress.update('b', { status: 'waiting', done: 2048 });
    progress.close();
    assert.ok(stream.text.slice(first).startsWith('\x1b[1A\r\x1b[2K'), 'goes up over what it drew');
    assert.ok(stream.text.endsWith('\r\x1b[2Kb: waiting 2.05kB\n'));
  });

  test('a terminal that does not tell its width', () => {
    const stream = new FakeStream(true);
    stream.columns = 0;
    const progress = createProgress(stream);
    progress.update('a', { status: 'waiting' });
    progress.close();
    assert.ok(stream.text.endsWith('a: waiting\n'), JSON.stringify(stream.text));
  });

  test('never draws more lines than the screen has', () => {
    const stream = new FakeStream(true);
    const progress = createProgress(stream);
    for (let i = 0; i < 20; i++) progress.update(`layer ${i}`, { status: 'waiting' });
    progress.close();
    const last = stream.text.slice(stream.text.lastIndexOf('\x1b[1A'));
    assert.equal(last.split('\n').length - 1, stream.rows - 1);
    assert.match(last, /layer 19: waiting\n$/);
  });
});
