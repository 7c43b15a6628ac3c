import { createHash, type Hash } from 'node:crypto';
import { closeSync, fdatasync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Digest, DigestAlgorithm } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { formatSize } from '../core/sizes.ts';
import { IndexBuilder, type LayerIndex } from '../formats/erofs/index-builder.ts';
import { TarScanner } from '../formats/tar/scan.ts';
import { syncDirectory, writeAll } from '../system/atomic.ts';
import { startWriteback } from '../system/writeback.ts';
import { FILES, formatRecord, type LayerRecord } from './layer-job.ts';

/** Dirty pages to gather before the disk is set to work. */
const WRITEBACK = 8 * 1024 * 1024;

/** One pass over the bytes of a tar: its digest and its index come out. */
export class LayerReader {
  readonly #algorithm: DigestAlgorithm;
  readonly #hash: Hash;
  readonly #scanner: TarScanner;
  readonly #builder: IndexBuilder = new IndexBuilder();
  size = 0;

  constructor(algorithm: DigestAlgorithm) {
    this.#algorithm = algorithm;
    this.#hash = createHash(algorithm);
    this.#scanner = new TarScanner({ entry: (entry) => this.#builder.add(entry) });
  }

  push(bytes: Uint8Array): void {
    this.#hash.update(bytes);
    this.#scanner.push(bytes);
    this.size += bytes.length;
  }

  /** Ends the tar; throws what the scanner throws. */
  digest(): Digest {
    if (this.size === 0) {
      throw new ImagoError('TAR_TRUNCATED', 'the layer is empty: not even the end mark of a tar', { offset: 0 });
    }
    this.#scanner.finish();
    return `${this.#algorithm}:${this.#hash.digest('hex')}`;
  }

  index(diffId: Digest): LayerIndex {
    return this.#builder.finish({ diffId, tarSize: this.size });
  }
}

/** A `LayerReader` that also writes the tar, and in the end the index, into a directory. */
export class LayerWriter extends LayerReader implements Disposable {
  readonly #directory: string;
  readonly #largest: number;
  readonly #fd: number;
  #started = 0;

  /** `largest`: of the tar, in bytes. */
  constructor(directory: string, algorithm: DigestAlgorithm, largest: number = Infinity) {
    super(algorithm);
    this.#directory = directory;
    this.#largest = largest;
    this.#fd = openSync(join(directory, FILES.tar), 'wx', 0o444);
  }

  override push(bytes: Uint8Array): void {
    if (this.size + bytes.length > this.#largest) throw tooLarge(this.#largest);
    super.push(bytes);
    writeAll(this.#fd, bytes);
    if (this.size - this.#started < WRITEBACK) return;
    startWriteback(this.#fd, this.#started, this.size - this.#started);
    this.#started = this.size;
  }

  /** All of it is on the disk when it resolves, the names of the files in their directories too. */
  async finish(diffId: Digest): Promise<LayerRecord> {
    // The disk works while the index is made.
    const synced = promisify(fdatasync)(this.#fd);
    synced.catch(() => {});
    const { image, facts } = this.index(diffId);
    const record: LayerRecord = { diffId, tarSize: this.size, facts };
    writeLayerFiles(join(this.#directory, FILES.layer), image, record);
    await synced;
    return record;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

function tooLarge(largest: number): ImagoError {
  return new ImagoError('LAYER_TOO_LARGE', 'the layer inflates to far more than its compressed size makes likely', {
    want: `at most ${formatSize(largest)}`,
    remedy: 'it looks like a decompression bomb; if you trust it, allow more with IMAGO_LARGEST_LAYER=BYTES',
  });
}

/** Makes `directory` with the index and the record of a layer, synced. */
export function writeLayerFiles(directory: string, image: Uint8Array, record: LayerRecord): void {
  mkdirSync(directory, { mode: 0o700 });
  writeSynced(join(directory, FILES.index), image);
  writeSynced(join(directory, FILES.record), Buffer.from(formatRecord(record)));
  syncDirectory(directory);
}

function writeSynced(path: string, bytes: Uint8Array): void {
  const fd = openSync(path, 'wx', 0o444);
  try {
    writeAll(fd, bytes);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
