import { statfsSync } from 'node:fs';

/** statfs(2) f_type of file systems on other machines, where flock, fsync and mounts by path are not to be relied on. */
const NETWORK = new Map<number, string>([
  [0x6969, 'NFS'],
  [0x517b, 'SMB'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB2'],
  [0x564c, 'NCP'],
  [0x5346414f, 'AFS'],
  [0x6b414653, 'kAFS'],
  [0x73757245, 'Coda'],
  [0x00c36400, 'Ceph'],
  [0x0bd00bd0, 'Lustre'],
]);

/** The name of the network file system that `path` lies on, or undefined for a local one. */
export function networkFileSystem(path: string): string | undefined {
  return NETWORK.get(statfsSync(path).type >>> 0);
}
