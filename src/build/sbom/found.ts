import type { ByteString } from '../../core/bytes.ts';
import { lookup } from '../../tree/lookup.ts';
import type { TreeNode } from '../../tree/node.ts';
import type { ImageFiles } from '../context/image-source.ts';
import { readSource } from '../context/source.ts';

/** A package that an image has, by its own package manager's word. */
export interface FoundPackage {
  name: string;
  version: string;
  purl: string;
  /** As the package says it: an SPDX expression, or any words; a list of those that all hold. */
  license?: string | readonly string[];
  /** Who made it. */
  supplier?: string;
  homepage?: string;
  /** What it was built from, where that has another name. */
  source?: string;
  /** The file that told, 'a/b', and its kind in a few words. */
  origin: ByteString;
  kind: string;
}

export interface Found {
  packages: FoundPackage[];
  /** What could not be read, in words. */
  unread: string[];
}

const LARGEST_FILE = 64 * 2 ** 20;
export const LARGEST_DOCUMENT: number = 4 * 2 ** 20;
export const MOST_PACKAGES = 100_000;

/** The text of a file, links followed within the image; undefined where there is none, or where it is too large. */
export function readText(files: ImageFiles, path: ByteString, largest: number = LARGEST_FILE): string | undefined {
  const node = lookup(files.tree, path, { links: 'all' });
  return node === undefined ? undefined : textOf(files, node, largest);
}

export function textOf(files: ImageFiles, node: TreeNode, largest: number): string | undefined {
  if (node.type !== 'file' || node.size > largest) return undefined;
  return readSource(files.node(node)).toString('utf8');
}

/** Stanzas of RFC 822 fields, as dpkg and Python write them; names in lower case, the lines after the first joined. */
export function* stanzas(text: string): Generator<Map<string, string>> {
  let fields = new Map<string, string>();
  let last = '';
  for (const line of text.split('\n')) {
    if (line.trim() === '') {
      if (fields.size > 0) yield fields;
      fields = new Map();
      last = '';
    } else if (/^[ \t]/.test(line)) fields.set(last, `${fields.get(last) ?? ''}\n${line.trim()}`);
    else {
      const colon = line.indexOf(':');
      if (colon <= 0) continue;
      last = line.slice(0, colon).toLowerCase();
      if (!fields.has(last)) fields.set(last, line.slice(colon + 1).trim());
    }
  }
  if (fields.size > 0) yield fields;
}
