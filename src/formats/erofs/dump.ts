import { type ByteString, displayName } from '../../core/bytes.ts';
import { type IndexEntry, IndexReader } from './read.ts';

/**
 * An index as text, for people and goldens: a line for the image, one a device, one a name:
 * `/path type mode uid:gid size mtime nlink #inode`, then `-> target`, `dev=`, `data=device@start+length`, `name=value`.
 * Inodes are numbered in the order of their first names.
 */
export function dumpIndex(image: Uint8Array): string {
  const reader = new IndexReader(image);
  const { uuid, inodes, devices } = reader.index;
  const lines = [`erofs uuid=${uuid} inodes=${inodes} size=${image.length}`];
  devices.forEach(({ blocks, start }, i) => {
    lines.push(`device ${i + 1} blocks=${blocks} start=${start}`);
  });
  const numbers = new Map<number, number>();
  for (const entry of reader.entries()) {
    if (!numbers.has(entry.nid)) numbers.set(entry.nid, numbers.size + 1);
    lines.push(formatEntry(entry, numbers.get(entry.nid)!));
  }
  return `${lines.join('\n')}\n`;
}

function formatEntry(entry: IndexEntry, number: number): string {
  const { mtime } = entry;
  const fields = [
    `/${displayName(entry.path)}`,
    entry.type,
    entry.mode.toString(8).padStart(4, '0'),
    `${entry.uid}:${entry.gid}`,
    String(entry.size),
    mtime.nsec === 0 ? String(mtime.sec) : `${mtime.sec}+${String(mtime.nsec).padStart(9, '0')}ns`,
    `nlink=${entry.nlink}`,
    `#${number}`,
  ];
  if (entry.type === 'symlink') fields.push(`-> ${displayName(entry.target)}`);
  if (entry.type === 'char' || entry.type === 'block') fields.push(`dev=${entry.devmajor}:${entry.devminor}`);
  for (const { device, start, length } of entry.extents) {
    fields.push(device < 0 ? `hole+${length}` : `data=${device}@${start}+${length}`);
  }
  for (const [name, value] of entry.xattrs) fields.push(`${displayName(name)}=${formatValue(value)}`);
  return fields.join(' ');
}

function formatValue(value: Uint8Array): string {
  let hex = '';
  let text: ByteString = '';
  for (const byte of value) {
    hex += byte.toString(16).padStart(2, '0');
    text += String.fromCharCode(byte);
  }
  return /^[\x21-\x7e]*$/.test(text) ? `"${text}"` : `0x${hex}`;
}
