/** Scans a tar and makes its index in a fresh process; prints seconds (from the first read on) and the index's bytes. */
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { IndexBuilder } from '../src/formats/erofs/index-builder.ts';
import { TarScanner } from '../src/formats/tar/scan.ts';

const file = process.argv[2]!;
const start = performance.now();
const builder = new IndexBuilder();
const scanner = new TarScanner({ entry: (entry) => builder.add(entry) });
const fd = openSync(file, 'r');
const buffer = Buffer.alloc(1 << 20);
for (let n = readSync(fd, buffer); n > 0; n = readSync(fd, buffer)) scanner.push(buffer.subarray(0, n));
scanner.finish();
closeSync(fd);
const { image } = builder.finish({ diffId: `sha256:${'0'.repeat(63)}1`, tarSize: statSync(file).size });
console.log((performance.now() - start) / 1000, image.length);
