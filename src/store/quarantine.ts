import { readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Digest } from '../core/digest.ts';
import { replaceFile, syncDirectory, uniqueName } from '../system/atomic.ts';
import { FILES } from './layer-job.ts';
import { blobDirectory, quarantinePath } from './layout.ts';
import type { Store } from './store.ts';

/** What verify knew about a damaged blob when it set it aside; written beside it as <name>.json. */
export interface QuarantineReport {
  digest: Digest;
  /** Where the damaged bytes are now. */
  path: string;
  /** What it was: 'layer tar', 'manifest', … */
  kind: string;
  reason: string;
  /** References of the images that it belonged to. */
  references: string[];
  remedy: string;
  /** ISO 8601. */
  found: string;
}

export function findQuarantined(root: string, digest: Digest): QuarantineReport | undefined {
  try {
    return JSON.parse(readFileSync(`${quarantinePath(root, digest)}.json`, 'utf8')) as QuarantineReport;
  } catch {
    return undefined;
  }
}

/**
 * Takes a blob out of the store: from here on it is missing, and whoever asks for it is told why. False where the
 * file is not the one that was found damaged any more (`inode`): pruned, or replaced.
 */
export function quarantineBlob(store: Store, report: QuarantineReport, inode: number): boolean {
  using _lock = store.lock('exclusive');
  const path = store.blobPath(report.digest);
  if (statSync(path, { throwIfNoEntry: false })?.ino !== inode) return false;
  // The report first: it speaks only once the blob is missing.
  replaceFile(`${report.path}.json`, `${JSON.stringify(report, undefined, 2)}\n`, {
    temporary: join(store.root, 'ingest', `tmp-${uniqueName()}`),
  });
  // A layer without its tar is none; where its compressed forms came from stays known.
  dropLayerFiles(store, report.digest);
  renameSync(path, report.path);
  syncDirectory(blobDirectory(store.root, report.digest));
  syncDirectory(join(store.root, 'quarantine'));
  return true;
}

function dropLayerFiles(store: Store, diffId: Digest): void {
  for (const name of [FILES.record, FILES.index]) rmSync(join(store.layerDirectory(diffId), name), { force: true });
}

/** Sets the record of a reference aside, which is damaged itself. Returns where it is now. */
export function quarantineRef(store: Store, path: string): string {
  const target = join(store.root, 'quarantine', `ref-${basename(path)}`.slice(0, 255));
  renameSync(path, target);
  return target;
}
