import { closeSync, fstatSync, mkdirSync, openSync, readSync } from 'node:fs';
import { readEntries } from '../formats/tar/read.ts';
import { syncFileSystem } from '../system/at.ts';
import { readLayerTree } from '../tree/layer.ts';
import { unpackTree } from './unpack.ts';

/** Unpack one layer. Plain data: jobs cross threads. */
export interface UnpackJob {
  tar: string;
  /** Made by the job; its parent exists and is nobody else's. */
  directory: string;
}

/** Unpacks a layer's tar into a new directory; all of it is on the disk when it resolves. */
export async function runUnpack(job: UnpackJob): Promise<void> {
  const tar = openSync(job.tar, 'r');
  try {
    const { size } = fstatSync(tar);
    const entries = readEntries((buffer, offset) => readSync(tar, buffer, 0, buffer.length, offset), size);
    mkdirSync(job.directory, { mode: 0o700 });
    unpackTree(readLayerTree(entries, 0).root, job.directory, () => tar);
    syncFileSystem(tar);
  } finally {
    closeSync(tar);
  }
}
