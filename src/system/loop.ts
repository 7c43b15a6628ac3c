import { closeSync, constants, openSync } from 'node:fs';
import { bindCall, SystemError } from './call.ts';
import { mknod } from './files.ts';

const ioctlCall = bindCall<[number, number, number | Buffer]>('ioctl', ['int', 'ulong', 'void *'], 'int');
const ioctlValueCall = bindCall<[number, number, number]>('ioctl', ['int', 'ulong', 'long'], 'int');

/** linux/loop.h. LOOP_CONFIGURE is of Linux 5.8. */
const LOOP_CONFIGURE = 0x4c0a;
const LOOP_CTL_GET_FREE = 0x4c82;
const LO_FLAGS = { READ_ONLY: 1, AUTOCLEAR: 4, DIRECT_IO: 16 } as const;
/** struct loop_config: u32 fd, u32 block_size, struct loop_info64 (232 bytes, lo_flags at 52, lo_file_name at 56), 8 × u64. */
const CONFIG_SIZE = 304;
const CONFIG_FLAGS = 8 + 52;
const CONFIG_NAME = 8 + 56;
const LOOP_MAJOR = 7;

/** A configured loop device. It clears itself when the last opener is gone: this descriptor, or a mount of it. */
export interface LoopDevice {
  path: string;
  fd: number;
}

/**
 * Sets up a read-only, self-clearing loop device over an open file. Works without udev: a missing device node is made.
 * Throws `SystemError` (ENOENT: no loop driver; EPERM, EACCES: not allowed here).
 */
export function openLoopDevice(file: number, name: string, options: { directIo?: boolean } = {}): LoopDevice {
  const config = Buffer.alloc(CONFIG_SIZE);
  config.writeUInt32LE(file, 0);
  config.writeUInt32LE(512, 4);
  const flags = LO_FLAGS.READ_ONLY | LO_FLAGS.AUTOCLEAR | (options.directIo === true ? LO_FLAGS.DIRECT_IO : 0);
  config.writeUInt32LE(flags, CONFIG_FLAGS);
  config.write(name.slice(-63), CONFIG_NAME, 63, 'latin1');
  const control = openSync('/dev/loop-control', 'r+');
  try {
    for (let attempt = 0; ; attempt++) {
      const number = ioctlValueCall('/dev/loop-control', control, LOOP_CTL_GET_FREE, 0);
      const path = `/dev/loop${number}`;
      const fd = openDevice(path, number);
      try {
        ioctlCall(path, fd, LOOP_CONFIGURE, config);
        return { path, fd };
      } catch (error) {
        closeSync(fd);
        // Another process took the number between the two calls.
        if (!(error instanceof SystemError && error.code === 'EBUSY' && attempt < 64)) throw error;
      }
    }
  } finally {
    closeSync(control);
  }
}

function openDevice(path: string, number: number): number {
  try {
    return openSync(path, constants.O_RDONLY);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    mknod(path, 0o060600, LOOP_MAJOR, number);
    return openSync(path, constants.O_RDONLY);
  }
}

/** Closes the descriptor; where nothing was mounted from the device, that frees it. */
export function closeLoopDevice(device: LoopDevice): void {
  closeSync(device.fd);
}
