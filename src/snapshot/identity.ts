import { closeSync, fstatSync, openSync } from 'node:fs';
import { deviceMajor, deviceMinor } from '../system/files.ts';
import { FS_MAGIC, statFs } from '../system/statfs.ts';
import { readUuid } from './mount-index.ts';

/**
 * Whether `mount` (any descriptor in it) is an EROFS of this UUID. An overlay takes any directory as a layer, so one
 * whose mount is gone would lose that layer without a word.
 */
export function isMountOf(mount: number, uuid: Uint8Array): boolean {
  const { type, fsid } = statFs(mount);
  if (type !== FS_MAGIC.EROFS) return false;
  if (fsid === foldUuid(uuid)) return true;
  // Older kernels make f_fsid of the device's number: ask the device itself.
  const device = fstatSync(mount).dev;
  if (deviceMajor(device) === 0) return false;
  const found = readDeviceUuid(device);
  return found !== undefined && Buffer.compare(found, uuid) === 0;
}

/** uuid_to_fsid of linux/statfs.h: both halves, xor. */
export function foldUuid(uuid: Uint8Array): bigint {
  const view = new DataView(uuid.buffer, uuid.byteOffset, 16);
  return view.getBigUint64(0, true) ^ view.getBigUint64(8, true);
}

/** The UUID on a loop device by its device number. */
export function readDeviceUuid(device: number): Buffer | undefined {
  const path = `/dev/loop${deviceMinor(device)}`;
  let fd: number;
  try {
    fd = openSync(path, 'r');
  } catch {
    return undefined;
  }
  try {
    return fstatSync(fd).rdev === device ? readUuid(fd, path) : undefined;
  } finally {
    closeSync(fd);
  }
}
