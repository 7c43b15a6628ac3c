import assert from 'node:assert/strict';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Digest } from '../../src/core/digest.ts';
import { foldUuid, isMountOf, readDeviceUuid } from '../../src/snapshot/identity.ts';
import { type NamedLayer, openLayerMounts, releaseLayerMounts } from '../../src/snapshot/layer-mounts.ts';
import { mountIndex, readIndexUuid } from '../../src/snapshot/mount-index.ts';
import { createOverlay, LOWER_PASSING, OVERLAY_OPTIONS } from '../../src/snapshot/overlay.ts';
import { dropPin, openPin } from '../../src/snapshot/pin.ts';
import { layerIndexPath, layerTarPath } from '../../src/store/layers.ts';
import { attachMount, closeFd, createMount, MNT_DETACH, umount } from '../../src/system/mount.ts';
import { FS_MAGIC, statFs } from '../../src/system/statfs.ts';
import { mountLines, Rig, skipReason } from './rig.ts';

describe('layer mounts', { skip: skipReason('erofs') }, () => {
  let rig: Rig;
  let layers: NamedLayer[];
  before(async () => {
    rig = new Rig('erofs');
    const ids = await Promise.all([1, 2, 3].map((n) => rig.layer([{ path: `f${n}`, type: 'file', content: `${n}` }])));
    layers = ids.map((id) => namedLayer(rig, id));
    openPin(rig.store.run);
  });
  after(() => rig[Symbol.dispose]());

  for (const passing of LOWER_PASSING) {
    it(`reach an overlay as ${passing}`, () => {
      const place = rig.place();
      const plain = rig.place();
      writeFileSync(join(plain, 'plain'), '');
      const lines = mountLines(rig.directory).length;
      const fds = openLayerMounts(layers, 'erofs', openPin(rig.store.run));
      const lowers = fds.map((fd) => ({ fd, detached: true }));
      const extra = openSync(plain, 'r');
      const overlay = createOverlay([...lowers, { fd: extra, detached: false }], OVERLAY_OPTIONS, 1, place, passing);
      for (const fd of [...fds, extra]) closeSync(fd);
      assert.deepEqual(readdirSync(`/proc/thread-self/fd/${overlay}`).sort(), ['f1', 'f2', 'f3', 'plain']);
      attachMount(overlay, place);
      closeFd(overlay);
      assert.equal(readFileSync(join(place, 'f2'), 'utf8'), '2');
      umount(place);
      assert.equal(mountLines(rig.directory).length, lines, 'nothing is left where it was staged');
    });
  }

  it('are made once, and shared', () => {
    const pin = openPin(rig.store.run)!;
    const devices = [1, 2].map(() => {
      const fds = openLayerMounts(layers, 'erofs', pin);
      const out = fds.map((fd) => statSync(`/proc/thread-self/fd/${fd}/.`).dev);
      for (const fd of fds) closeSync(fd);
      return out;
    });
    assert.deepEqual(devices[0], devices[1]);
    assert.deepEqual(
      pin.enter(() => readdirSync('/').sort()),
      layers.map(({ name }) => name).sort(),
    );
  });

  it('are checked: another mount in the place of one is not taken', () => {
    const pin = openPin(rig.store.run)!;
    releaseLayerMounts([layers[0]!.name], pin);
    const foreign = mountIndex(layers[1]!, 'erofs');
    pin.enterLocked(() => {
      mkdirSync(`/${layers[0]!.name}`);
      attachMount(foreign, `/${layers[0]!.name}`);
    });
    const [fd] = openLayerMounts([layers[0]!], 'erofs', pin);
    assert.deepEqual(readdirSync(`/proc/thread-self/fd/${fd}`), ['f1']);
    for (const each of [foreign, fd!]) closeFd(each);
    releaseLayerMounts([layers[0]!.name], pin);
    assert.ok(!pin.enter(() => existsSync(`/${layers[0]!.name}`)));
  });

  it('are told apart by file system and UUID', () => {
    const uuid = readIndexUuid(layers[0]!.index);
    const other = readIndexUuid(layers[1]!.index);
    const tmpfs = createMount('tmpfs', []);
    const mount = mountIndex(layers[0]!, 'erofs');
    assert.deepEqual([isMountOf(mount, uuid), isMountOf(mount, other), isMountOf(tmpfs, uuid)], [true, false, false]);
    assert.equal(statFs(mount).fsid, foldUuid(uuid), 'as uuid_to_fsid of the kernel');
    for (const fd of [tmpfs, mount]) closeFd(fd);
  });

  it('are told apart by their device where the kernel tells no UUID', { skip: skipReason('erofs-loop') }, () => {
    const mount = mountIndex(layers[0]!, 'erofs-loop');
    const found = readDeviceUuid(statSync(`/proc/thread-self/fd/${mount}/.`).dev);
    assert.deepEqual(found, readIndexUuid(layers[0]!.index));
    assert.equal(readDeviceUuid(statSync('/proc/self').dev), undefined);
    closeFd(mount);
  });

  it('are the command’s own where nothing can be pinned', () => {
    const fds = openLayerMounts(layers, 'erofs', undefined);
    assert.deepEqual(
      fds.map((fd) => readdirSync(`/proc/thread-self/fd/${fd}`)),
      [['f1'], ['f2'], ['f3']],
    );
    for (const fd of fds) closeSync(fd);
  });

  it('refuse writes even where a layer itself is reached', () => {
    const [fd] = openLayerMounts([layers[0]!], 'erofs', undefined);
    const path = `/proc/thread-self/fd/${fd}/f1`;
    assert.throws(() => writeFileSync(path, 'x'), { code: 'EROFS' });
    assert.throws(() => unlinkSync(path), { code: 'EROFS' });
    closeSync(fd!);
  });

  it('tell a damaged index from a missing one', async () => {
    const damaged = namedLayer(rig, await rig.layer([{ path: 'damaged', type: 'file', content: '' }]));
    const place = rig.place();
    const bytes = readFileSync(damaged.index);
    const flip = (offset: number): string => {
      const copy = Buffer.from(bytes);
      copy[offset]! ^= 1;
      const index = join(place, `${offset}`);
      writeFileSync(index, copy);
      return index;
    };
    const open = (index: string) => (): void => void openLayerMounts([{ ...damaged, index }], 'erofs', undefined);
    assert.throws(open(flip(1024)), { code: 'LAYER_DAMAGED' }, 'magic');
    assert.throws(open(flip(1060)), { code: 'LAYER_DAMAGED' }, 'checksum');
    assert.throws(open(join(place, 'none')), { code: 'LAYER_MISSING' });
  });
});

describe('the pinned namespace', { skip: skipReason('erofs') }, () => {
  it('is empty, of two lines in the mount table, and comes back where it was', () => {
    using rig = new Rig('erofs');
    const { run } = rig.store;
    const before = mountLines(rig.directory);
    const pin = openPin(run)!;
    assert.equal(mountLines(rig.directory).length, before.length + 2);
    assert.equal(
      pin.enter(() => statFs('/').type),
      FS_MAGIC.TMPFS,
    );
    const directory = process.cwd();
    assert.deepEqual(
      pin.enter(() => readdirSync('/')),
      [],
    );
    assert.equal(process.cwd(), directory);
    assert.ok(existsSync('/proc/self'), 'the root is the old one');
    assert.ok(openPin(run), 'again');
    assert.equal(mountLines(rig.directory).length, before.length + 2);
    dropPin(run);
    assert.deepEqual(mountLines(rig.directory), before);
    dropPin(run);
  });

  it('is made anew where only half of it was left', () => {
    using rig = new Rig('erofs');
    const { run } = rig.store;
    openPin(run);
    umount(join(run, 'mnt', 'ns'), MNT_DETACH);
    const pin = openPin(run)!;
    assert.deepEqual(
      pin.enter(() => readdirSync('/')),
      [],
    );
    assert.equal(mountLines(join(run, 'mnt')).length, 2);
  });
});

function namedLayer(rig: Rig, id: Digest): NamedLayer {
  return { name: `test-${id.slice(7, 19)}`, index: layerIndexPath(rig.store, id), tars: [layerTarPath(rig.store, id)] };
}
