import { displayName } from '../../src/core/bytes.ts';
import { isImagoError } from '../../src/core/errors.ts';
import type { TarEntry } from '../../src/formats/tar/entry.ts';
import { TarScanner } from '../../src/formats/tar/scan.ts';

/** All that is known of an entry on one line, for people and goldens. */
export function formatEntry(e: TarEntry): string {
  const parts = [
    e.type.padEnd(9),
    e.mode.toString(8).padStart(4, '0'),
    `${e.uid}/${e.gid}`,
    `${displayName(e.uname)}/${displayName(e.gname)}`,
    `${e.mtime.sec}+${String(e.mtime.nsec).padStart(9, '0')}`,
    String(e.size),
    displayName(e.path),
  ];
  if (e.linkname !== '') parts.push(`-> ${displayName(e.linkname)}`);
  if (e.devmajor || e.devminor) parts.push(`dev ${e.devmajor}:${e.devminor}`);
  if (e.sparse) parts.push(`sparse [${e.sparse.map((s) => `${s.offset}+${s.length}@${s.dataOffset}`).join(' ')}]`);
  for (const [name, value] of [...(e.xattrs ?? [])].sort()) {
    parts.push(`${displayName(name)}=${Buffer.from(value).toString('hex')}`);
  }
  if (e.dirtyPadding) parts.push(`dirty, tail ${Buffer.from(e.tail!).toString('hex')}`);
  return `${parts.join(' ')} @${e.headerOffset} data ${e.dataOffset}+${e.dataSize}\n`;
}

/** The listing of a whole tar; an error ends it with a line of its code and message. */
export function listTar(tar: Uint8Array, chunk: number = tar.length): string {
  let out = '';
  const scanner = new TarScanner({
    entry: (entry) => {
      out += formatEntry(entry);
    },
  });
  try {
    for (let at = 0; at < tar.length; at += chunk) scanner.push(tar.subarray(at, Math.min(at + chunk, tar.length)));
    scanner.finish();
  } catch (error) {
    if (!isImagoError(error)) throw error;
    return `${out}${error.code}: ${error.message}\n`;
  }
  return `${out}${scanner.ended ? 'end' : 'end missing'}\n`;
}
