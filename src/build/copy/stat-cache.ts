import { mkdirSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ByteString } from '../../core/bytes.ts';
import type { Store } from '../../store/store.ts';
import { uniqueName } from '../../system/atomic.ts';
import type { ContextNode } from '../context/context.ts';

/**
 * Younger than this when its directory was read, a file may be changed again without its times showing it
 * (git's "racy" entries): such a file is read again. Generous: some file systems count seconds.
 */
const RACY_MS = 2000;
const FORMAT = 1;

/**
 * What is known of a context's files (`fileText`) by (device, inode, size, mtime, ctime, mode), so that an unchanged file is not read
 * again. One file a context under ROOT/cache/stat, best effort: losing it costs time only.
 */
export class StatCache {
  readonly #path: string;
  readonly #scanned: number;
  #old: Map<ByteString, [stamp: string, text: string]> | undefined;
  readonly #new: Map<ByteString, [stamp: string, text: string]> = new Map();
  #changed = false;

  /** `scanned`: when reading the context began, in ms since the epoch. */
  constructor(store: Store, key: string, scanned: number) {
    this.#path = join(store.root, 'cache', 'stat', `${key}.json`);
    this.#scanned = scanned;
  }

  get(node: ContextNode): string | undefined {
    this.#old ??= this.#load();
    const [stamp, text] = this.#old.get(node.name) ?? [];
    if (stamp === undefined || stamp !== node.stamp) return undefined;
    this.#new.set(node.name, [stamp, text!]);
    return text;
  }

  set(node: ContextNode, text: string): void {
    this.#changed = true;
    if (isRacy(node, this.#scanned)) this.#new.delete(node.name);
    else this.#new.set(node.name, [node.stamp, text]);
  }

  /** Keeps what was seen in this build, and what was not asked for of the builds before. */
  save(): void {
    if (!this.#changed) return;
    const all = new Map([...(this.#old ?? this.#load()), ...this.#new]);
    const body = JSON.stringify({ format: FORMAT, files: [...all].map(([name, value]) => [name, ...value]) });
    writeQuietly(this.#path, body);
    this.#changed = false;
  }

  #load(): Map<ByteString, [string, string]> {
    try {
      const { format, files } = JSON.parse(readFileSync(this.#path, 'utf8')) as {
        format: number;
        files: [string, string, string][];
      };
      if (format === FORMAT) return new Map(files.map(([name, stamp, text]) => [name, [stamp, text]]));
    } catch {
      // Missing or damaged: everything is read again.
    }
    return new Map();
  }
}

/** By ctime alone: whatever changes a file changes it, and nobody can set it. */
export function isRacy({ changed }: ContextNode, scanned: number): boolean {
  return changed + RACY_MS >= scanned;
}

/**
 * The digest of everything that a COPY takes, by a fingerprint that costs no reading: of stats for a context, of the
 * layers for a stage or an image. One small file a key under ROOT/cache/inputs.
 */
export class InputMemo {
  readonly #path: string;

  constructor(store: Store, key: string) {
    this.#path = join(store.root, 'cache', 'inputs', key);
  }

  get(fingerprint: string): string | undefined {
    try {
      const [known, digest] = readFileSync(this.#path, 'latin1').split('\n');
      if (known !== fingerprint || !/^[0-9a-f]{64}$/.test(digest ?? '')) return undefined;
      // Its age is the time since its last use: prune goes by it.
      utimesSync(this.#path, new Date(), new Date());
      return digest;
    } catch {
      return undefined;
    }
  }

  set(fingerprint: string, digest: string): void {
    writeQuietly(this.#path, `${fingerprint}\n${digest}\n`);
  }
}

/** Replaces a file that may be lost: no sync, and no error where it cannot be written. */
function writeQuietly(path: string, body: string): void {
  const temporary = `${path}.${uniqueName()}`;
  try {
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(temporary, body, { mode: 0o600 });
    renameSync(temporary, path);
  } catch {
    rmSync(temporary, { force: true });
  }
}
