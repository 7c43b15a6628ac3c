import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { inflateArchive } from '../archive/inflate-stream.ts';
import { wrongDigest } from '../build/remote/file.ts';
import { ImagoError } from '../core/errors.ts';
import { readTar } from '../formats/tar/read.ts';
import type { Arrived } from './build-context-stream.ts';

/** A repository's files. */
export interface Cloned {
  directory: string;
  /** Of the commit. */
  time: Date;
}

export type Fetched = Cloned | Arrived;

/** When it was made, as far as it says; undefined for what was not fetched. */
export async function fetchedTime(fetched: Fetched | undefined): Promise<Date | undefined> {
  if (fetched === undefined) return undefined;
  return 'time' in fetched ? fetched.time : (fetched.modified ?? (await newestFile(fetched.path)));
}

/** Throws `DIGEST_MISMATCH`. */
export async function checkFile(path: string, checksum: string, url: URL): Promise<void> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  const got = `sha256:${hash.digest('hex')}`;
  if (got !== checksum) throw wrongDigest(url, checksum, got);
}

/** Of an archive of any compression, in whole seconds; undefined for what is none, or is damaged. */
async function newestFile(path: string): Promise<Date | undefined> {
  let newest: number | undefined;
  try {
    for await (const { entry } of readTar(await inflateArchive(createReadStream(path)))) {
      const { type, mtime } = entry;
      if ((type === 'file' || type === 'hardlink') && mtime.sec > (newest ?? Number.NEGATIVE_INFINITY))
        newest = mtime.sec;
    }
  } catch (error) {
    if (error instanceof ImagoError) return undefined;
    throw error;
  }
  return newest === undefined ? undefined : new Date(newest * 1000);
}
