import assert from 'node:assert/strict';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { describe, it } from 'node:test';
import { closeLoopDevice, type LoopDevice, openLoopDevice } from '../../src/system/loop.ts';

const skip = process.getuid?.() !== 0 || !existsSync('/dev/loop-control') ? 'needs root and loop devices' : false;

describe('loop devices', { skip }, () => {
  it('show a file read-only, each its own, and free themselves', () => {
    const directory = mkdtempSync(join(tmpdir(), 'imago-loop-'));
    try {
      const path = join(directory, 'file');
      writeFileSync(path, Buffer.alloc(5 * 512, 'imago'));
      const file = openSync(path, 'r');
      const devices = [openLoopDevice(file, path), openLoopDevice(file, path)];
      closeSync(file);
      assert.notEqual(devices[0]!.path, devices[1]!.path);
      for (const device of devices) {
        assert.equal(backingFile(device), path);
        assert.equal(contentOf(device).compare(readFileSync(path)), 0);
        assert.equal(readFileSync(`/sys/block/${basename(device.path)}/ro`, 'utf8'), '1\n');
        assert.throws(() => writeSync(device.fd, 'x'), { code: 'EBADF' });
        closeLoopDevice(device);
      }
      assert.notEqual(backingFile(devices[0]!), path);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

function contentOf(device: LoopDevice): Buffer {
  const buffer = Buffer.alloc(4096);
  return buffer.subarray(0, readSync(device.fd, buffer, 0, 4096, 0));
}

/** Undefined where the device is free, or another's by now. */
function backingFile(device: LoopDevice): string | undefined {
  const path = `/sys/block/${basename(device.path)}/loop/backing_file`;
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : undefined;
}
