import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { SourceNode } from '../../src/build/context/source.ts';
import type { Member } from '../../src/build/copy/place.ts';
import { ReadAhead } from '../../src/build/copy/read-ahead.ts';

/** Files whose reads take a while, or none; notes what was opened, expected and closed. */
class Disk {
  readonly open: Set<number> = new Set();
  most = 0;
  expected = 0;
  readonly #readMs: number;

  constructor(readMs: number) {
    this.#readMs = readMs;
  }

  file(number: number, identity?: string): Member {
    const source = {
      identity,
      open: () => {
        assert.ok(!this.open.has(number), `${number} is open`);
        this.open.add(number);
        this.most = Math.max(this.most, this.open.size);
        return {
          read: () => {
            for (const start = performance.now(); performance.now() - start < this.#readMs; );
            return number;
          },
          xattrs: () => undefined,
          expect: () => {
            this.expected++;
          },
          close: () => assert.ok(this.open.delete(number)),
        };
      },
    } as unknown as SourceNode;
    return { path: String(number), type: 'file', size: 10, source } as Member;
  }
}

/** Reads them all as a copy does; stops before `stop`. */
function readAll(members: Member[], stop = Number.POSITIVE_INFINITY): string[] {
  const seen: string[] = [];
  using ahead = new ReadAhead();
  for (const { path, source } of ahead.through(members)) {
    if (Number(path) === stop) break;
    const reader = ahead.open(source!);
    assert.equal(String(reader.read(new Uint8Array(1), 0, 1, 0)), path);
    reader.close();
    seen.push(path);
  }
  return seen;
}

const numbers = (count: number): number[] => [...Array(count).keys()];

describe('files of a copy', () => {
  it('on a cold disk are opened ahead, a bounded number, and given in their order', () => {
    const disk = new Disk(0.1);
    assert.deepEqual(readAll(numbers(200).map((n) => disk.file(n))), numbers(200).map(String));
    assert.ok(disk.expected > 150, `${disk.expected} expected`);
    assert.ok(disk.most > 10 && disk.most <= 50, `${disk.most} open at once`);
    assert.equal(disk.open.size, 0);
  });

  it('in memory are opened one by one', () => {
    const disk = new Disk(0);
    readAll(numbers(2000).map((n) => disk.file(n)));
    // A pause of the machine may look like a disk, for a while.
    assert.ok(disk.expected < 1000, `${disk.expected} expected`);
    assert.equal(disk.open.size, 0);
  });

  it('with several names are not opened ahead: all but one become links', () => {
    const disk = new Disk(0.1);
    readAll(numbers(100).map((n) => disk.file(n, 'same')));
    assert.deepEqual([disk.expected, disk.most], [0, 1]);
  });

  it('are closed where the copy ends early', () => {
    const disk = new Disk(0.1);
    assert.equal(
      readAll(
        numbers(200).map((n) => disk.file(n)),
        100,
      ).length,
      100,
    );
    assert.ok(disk.most > 10);
    assert.equal(disk.open.size, 0);
  });
});
