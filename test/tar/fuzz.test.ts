import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { isImagoError } from '../../src/core/errors.ts';
import type { TarEntry } from '../../src/formats/tar/entry.ts';
import { readEntries } from '../../src/formats/tar/read.ts';
import { TarScanner } from '../../src/formats/tar/scan.ts';

const DIR = `${import.meta.dirname}/fixtures`;
const SECONDS = Number(process.env.IMAGO_FUZZ_SECONDS ?? 3);
const SEED = Number(process.env.IMAGO_FUZZ_SEED ?? 1);

/** mulberry32 */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** Makes the sums of all header-like blocks right again, so that changes get past them. */
function mend(tar: Uint8Array): void {
  for (let at = 0; at + 512 <= tar.length; at += 512) {
    if (tar[at + 257] !== 0x75 && tar[at + 155] !== 0x20) continue;
    tar.fill(0x20, at + 148, at + 156);
    let sum = 0;
    for (let i = at; i < at + 512; i++) sum += tar[i]!;
    tar.set(Buffer.from(`${sum.toString(8).padStart(6, '0')}\0 `), at + 148);
  }
}

function mutate(original: Uint8Array, next: (below: number) => number): Uint8Array {
  const tar = Buffer.from(original);
  for (let n = 1 + next(6); n > 0; n--) {
    // Mostly the headers: the data have no form.
    const at = Math.min(tar.length - 1, next(Math.ceil(tar.length / 512)) * 512 + next(512));
    const kind = next(5);
    if (kind === 0) tar[at] = next(256);
    else if (kind === 1) tar[at] = tar[at]! ^ (1 << next(8));
    else if (kind === 2) tar.copy(tar, at, next(tar.length), next(tar.length));
    else if (kind === 3) tar.fill(next(256), at, Math.min(tar.length, at + next(30)));
    else tar[at - (at % 512) + 156] = '\x000123456789ABDKLMNSVXgx'.charCodeAt(next(22));
  }
  if (next(4) !== 0) mend(tar);
  return next(4) === 0 ? tar.subarray(0, next(tar.length)) : tar;
}

function check(e: TarEntry): void {
  for (const n of [e.size, e.dataOffset, e.dataSize, e.headerOffset, e.mode, e.uid, e.gid, e.devmajor, e.devminor]) {
    assert.ok(Number.isSafeInteger(n) && n >= 0, `${n} in ${e.path}`);
  }
  assert.ok(Number.isSafeInteger(e.mtime.sec) && e.mtime.nsec >= 0 && e.mtime.nsec < 1e9);
  assert.ok(e.headerOffset < e.dataOffset && e.dataOffset % 512 === 0);
  assert.ok(!e.path.includes('\0') && !e.linkname.includes('\0'));
  let end = 0;
  for (const s of e.sparse ?? []) {
    assert.ok(s.offset >= end && s.length > 0 && s.dataOffset + s.length <= e.dataOffset + e.dataSize);
    end = s.offset + s.length;
  }
  assert.ok(end <= e.size);
}

test(`mutated archives give entries or an ImagoError, never anything else (seed ${SEED})`, () => {
  const next = random(SEED);
  const tars = readdirSync(DIR)
    .filter((n) => n.endsWith('.tar.gz'))
    .map((n) => gunzipSync(readFileSync(`${DIR}/${n}`)));
  const before = process.memoryUsage().rss;
  const stop = performance.now() + SECONDS * 1000;
  let rounds = 0;
  let errors = 0;
  while (performance.now() < stop) {
    const tar = mutate(tars[next(tars.length)]!, next);
    const chunk = next(2) === 0 ? tar.length || 1 : 1 + next(2000);
    rounds++;
    try {
      const scanner = new TarScanner({ entry: check });
      for (let at = 0; at < tar.length; at += chunk) scanner.push(tar.subarray(at, at + chunk));
      scanner.finish();
      readEntries(
        (buffer, offset) => buffer.length && Buffer.from(tar).copy(buffer, 0, offset, offset + buffer.length),
        tar.length,
      );
    } catch (error) {
      if (!isImagoError(error)) throw error;
      assert.match(error.code, /^TAR_/);
      assert.ok(error.details.offset! <= tar.length, error.message);
      errors++;
    }
  }
  const grown = process.memoryUsage().rss - before;
  assert.ok(rounds > 100 && errors > rounds / 10 && errors < rounds, `${errors} errors of ${rounds}`);
  assert.ok(grown < 256 << 20, `memory grew by ${grown} bytes`);
});
