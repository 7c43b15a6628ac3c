import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Digest } from '../core/digest.ts';
import type { IndexedLayer } from './backend.ts';

export const PROBE_NAME = 'probe';
export const PROBE_CONTENT = 'imago\n';
export const PROBE_DIFF_ID: Digest = `sha256:${'69'.repeat(32)}`;
export const PROBE_SIZE = 2048;

/**
 * The index that IndexBuilder makes of a tar with one file, `probe`, less its zeros. Written out here because a
 * command that mounts would else load the whole writer to ask one question; a test compares it with the writer's.
 */
const INDEX: readonly [offset: number, hex: string][] = [
  [1024, 'e2e1f5e050d0897f030000000900300002'],
  [1060, '0400000000000000000000006969696969698969a969696969696969'],
  [1104, '0c0000000000010009'],
  [1216, '0400000004'],
  [1536, '05000000ed4100002c00000000000000ffffffff01'],
  [1580, '02'],
  [1600, '3000000000000000240002003000000000000000250002003400000000000000270001002e2e2e70726f6265'],
  [1664, '010000002481000006000000000000000500000002'],
  [1708, '01'],
];

export function probeIndex(): Buffer {
  const image = Buffer.alloc(PROBE_SIZE);
  for (const [offset, hex] of INDEX) image.write(hex, offset, 'hex');
  return image;
}

/** A layer to try mounting with. The kernel reads of the tar only the file's data, so only they are there. */
export function writeProbeLayer(directory: string): IndexedLayer {
  const data = Buffer.alloc(PROBE_SIZE);
  data.write(PROBE_CONTENT, 512, 'latin1');
  const index = join(directory, 'index');
  const tar = join(directory, 'tar');
  writeFileSync(index, probeIndex());
  writeFileSync(tar, data);
  return { index, tars: [tar] };
}
