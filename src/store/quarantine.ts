import { readFileSync } from 'node:fs';
import type { Digest } from '../core/digest.ts';
import { quarantinePath } from './layout.ts';

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
