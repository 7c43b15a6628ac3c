import { createHash, hash } from 'node:crypto';
import { mkdirSync, readFileSync, utimesSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ByteString } from '../../core/bytes.ts';
import type { Store } from '../../store/store.ts';
import { replaceFile } from '../../system/atomic.ts';
import type { ContextNode } from '../context/context.ts';

/**
 * Younger than this when its directory was read, a file may be changed again without its times showing it
 * (git's "racy" entries): such a file is read again. Generous: some file systems count seconds.
 */
const RACY_MS = 2000;
/** What the file begins with. */
const FORMAT = 'imago stat 2\0';
/** Characters of the digest at its end. */
const DIGEST = 64;
/** Characters to write at once. */
const PIECE = 1 << 20;

/**
 * What is known of a context's files (`fileText`) by (device, inode, size, mtime, ctime, mode), so that an unchanged
 * file is not read again. One file a context under ROOT/cache/stat, best effort: losing it costs time only.
 */
export class StatCache {
  readonly #path: string;
  #old: Map<ByteString, [stamp: string, text: string]> | undefined;
  readonly #new: Map<ByteString, [stamp: string, text: string]> = new Map();
  #changed = false;

  constructor(store: Store, key: string) {
    this.#path = join(store.root, 'cache', 'stat', key);
  }

  get(node: ContextNode): string | undefined {
    this.#old ??= this.#load();
    const [stamp, text] = this.#new.get(node.name) ?? this.#old.get(node.name) ?? [];
    return stamp === node.stamp ? text : undefined;
  }

  /** `scanned`: when reading the context began, in ms since the epoch. */
  set(node: ContextNode, text: string, scanned: number): void {
    this.#changed = true;
    if (isRacy(node, scanned)) this.#new.delete(node.name);
    else this.#new.set(node.name, [node.stamp, text]);
  }

  /** Keeps what was seen in this build, and what was not asked for of the builds before. */
  save(): void {
    if (!this.#changed) return;
    replaceQuietly(this.#path, this.#pieces());
    this.#changed = false;
  }

  /** Names, stamps and texts with NULs behind them; in the end a digest, since nothing waits for the disk. */
  *#pieces(): Generator<Uint8Array> {
    const digest = createHash('sha256');
    let text = FORMAT;
    const flush = (): Buffer => {
      const piece = Buffer.from(text, 'latin1');
      digest.update(piece);
      text = '';
      return piece;
    };
    for (const [name, [stamp, known]] of new Map([...(this.#old ?? this.#load()), ...this.#new])) {
      text += `${name}\0${stamp}\0${known}\0`;
      if (text.length >= PIECE) yield flush();
    }
    yield flush();
    yield Buffer.from(digest.digest('hex'));
  }

  #load(): Map<ByteString, [string, string]> {
    const known = new Map<ByteString, [string, string]>();
    try {
      const bytes = readFileSync(this.#path);
      const body = bytes.subarray(0, -DIGEST);
      if (hash('sha256', body, 'hex') !== bytes.toString('latin1', body.length)) return known;
      const fields = body.toString('latin1').split('\0');
      if (`${fields[0]}\0` !== FORMAT) return known;
      for (let i = 1; i + 2 < fields.length; i += 3) known.set(fields[i]!, [fields[i + 1]!, fields[i + 2]!]);
    } catch {
      // Missing: everything is read again.
    }
    return known;
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
    if (this.get(fingerprint) !== digest) replaceQuietly(this.#path, `${fingerprint}\n${digest}\n`);
  }
}

/** Replaces a file that may be lost: no error where it cannot be written. */
function replaceQuietly(path: string, body: string | Iterable<Uint8Array>): void {
  try {
    mkdirSync(dirname(path), { recursive: true });
    replaceFile(path, body, { mode: 0o600, durable: false });
  } catch {
    // A full disk, say: the next build looks again.
  }
}
