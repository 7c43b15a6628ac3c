import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { dumpIndex } from '../../src/formats/erofs/dump.ts';
import { buildPatch } from '../../src/formats/erofs/patch.ts';
import { buildIndex, DIFF_ID, entry, hardlink, indexTar, symlink, xattrs } from './entries.ts';
import { makeTar, member } from './tars.ts';

/**
 * The index is a pure function of the tar, in every version: a change of these bytes makes every stored index differ
 * from its regenerated one. IMAGO_UPDATE_GOLDEN=1 writes the files anew.
 */
const CASES: Record<string, () => Uint8Array> = {
  empty: () => indexTar(makeTar([])).image,
  plain: () =>
    indexTar(
      makeTar([
        member('./', { mode: 0o711 }),
        'etc/',
        'etc/hostname=imago\n',
        member('usr/bin/sudo=binary', { mode: 0o4755, mtime: { sec: 1_600_000_000, nsec: 123_456_789 } }),
        'usr/bin/sudoedit => usr/bin/sudo',
        'bin -> usr/bin',
        member('dev/null', { type: 'char', devmajor: 1, devminor: 3, mode: 0o666, size: 0 }),
        member('dev/sda1', { type: 'block', devmajor: 8, devminor: 1, gid: 6, size: 0 }),
        member('run/pipe', { type: 'fifo', size: 0 }),
      ]),
    ).image,
  whiteouts: () =>
    indexTar(
      makeTar([
        'a/.wh.gone',
        'b/.wh..wh..opq',
        'b/new=1',
        '.wh.c',
        'c/made/anew=2',
        '.wh.kept',
        'kept=3',
        'l => lower/file',
      ]),
    ).image,
  attributes: () =>
    indexTar(
      makeTar([
        member('capable=x', { xattrs: xattrs({ 'security.capability': '\x01\0\0\x02\0\x20\0\0\0\0\0\0' }) }),
        member('steers/', { xattrs: xattrs({ 'trusted.overlay.opaque': 'y', 'user.text': 'a=b' }) }),
      ]),
    ).image,
  names: () =>
    buildIndex([
      entry('!'),
      entry('-'),
      entry('x', { path: '\xff\x80' }),
      entry('漢字/new\nline'),
      symlink('l', 't'.repeat(600)),
    ]).image,
  'large-directory': () =>
    buildIndex(Array.from({ length: 100 }, (_, i) => entry(`d/name-${i}`, { size: i, dataOffset: 512 * i }))).image,
  data: () =>
    buildIndex([
      entry('sparse', {
        size: 20_000,
        dataSize: 4608,
        sparse: [
          { offset: 4096, length: 4096, dataOffset: 1024 },
          { offset: 16_384, length: 512, dataOffset: 5120 },
        ],
      }),
      entry('hole', { size: 1 << 20, dataSize: 0, sparse: [] }),
      entry('dirty', { size: 1030, dirtyPadding: true, tail: Uint8Array.of(1, 2, 3, 4, 5, 6) }),
      entry('old', { mtime: { sec: -6, nsec: 750_000_000 } }),
    ]).image,
  patch: () =>
    buildPatch({
      chainId: DIFF_ID,
      layers: [
        { diffId: DIFF_ID, tarSize: 10_240 },
        { diffId: `sha256:${'f'.repeat(64)}`, tarSize: 20_480 },
      ],
      directories: ['', 'usr', 'usr/bin'].map((path) => ({ path, attributes: entry('usr/') })),
      links: [{ paths: ['usr/bin/a', 'usr/b'], source: entry('usr/bin/a', { size: 700, dataOffset: 2048 }), layer: 1 }],
    }).image,
  'lower-links': () => buildIndex([hardlink('b', 'a'), entry('c')]).image,
};

describe('golden index', () => {
  for (const [name, make] of Object.entries(CASES)) {
    it(name, () => {
      const image = make();
      const digest = createHash('sha256').update(image).digest('hex');
      const got = `${dumpIndex(image)}sha256:${digest}\n`;
      const file = new URL(`golden/${name}.txt`, import.meta.url);
      if (process.env.IMAGO_UPDATE_GOLDEN === '1') writeFileSync(file, got);
      assert.ok(existsSync(file), `${file.pathname} is missing: run with IMAGO_UPDATE_GOLDEN=1`);
      assert.equal(got, readFileSync(file, 'utf8'));
    });
  }
});
