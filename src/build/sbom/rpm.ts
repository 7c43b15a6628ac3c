import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ImagoError } from '../../core/errors.ts';
import type { SourceNode } from '../context/source.ts';
import { readSource } from '../context/source.ts';
import { readNdb } from './rpm-ndb.ts';

export interface RpmPackage {
  name: string;
  version: string;
  release: string;
  epoch?: number;
  arch?: string;
  license?: string;
  vendor?: string;
  url?: string;
  sourceRpm?: string;
}

const LARGEST_DATABASE = 1024 * 2 ** 20;
/** rpm v4 lib/rpmtag.h. */
const TAGS = {
  name: 1000,
  version: 1001,
  release: 1002,
  epoch: 1003,
  vendor: 1011,
  license: 1014,
  url: 1020,
  arch: 1022,
  sourceRpm: 1044,
} as const;
const INT32 = 4;
const STRINGS = new Set([6, 9]);

/** Packages of RPM's database, by the name of its file. Throws `BAD_RPM_DATABASE`. */
export async function readRpmDatabase(name: 'rpmdb.sqlite' | 'Packages.db', node: SourceNode): Promise<RpmPackage[]> {
  if (node.size > LARGEST_DATABASE) throw damaged('it is too large');
  const headers = name === 'Packages.db' ? readNdb(readSource(node)) : await readSqlite(node);
  if (headers === undefined) throw damaged('it is no ndb database, or a damaged one');
  // Keys that packages are signed with are in there, too.
  return headers.flatMap((header) => readHeader(header) ?? []).filter((item) => item.name !== 'gpg-pubkey');
}

/** rpm ≥ 4.16: table Packages, a header each. The database is read as a copy: nothing of it runs. */
async function readSqlite(node: SourceNode): Promise<Uint8Array[]> {
  const { DatabaseSync } = await import('node:sqlite');
  const directory = mkdtempSync(join(tmpdir(), 'imago-rpm-'));
  try {
    const path = join(directory, 'rpmdb.sqlite');
    writeFileSync(path, withoutJournal(readSource(node)));
    const database = new DatabaseSync(path, { readOnly: true, allowExtension: false, defensive: true });
    try {
      const out: Uint8Array[] = [];
      for (const row of database.prepare('SELECT blob FROM Packages ORDER BY hnum').iterate()) {
        const { blob } = row as { blob: unknown };
        if (blob instanceof Uint8Array) out.push(blob);
      }
      return out;
    } finally {
      database.close();
    }
  } catch (error) {
    if (error instanceof ImagoError) throw error;
    if ((error as { code?: string }).code === 'ERR_SQLITE_ERROR') throw damaged((error as Error).message);
    throw error;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Bytes 18 and 19 say that there is a write-ahead log, which a read-only copy cannot have (sqlite.org/fileformat2). */
function withoutJournal(bytes: Buffer): Buffer {
  if (bytes.length > 20) bytes.fill(1, 18, 20);
  return bytes;
}

/**
 * A header without its magic, as the database has it: number of entries, bytes of data, then entries of 16 bytes (tag,
 * type, offset, count), all big-endian, then the data. Undefined for one that is not whole.
 */
export function readHeader(blob: Uint8Array): RpmPackage | undefined {
  const view = new DataView(blob.buffer, blob.byteOffset, blob.length);
  if (blob.length < 8) return undefined;
  const count = view.getUint32(0);
  const data = 8 + count * 16;
  const size = view.getUint32(4);
  if (count > 0xffff || data + size > blob.length) return undefined;
  const values = new Map<number, string | number>();
  for (let i = 0; i < count; i++) {
    const entry = 8 + i * 16;
    const type = view.getUint32(entry + 4);
    const at = data + view.getUint32(entry + 8);
    if (at >= data + size) continue;
    if (STRINGS.has(type)) {
      const end = blob.indexOf(0, at);
      if (end >= 0) values.set(view.getUint32(entry), Buffer.from(blob.subarray(at, end)).toString());
    } else if (type === INT32 && at + 4 <= data + size) values.set(view.getUint32(entry), view.getUint32(at));
  }
  const text = (tag: number): string | undefined => {
    const value = values.get(tag);
    return typeof value === 'string' && value !== '' && value !== '(none)' ? value : undefined;
  };
  const [name, version, release, epoch] = [
    text(TAGS.name),
    text(TAGS.version),
    text(TAGS.release),
    values.get(TAGS.epoch),
  ];
  if (name === undefined || version === undefined || release === undefined) return undefined;
  return {
    name,
    version,
    release,
    ...(typeof epoch === 'number' ? { epoch } : {}),
    arch: text(TAGS.arch),
    license: text(TAGS.license),
    vendor: text(TAGS.vendor),
    url: text(TAGS.url),
    sourceRpm: text(TAGS.sourceRpm),
  };
}

function damaged(why: string): ImagoError {
  return new ImagoError('BAD_RPM_DATABASE', `the RPM database cannot be read: ${why}`);
}
