import { bindCall, cPath, type PathLike } from './call.ts';

const statfsCall = bindCall<[Buffer, Buffer]>('statfs', ['void *', 'void *'], 'int');
const fstatfsCall = bindCall<[number, Buffer]>('fstatfs', ['int', 'void *'], 'int');

/** f_type of the file systems that Imago must tell apart (linux/magic.h). */
export const FS_MAGIC = {
  EROFS: 0xe0f5e1e2,
  NSFS: 0x6e736673,
  OVERLAY: 0x794c7630,
  TMPFS: 0x01021994,
  NFS: 0x6969,
  SMB: 0x517b,
  SMB2: 0xfe534d42,
  CIFS: 0xff534d42,
  NINEP: 0x01021997,
  CEPH: 0x00c36400,
  FUSE: 0x65735546,
} as const;

/** What statfs(2) says of identity: the magic number, and f_fsid as one number (low word first). */
export interface FsIdentity {
  type: number;
  fsid: bigint;
}

export function statFs(target: PathLike | number): FsIdentity {
  // struct statfs of 64-bit Linux: f_type at 0, f_fsid at 56; 120 bytes.
  const buffer = Buffer.alloc(128);
  if (typeof target === 'number') fstatfsCall(undefined, target, buffer);
  else statfsCall(target, cPath(target), buffer);
  return { type: buffer.readUInt32LE(0), fsid: buffer.readBigUInt64LE(56) };
}
