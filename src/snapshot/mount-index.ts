import { closeSync, openSync, readSync } from 'node:fs';
import { ImagoError } from '../core/errors.ts';
import { SystemError } from '../system/call.ts';
import { closeLoopDevice, type LoopDevice, openLoopDevice } from '../system/loop.ts';
import { createMount, type FsOption } from '../system/mount.ts';
import type { Backend, IndexedLayer } from './backend.ts';

/** On-disk superblock: magic at 1024, UUID at 1024 + 48 (linux/fs/erofs/erofs_fs.h). */
const MAGIC_OFFSET = 1024;
const MAGIC = 0xe0f5e1e2;
const UUID_OFFSET = 48;

/**
 * A detached read-only mount of an index with its tars as devices; the caller closes the descriptor.
 * Throws `LAYER_MISSING`, `LAYER_DAMAGED`, or the kernel's reason as `SystemError`.
 */
export function mountIndex(layer: IndexedLayer, backend: Exclude<Backend, 'unpacked'>): number {
  const files: number[] = [];
  const devices: LoopDevice[] = [];
  const name = (path: string): string => {
    const fd = openLayerFile(path);
    files.push(fd);
    // By descriptor: an option's value ends at 255 bytes, and at a comma in older kernels.
    if (backend === 'erofs') return `/proc/thread-self/fd/${fd}`;
    const device = openLoopDevice(fd, path);
    devices.push(device);
    return device.path;
  };
  try {
    const options: FsOption[] = [
      ['source', name(layer.index)],
      ...layer.tars.map((tar): FsOption => ['device', name(tar)]),
    ];
    if (layer.directIo !== true || backend !== 'erofs') return createMount('erofs', ['ro', ...options]);
    try {
      return createMount('erofs', ['ro', 'directio', ...options]);
    } catch (error) {
      // The option came after files as sources did; without it the layer mounts, too.
      if (!(error instanceof SystemError && error.code === 'EINVAL')) throw error;
      return createMount('erofs', ['ro', ...options]);
    }
  } finally {
    for (const device of devices) closeLoopDevice(device);
    for (const fd of files) closeSync(fd);
  }
}

function openLayerFile(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (cause) {
    throw new ImagoError('LAYER_MISSING', 'a file of a layer is missing', {
      op: 'mount',
      path,
      remedy: "'imago verify' says what it belonged to; pull or load the image again",
      cause,
    });
  }
}

/** The 16 bytes of an index's UUID. Throws `LAYER_MISSING`, `LAYER_DAMAGED`. */
export function readIndexUuid(path: string): Buffer {
  const fd = openLayerFile(path);
  try {
    return readUuid(fd, path);
  } finally {
    closeSync(fd);
  }
}

export function readUuid(fd: number, path: string): Buffer {
  const buffer = Buffer.alloc(128);
  if (readSync(fd, buffer, 0, 128, MAGIC_OFFSET) < 128 || buffer.readUInt32LE(0) !== MAGIC) {
    throw new ImagoError('LAYER_DAMAGED', "a layer's index is not an EROFS image", {
      op: 'mount',
      path,
      remedy: "'imago verify' makes it again from the layer's tar",
    });
  }
  return buffer.subarray(UUID_OFFSET, UUID_OFFSET + 16);
}
