import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { crc32, gunzipSync, zstdDecompressSync } from 'node:zlib';
import { combineCrc32 } from '../../src/core/crc32.ts';
import { compressBlock } from '../../src/store/compress-block.ts';
import { compressFile, type PackedForm } from '../../src/store/compress-layer.ts';
import { formatForm, parseForm } from '../../src/store/compression-form.ts';

let directory: string;
before(() => {
  directory = mkdtempSync(join(tmpdir(), 'imago-compress-'));
});
after(() => rmSync(directory, { recursive: true, force: true }));

/** Words and noise: what compresses, what does not, and what repeats over a block's border. */
function sample(size: number): Buffer {
  const noise = createHash('shake256', { outputLength: Math.ceil(size / 2) })
    .update('noise')
    .digest();
  const words = Buffer.alloc(size - noise.length, 'the same words again and again, ');
  const parts: Buffer[] = [];
  for (let at = 0; at < size; at += 50_000)
    parts.push(words.subarray(at, at + 50_000), noise.subarray(at, at + 50_000));
  return Buffer.concat(parts).subarray(0, size);
}

function write(bytes: Buffer): string {
  const path = join(directory, `${bytes.length}`);
  writeFileSync(path, bytes);
  return path;
}

async function compress(path: string, form: PackedForm): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of compressFile(path, form)) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
}

const GZIP: PackedForm = { kind: 'gzip', level: 5 };
const ZSTD: PackedForm = { kind: 'zstd', level: 3 };
const MIB = 2 ** 20;

describe('compressing a layer', () => {
  for (const size of [0, 1, 1024, MIB - 1, MIB, MIB + 1, 9 * MIB + 17]) {
    it(`gives ${size} bytes back, to our codecs and to the tools`, async () => {
      const bytes = sample(size);
      const path = write(bytes);
      const gzip = await compress(path, GZIP);
      assert.ok(gunzipSync(gzip).equals(bytes));
      assert.ok(execFileSync('gzip', ['-dc'], { input: gzip, maxBuffer: 1 << 25 }).equals(bytes));
      // No name, no time, no system.
      assert.equal(gzip.subarray(0, 10).toString('hex'), '1f8b08000000000000ff');
      const zstd = await compress(path, ZSTD);
      assert.ok(zstdDecompressSync(zstd).equals(bytes));
      if (spawnSync('zstd', ['--version']).status === 0) {
        assert.ok(execFileSync('zstd', ['-dc'], { input: zstd, maxBuffer: 1 << 25 }).equals(bytes));
      }
    });
  }

  it('makes the same bytes in another process, and on one thread', async () => {
    const path = write(sample(5 * MIB + 3));
    const module = new URL('../../src/store/compress-layer.ts', import.meta.url).href;
    for (const form of [GZIP, ZSTD]) {
      const here = await compress(path, form);
      const script = `import { compressFile } from '${module}';
        for await (const part of compressFile(${JSON.stringify(path)}, ${JSON.stringify(form)})) process.stdout.write(part);`;
      const there = execFileSync(process.execPath, ['--input-type=module', '-e', script], { maxBuffer: 1 << 25 });
      assert.ok(there.equals(here));
      const block = form.kind === 'gzip' ? MIB : 4 * MIB;
      const alone: Uint8Array[] = [];
      for (let offset = 0; offset < 5 * MIB + 3; offset += block) {
        const length = Math.min(block, 5 * MIB + 3 - offset);
        alone.push(compressBlock({ path, offset, length, last: offset + length === 5 * MIB + 3, form }).bytes);
      }
      const body = form.kind === 'gzip' ? here.subarray(10, -8) : here;
      assert.ok(Buffer.concat(alone).equals(body));
    }
  });

  it('costs little for being made in blocks', async () => {
    const path = write(Buffer.alloc(8 * MIB, 'some text that is in every block, and again\n'));
    const whole = execFileSync('gzip', ['-5', '-c', path], { maxBuffer: 1 << 25 });
    assert.ok((await compress(path, GZIP)).length < whole.length * 1.1 + 1000);
  });

  it('ends when nobody takes the bytes, and tells of a file that grew shorter', async () => {
    const path = write(sample(20 * MIB));
    for await (const part of compressFile(path, GZIP)) if (part.length > 10) break;
    const short = compressFile(path, GZIP);
    await short.next();
    writeFileSync(path, 'x');
    await assert.rejects(
      async () => {
        for await (const _ of short);
      },
      { code: 'BLOB_TRUNCATED' },
    );
    await assert.rejects(() => compress(join(directory, 'none'), GZIP), { code: 'ENOENT' });
    const stop = new AbortController();
    stop.abort(new Error('enough'));
    await assert.rejects(async () => {
      for await (const _ of compressFile(write(sample(MIB)), GZIP, { signal: stop.signal }));
    }, /enough/);
  });
});

describe('forms', () => {
  const cases: [text: string, form: string][] = [
    ['gzip', 'gzip:4'],
    ['gzip:9', 'gzip:9'],
    ['zstd', 'zstd:3'],
    ['zstd:22', 'zstd:22'],
    ['none', 'none'],
  ];
  for (const [text, form] of cases) it(text, () => assert.equal(formatForm(parseForm(text)), form));
  for (const text of ['', 'gzip:0', 'gzip:10', 'zstd:23', 'zstd:-1', 'none:1', 'xz', 'gzip:', 'gzip:5.5', ' gzip']) {
    it(`not ${JSON.stringify(text)}`, () => assert.throws(() => parseForm(text), { code: 'BAD_COMPRESSION' }));
  }
});

it('CRCs of pieces make the CRC of the whole', () => {
  const bytes = sample(300_000);
  for (const at of [0, 1, 7, 65_536, 299_999, 300_000]) {
    const [first, second] = [bytes.subarray(0, at), bytes.subarray(at)];
    assert.equal(combineCrc32(crc32(first), crc32(second), second.length), crc32(bytes));
  }
  // More than 2³² bits.
  let crc = crc32('a');
  let doubled = 1;
  for (let i = 0; i < 31; i++) {
    crc = combineCrc32(crc, crc, doubled);
    doubled *= 2;
  }
  assert.equal(combineCrc32(crc32(''), crc, doubled), crc);
});
