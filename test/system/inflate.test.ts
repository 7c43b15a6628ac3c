import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { detectCompression } from '../../src/system/compression.ts';
import { createInflater } from '../../src/system/inflate.ts';

/** Two thirds text, one third noise; longer than the inflater's buffer. */
const plain = Buffer.concat(
  Array.from({ length: 300 }, (_, i) =>
    Buffer.concat([
      Buffer.alloc(4000, `line ${i} `),
      createHash('shake256', { outputLength: 2000 }).update(String(i)).digest(),
    ]),
  ),
);

async function inflate(kind: 'gzip' | 'zstd', input: Uint8Array, piece: number, publicOnly: boolean): Promise<Buffer> {
  const out: Buffer[] = [];
  const inflater = createInflater(kind, (bytes) => out.push(Buffer.from(bytes)), { publicOnly });
  try {
    // One buffer for all pieces, as the callers have.
    const buffer = Buffer.alloc(piece);
    for (let at = 0; at < input.length; at += piece) {
      const part = input.subarray(at, at + piece);
      buffer.set(part);
      await inflater.push(buffer.subarray(0, part.length));
    }
    await inflater.finish();
  } finally {
    inflater.close();
  }
  return Buffer.concat(out);
}

for (const publicOnly of [false, true]) {
  describe(publicOnly ? 'inflating by the documented streams' : 'inflating by the handle', () => {
    for (const [kind, compress] of [
      ['gzip', gzipSync],
      ['zstd', zstdCompressSync],
    ] as const) {
      const whole = compress(plain);
      const two = Buffer.concat([compress(plain.subarray(0, 1_000_000)), compress(plain.subarray(1_000_000))]);
      for (const piece of [1_000_003, 65_536, 997]) {
        it(`${kind} in pieces of ${piece}`, async () => {
          assert.ok((await inflate(kind, whole, piece, publicOnly)).equals(plain));
          assert.ok((await inflate(kind, two, piece, publicOnly)).equals(plain));
        });
      }

      it(`${kind} byte by byte`, async () => {
        const short = compress(plain.subarray(0, 3000));
        assert.ok((await inflate(kind, short, 1, publicOnly)).equals(plain.subarray(0, 3000)));
      });

      it(`${kind} that is cut anywhere`, async () => {
        for (const length of [0, 1, 9, 100, whole.length >> 1, whole.length - 5, whole.length - 1]) {
          const cut = inflate(kind, whole.subarray(0, length), 65_536, publicOnly);
          await assert.rejects(cut, { code: 'TRUNCATED_COMPRESSED' }, `at ${length}`);
        }
      });

      it(`${kind} that is damaged, and something else`, async () => {
        const bad = Buffer.from(whole);
        bad[4] = 0xff;
        bad[3] = 0xff;
        await assert.rejects(inflate(kind, bad, 65_536, publicOnly), { code: 'CORRUPT_COMPRESSED' });
      });
    }

    it('passes on what its receiver throws', async () => {
      const inflater = createInflater(
        'gzip',
        () => {
          throw new Error('full');
        },
        { publicOnly },
      );
      await assert.rejects(async () => {
        await inflater.push(gzipSync(plain));
        await inflater.finish();
      }, /full/);
      inflater.close();
    });

    it('two at once', async () => {
      const input = gzipSync(plain);
      const both = await Promise.all([1000, 70_000].map((piece) => inflate('gzip', input, piece, publicOnly)));
      for (const out of both) assert.ok(out.equals(plain));
    });
  });
}

describe('trailing bytes', () => {
  for (const [kind, compress] of [
    ['gzip', gzipSync],
    ['zstd', zstdCompressSync],
  ] as const) {
    it(`of ${kind}: zeros are padding, anything else is damage`, async () => {
      const whole = compress(plain);
      const padded = Buffer.concat([whole, Buffer.alloc(200_000)]);
      for (const piece of [padded.length, 65_536, 1000]) {
        assert.ok((await inflate(kind, padded, piece, false)).equals(plain));
        const dirty = Buffer.concat([padded, Buffer.from('x')]);
        await assert.rejects(inflate(kind, dirty, piece, false), { code: 'CORRUPT_COMPRESSED' });
        const garbage = Buffer.concat([whole, Buffer.from('garbage')]);
        await assert.rejects(inflate(kind, garbage, piece, false), { code: 'CORRUPT_COMPRESSED' });
      }
    });
  }
});

it('tells compressions by their first bytes', () => {
  const cases: [string, string][] = [
    ['1f8b0800', 'gzip'],
    ['28b52ffd', 'zstd'],
    ['502a4d18', 'zstd'],
    ['5f2a4d18', 'zstd'],
    ['425a6839', 'bzip2'],
    ['425a6830', 'none'],
    ['fd377a585a00', 'xz'],
    ['fd377a585a', 'none'],
    ['', 'none'],
    ['1f', 'none'],
    ['7573746172', 'none'],
  ];
  for (const [hex, want] of cases) assert.equal(detectCompression(Buffer.from(hex, 'hex')), want, hex);
});
