import { createHash, type Hash, hash } from 'node:crypto';
import { type ByteString, compareByteStrings } from '../../core/bytes.ts';
import { ContextNode } from '../context/context.ts';
import type { SourceNode } from '../context/source.ts';
import type { Selected } from './select.ts';
import { isRacy, type StatCache } from './stat-cache.ts';

/** Per file: sha256 of its bytes in hex, and its xattrs. */
export type FileTexts = Map<SourceNode, string>;

/** Characters to hash at once. */
const PIECE = 1 << 16;

export interface InputOptions {
  /** Owners count: they are copied. */
  owners: boolean;
}

/**
 * One digest over all that a copy takes of its sources and that can show in its layer: names, types, modes, contents,
 * link targets, xattrs, device numbers, which names are one file, and the owners where they are copied. Not the times,
 * and not the context's owners: a COPY of a fresh checkout must hit.
 */
export function digestInputs(
  sources: readonly (readonly Selected[])[],
  textOfFile: (node: SourceNode) => string,
  options: InputOptions,
): string {
  const fields = new FieldHash();
  const links = new Map<unknown, number>();
  const add = (path: ByteString, node: SourceNode): void => {
    const owner = options.owners ? ` ${node.uid}:${node.gid}` : '';
    fields.add(path);
    fields.add(`${node.type} ${node.mode.toString(8)}${owner}`);
    fields.add(describe(node, textOfFile));
    fields.add(linkNumber(links, node));
  };
  for (const operand of sources) {
    fields.add(`operand\0${operand.length}`);
    for (const { name, node, below } of operand) {
      // Of a directory only the contents are copied.
      if (node.type === 'directory') fields.add(`contents\0${below.length}`);
      else add(name, node);
      for (const file of below) add(file.path, file.node);
    }
  }
  return fields.digest();
}

/**
 * Fields with NULs between them, hashed as they come: there may be millions. Names and targets hold no NUL, so nothing
 * can shift between fields.
 */
class FieldHash {
  readonly #hash: Hash = createHash('sha256');
  #text = '';
  #first = true;

  add(field: ByteString): void {
    this.#text += this.#first ? field : `\0${field}`;
    this.#first = false;
    if (this.#text.length < PIECE) return;
    this.#hash.update(this.#text, 'latin1');
    this.#text = '';
  }

  digest(): string {
    return this.#hash.update(this.#text, 'latin1').digest('hex');
  }
}

function describe(node: SourceNode, textOfFile: (node: SourceNode) => string): string {
  if (node.type === 'file') return textOfFile(node);
  const xattrs = formatXattrs(node.xattrs());
  if (node.type === 'symlink') return `${node.linkname}\0${xattrs}`;
  return node.type === 'char' || node.type === 'block' ? `${node.devmajor}:${node.devminor}${xattrs}` : xattrs;
}

/** What a file's entry in `FileTexts` is. */
export function fileText(digest: string, xattrs: ReadonlyMap<ByteString, Uint8Array> | undefined): string {
  return digest + formatXattrs(xattrs);
}

function formatXattrs(xattrs: ReadonlyMap<ByteString, Uint8Array> | undefined): string {
  if (xattrs === undefined || xattrs.size === 0) return '';
  const sorted = [...xattrs].sort(([a], [b]) => compareByteStrings(a, b));
  return sorted.map(([name, value]) => ` ${hash('sha256', name, 'hex')}=${hash('sha256', value, 'hex')}`).join('');
}

/** Which files are one file; alone among those taken, a name says nothing. */
function linkNumber(links: Map<unknown, number>, { identity }: SourceNode): string {
  if (identity === undefined) return '';
  const known = links.get(identity);
  if (known === undefined) links.set(identity, links.size);
  return known === undefined ? '' : `link ${known}`;
}

/**
 * Changes whenever a file of a context changes, for the price of the stats that were made anyway. Undefined where a
 * file is too young to tell, or not from a context.
 */
export function fingerprintContext(sources: readonly (readonly Selected[])[], scanned: number): string | undefined {
  const fields = new FieldHash();
  const add = (path: ByteString, node: SourceNode): boolean => {
    if (!(node instanceof ContextNode)) return false;
    if (node.type === 'directory') {
      // Its times change with entries that may be ignored; those that are not are looked at one by one.
      fields.add(path);
      fields.add(`directory ${node.mode.toString(8)}${formatXattrs(node.xattrs())}`);
      return true;
    }
    fields.add(path);
    fields.add(node.stamp);
    return !isRacy(node, scanned);
  };
  for (const operand of sources) {
    fields.add(`operand\0${operand.length}`);
    for (const { name, node, below } of operand) {
      if (node.type === 'directory') fields.add(`contents\0${below.length}`);
      else if (!add(name, node)) return undefined;
      for (const file of below) if (!add(file.path, file.node)) return undefined;
    }
  }
  return fields.digest();
}

/**
 * Reads only what neither `known` nor the stat cache knows; what it reads goes into both. `scanned`: when reading the
 * context began, in ms since the epoch.
 */
export function fileTextReader(
  known: FileTexts,
  remembered?: { cache: StatCache; scanned: number },
): (node: SourceNode) => string {
  let buffer: Buffer | undefined;
  return (node) => {
    const noted = node instanceof ContextNode ? remembered : undefined;
    const old = known.get(node) ?? noted?.cache.get(node as ContextNode);
    if (old !== undefined) return old;
    buffer ??= Buffer.allocUnsafeSlow(1 << 20);
    const text = readFileText(node, buffer);
    known.set(node, text);
    noted?.cache.set(node as ContextNode, text, noted.scanned);
    return text;
  };
}

function readFileText(node: SourceNode, buffer: Buffer): string {
  const reader = node.open();
  try {
    const first = reader.read(buffer, 0, buffer.length, 0);
    if (first < buffer.length && first === node.size) {
      return fileText(hash('sha256', buffer.subarray(0, first), 'hex'), reader.xattrs());
    }
    const hasher = createHash('sha256');
    let at = 0;
    for (let got = first; got > 0; got = reader.read(buffer, 0, buffer.length, at)) {
      hasher.update(buffer.subarray(0, got));
      at += got;
    }
    return fileText(hasher.digest('hex'), reader.xattrs());
  } finally {
    reader.close();
  }
}
