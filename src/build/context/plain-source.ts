import type { ByteString } from '../../core/bytes.ts';
import type { Time } from '../../core/time.ts';
import type { FileReader, SourceNode } from './source.ts';

const BLANK = {
  uid: 0,
  gid: 0,
  linkname: '',
  devmajor: 0,
  devminor: 0,
  identity: undefined,
  xattrs: () => undefined,
} as const;
const NO_CHILDREN: ReadonlyMap<ByteString, SourceNode> = new Map();
const EPOCH: Time = { sec: 0, nsec: 0 };

export interface PlainFile {
  mode: number;
  mtime: Time;
  size: number;
  open(): Pick<FileReader, 'read' | 'close'>;
}

/** A file of no directory and no image. It belongs to 0:0, has one name, and no attributes. */
export function plainFile({ mode, mtime, size, open }: PlainFile): SourceNode {
  const reader = (): FileReader => ({ ...open(), xattrs: BLANK.xattrs });
  return { ...BLANK, type: 'file', mode, mtime, size, children: () => NO_CHILDREN, open: reader };
}

/** The same of bytes in memory. */
export function bytesFile(bytes: Uint8Array, mode: number, mtime: Time = EPOCH): SourceNode {
  const read: FileReader['read'] = (buffer, offset, length, position) => {
    const part = bytes.subarray(position, position + length);
    buffer.set(part, offset);
    return part.length;
  };
  return plainFile({ mode, mtime, size: bytes.length, open: () => ({ read, close: () => {} }) });
}

/** A directory that belongs to 0:0, with these entries. */
export function plainDirectory(children: ReadonlyMap<ByteString, SourceNode> = NO_CHILDREN): SourceNode {
  const open = (): never => {
    throw new Error('not a file');
  };
  return { ...BLANK, type: 'directory', mode: 0o755, mtime: EPOCH, size: 0, children: () => children, open };
}
