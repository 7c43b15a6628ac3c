import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import type { TarEntry } from '../../src/formats/tar/entry.ts';
import { readEntries, readTar } from '../../src/formats/tar/read.ts';
import { TarScanner } from '../../src/formats/tar/scan.ts';
import { formatEntry, listTar } from './listing.ts';

const DIR = `${import.meta.dirname}/fixtures`;
const names = readdirSync(DIR)
  .filter((n) => n.endsWith('.tar.gz'))
  .map((n) => n.slice(0, -7));

function load(name: string): Buffer {
  return gunzipSync(readFileSync(`${DIR}/${name}.tar.gz`));
}

async function* chunksOf(tar: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < tar.length; at += size) yield tar.subarray(at, Math.min(at + size, tar.length));
}

/** What a scan in one piece tells, and the stored bytes of each member. */
function scanAll(tar: Buffer): { entries: TarEntry[]; bodies: string[] } {
  const entries: TarEntry[] = [];
  const bodies: string[] = [];
  const scanner = new TarScanner({
    entry: (e) => {
      entries.push(e);
      bodies.push('');
    },
    data: (chunk) => {
      bodies[bodies.length - 1] += Buffer.from(chunk).toString('latin1');
    },
  });
  scanner.push(tar);
  scanner.finish();
  return { entries, bodies };
}

test('every fixture lists as its golden, whatever the chunks', async (t) => {
  for (const name of names) {
    await t.test(name, () => {
      const tar = load(name);
      const golden = readFileSync(`${DIR}/${name}.txt`, 'utf8');
      assert.equal(listTar(tar), golden);
      for (const size of [1, 7, 511, 512, 513, 4096]) assert.equal(listTar(tar, size), golden, `chunks of ${size}`);
      // Views at odd addresses take the slow path of the checksum.
      const odd = Buffer.alloc(tar.length + 1);
      tar.copy(odd, 1);
      assert.equal(listTar(odd.subarray(1)), golden, 'unaligned');
    });
  }
});

test('random access, streams and data handlers see what a scan sees', async (t) => {
  for (const name of names.filter((n) => !/multi-volume|size-/.test(n))) {
    await t.test(name, async () => {
      const tar = load(name);
      const { entries, bodies } = scanAll(tar);
      for (const [i, e] of entries.entries()) {
        assert.equal(bodies[i], tar.toString('latin1', e.dataOffset, e.dataOffset + e.dataSize));
        if (e.dirtyPadding)
          assert.equal(Buffer.from(e.tail!).toString('latin1'), bodies[i]!.slice(-(e.dataSize % 512)));
      }
      const clean = (e: TarEntry) => formatEntry({ ...e, dirtyPadding: false });
      const jumped = readEntries((buffer, offset) => tar.copy(buffer, 0, offset, offset + buffer.length), tar.length);
      assert.deepEqual(jumped.map(formatEntry), entries.map(clean));
      for (const size of [3, 512, 1000]) {
        let i = 0;
        for await (const { entry, body } of readTar(chunksOf(tar, size))) {
          if (i % 2 === 0) {
            let got = '';
            for await (const chunk of body()) got += Buffer.from(chunk).toString('latin1');
            assert.equal(got, bodies[i], `body ${i} in chunks of ${size}`);
          }
          assert.equal(clean(entry), clean(entries[i]!));
          i++;
        }
        assert.equal(i, entries.length);
      }
    });
  }
});

test('members beyond 8 GiB: nothing is lost past the data, and nothing of it is copied', () => {
  for (const name of ['size-over-8-gib', 'size-base256']) {
    const header = load(name);
    const after = load('end-missing');
    const piece = new Uint8Array(64 << 20);
    const entries: TarEntry[] = [];
    const scanner = new TarScanner({ entry: (e) => void entries.push(e) });
    scanner.push(header);
    for (let i = 0; i < 144; i++) scanner.push(piece);
    scanner.push(after);
    scanner.finish();
    assert.deepEqual(
      entries.map((e) => [e.path, e.size, e.dataOffset]),
      [
        ['big', 9 * 2 ** 30, header.length],
        ['one', 4, header.length + 9 * 2 ** 30 + 512],
        ['two', 4, header.length + 9 * 2 ** 30 + 1536],
      ],
    );
    const size = header.length + 9 * 2 ** 30 + after.length;
    const jumped = readEntries((buffer, offset) => {
      if (offset < header.length) return header.copy(buffer, 0, offset);
      const at = offset - header.length - 9 * 2 ** 30;
      if (at < 0) throw new Error(`read inside the data at ${offset}`);
      return after.copy(buffer, 0, at);
    }, size);
    assert.deepEqual(jumped.map(formatEntry), entries.map(formatEntry));
  }
});

test('a body kept past its member gives nothing more', async () => {
  const kept: AsyncIterable<Uint8Array>[] = [];
  const paths: string[] = [];
  for await (const { entry, body } of readTar(chunksOf(load('end-missing'), 100))) {
    kept.push(body());
    paths.push(entry.path);
    if (kept.length === 2) for await (const _ of kept[0]!) assert.fail('a stale body yielded data');
  }
  assert.deepEqual(paths, ['one', 'two']);
});
