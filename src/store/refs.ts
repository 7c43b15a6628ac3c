import { readdirSync, readFileSync, unlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { isDigest } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { replaceFile, syncDirectory, uniqueName } from '../system/atomic.ts';
import { explainWrites } from './errors.ts';
import type { Store } from './store.ts';

export interface RefRecord {
  /** Normalised, in full: docker.io/library/debian:bookworm. */
  reference: string;
  descriptor: Descriptor;
}

/** Names of files end at 255 bytes; an escaped reference may be longer (repository ≤ 255, tag ≤ 128). */
const LONGEST_NAME = 240;

/** The file of a reference: '/' and '%' as %XX, and a hash where that would be too long. */
function refFileName(reference: string): string {
  const escaped = reference.replace(
    /[^A-Za-z0-9._:@+-]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
  if (escaped.length <= LONGEST_NAME && !escaped.startsWith('.')) return escaped;
  // Loaded here only: few references are this long, and loading crypto takes 12 ms.
  const { createHash } = process.getBuiltinModule('node:crypto');
  return `%long-${createHash('sha256').update(reference).digest('hex')}`;
}

function refPath(root: string, reference: string): string {
  return join(root, 'refs', refFileName(reference));
}

function readRefFile(path: string): RefRecord | undefined {
  try {
    const record = JSON.parse(readFileSync(path, 'utf8')) as RefRecord;
    if (typeof record.reference === 'string' && isDigest(record.descriptor.digest)) return record;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') return undefined;
    if (code !== undefined && code !== 'EISDIR') throw error;
    // Told below, as any other damage.
  }
  throw new ImagoError('REF_DAMAGED', 'the record of a reference is damaged', {
    path,
    remedy: "'imago verify' sets it aside; then tag or pull the image again",
  });
}

/** What the file's name says; the hashed ones say nothing. */
export function referenceOfFile(path: string): string {
  return basename(path).replace(/%([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** Damaged records are left out, and told: one of them must not keep the others from being used. */
export function listRefs(root: string, onDamaged?: (path: string, error: ImagoError) => void): RefRecord[] {
  const out: RefRecord[] = [];
  for (const name of readdirSync(join(root, 'refs'))) {
    if (name.startsWith('.')) continue;
    const path = join(root, 'refs', name);
    try {
      const record = readRefFile(path);
      if (record !== undefined) out.push(record);
    } catch (error) {
      if (!(error instanceof ImagoError)) throw error;
      onDamaged?.(path, error);
    }
  }
  return out.sort((a, b) => (a.reference < b.reference ? -1 : a.reference > b.reference ? 1 : 0));
}

export function getRef(root: string, reference: string): Descriptor | undefined {
  return readRefFile(refPath(root, reference))?.descriptor;
}

export function setRef(store: Store, reference: string, descriptor: Descriptor): void {
  using _lock = store.lock('shared');
  if (!store.hasBlob(descriptor.digest)) {
    throw new ImagoError('BLOB_MISSING', 'cannot tag what is not in the store', {
      ref: reference,
      want: descriptor.digest,
      remedy: 'it may have been pruned meanwhile: try again',
    });
  }
  explainWrites(store.root, () =>
    replaceFile(refPath(store.root, reference), `${JSON.stringify({ reference, descriptor })}\n`, {
      temporary: join(store.root, 'ingest', `tmp-${uniqueName()}`),
    }),
  );
}

export function deleteRef(store: Store, reference: string): boolean {
  try {
    explainWrites(store.root, () => unlinkSync(refPath(store.root, reference)));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
  syncDirectory(join(store.root, 'refs'));
  return true;
}
