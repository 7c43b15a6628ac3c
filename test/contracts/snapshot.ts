import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Digest } from '../../src/core/digest.ts';
import { isImagoError } from '../../src/core/errors.ts';
import type { Backend } from '../../src/snapshot/backend.ts';
import { MAX_LOWERS } from '../../src/snapshot/overlay.ts';
import { releaseHooks } from '../../src/snapshot/release.ts';
import { readUpperChanges } from '../../src/snapshot/upper-changes.ts';
import { writeUpperTar } from '../../src/snapshot/upper-tar.ts';
import { readLayerEntries } from '../../src/store/layer-entries.ts';
import { mknod, setTimes } from '../../src/system/files.ts';
import { getXattr, setXattr } from '../../src/system/xattr.ts';
import { mergeLayers } from '../../src/tree/merge.ts';
import { compareTrees, describeTree } from '../erofs/lab.ts';
import { type Member, mountLines, Rig, skipReason } from '../snapshot/rig.ts';

const HOLDER = new URL('../snapshot/hold-mount.ts', import.meta.url).pathname;

/** What every backend has to do, however it does it. */
export function snapshotContract(backend: Backend): void {
  describe(`snapshots by ${backend}`, { skip: skipReason(backend) }, () => {
    let rig: Rig;
    before(() => {
      rig = new Rig(backend);
    });
    after(() => {
      for (const child of holders) child.kill('SIGKILL');
      rig[Symbol.dispose]();
    });

    it('shows a real tree as it was', async () => {
      const source = rig.place();
      fillTree(source);
      const { root, unmount } = await rig.mount([await rig.layerOfDirectory(source)], { readonly: true });
      assert.equal(compareTrees(describe_(root), describe_(source)), '');
      unmount();
    });

    it('refuses writes into a read-only root, and layers stay as they were', async () => {
      const layer = await rig.layer([file('etc/a', 'old')]);
      const { root, unmount } = await rig.mount([layer], { readonly: true });
      assert.throws(() => writeFileSync(join(root, 'etc/a'), 'new'), { code: 'EROFS' });
      assert.throws(() => unlinkSync(join(root, 'etc/a')), { code: 'EROFS' });
      assert.equal(readFileSync(join(root, 'etc/a'), 'utf8'), 'old');
      unmount();
    });

    for (const count of [1, 3, 127, 300]) {
      it(`stacks ${count} layers`, async () => {
        const layers = await manyLayers(rig, count);
        const { root, unmount } = await rig.mount(layers);
        assert.equal(readdirSync(root).length, count + 1);
        assert.equal(readFileSync(join(root, 'top'), 'utf8'), `${count - 1}`);
        unmount();
      });
    }

    it(`stacks ${MAX_LOWERS} layers, and refuses one more before anything is done`, async () => {
      const layers = await manyLayers(rig, MAX_LOWERS + 1);
      const full = await rig.mount(layers.slice(0, MAX_LOWERS));
      assert.equal(readdirSync(full.root).length, MAX_LOWERS + 1);
      full.unmount();
      const lines = mountLines(rig.directory);
      await assert.rejects(rig.mount(layers), { code: 'TOO_MANY_LAYERS' });
      const target = rig.place();
      const [upper, work] = [rig.place(), rig.place()];
      const late = (): void => rig.snapshotter.mountRootfs({ diffIds: layers, upper, work, target });
      assert.throws(late, { code: 'TOO_MANY_LAYERS' });
      assert.deepEqual([readdirSync(upper), readdirSync(work), mountLines(rig.directory)], [[], [], lines]);
    });

    it('hides what whiteouts and opaque directories delete', async () => {
      const lower = await rig.layer([
        file('gone', '1'),
        file('kept', '1'),
        directory('d'),
        file('d/x', '1'),
        directory('o'),
        file('o/old', '1'),
        directory('replaced'),
        file('replaced/x', '1'),
      ]);
      const upper = await rig.layer([
        file('.wh.gone', ''),
        directory('d'),
        file('d/.wh.x', ''),
        directory('o'),
        file('o/.wh..wh..opq', ''),
        file('o/new', '2'),
        file('replaced', 'a file now'),
        directory('only'),
        file('only/.wh.nothing', ''),
      ]);
      const { root, unmount } = await rig.mount([lower, upper]);
      assert.deepEqual(readdirSync(root).sort(), ['d', 'kept', 'o', 'only', 'replaced']);
      assert.deepEqual(readdirSync(join(root, 'd')), []);
      assert.deepEqual(readdirSync(join(root, 'o')), ['new']);
      assert.deepEqual(readdirSync(join(root, 'only')), []);
      assert.equal(readFileSync(join(root, 'replaced'), 'utf8'), 'a file now');
      unmount();
    });

    it('starts over at a layer whose root is opaque', async () => {
      const lower = await rig.layer([{ ...directory('./'), mode: 0o700 }, file('gone', '1')]);
      const upper = await rig.layer([file('.wh..wh..opq', ''), file('new', '2')]);
      const { root, unmount } = await rig.mount([lower, upper]);
      assert.deepEqual(readdirSync(root), ['new']);
      assert.equal(statSync(root).mode & 0o7777, 0o700);
      unmount();
    });

    it('takes the same layer several times', async () => {
      const once = await rig.layer([file('a', '1'), file('b', '1')]);
      const between = await rig.layer([file('.wh.a', ''), file('b', '2')]);
      const { root, unmount } = await rig.mount([once, once, between, once]);
      assert.equal(readFileSync(join(root, 'a'), 'utf8') + readFileSync(join(root, 'b'), 'utf8'), '11');
      unmount();
    });

    it('gives directories that a layer only implies the attributes of those below', async () => {
      const lower = await rig.layer([
        { ...directory('./'), mode: 0o711, uid: 3, mtime: { sec: 1000, nsec: 5 } },
        {
          ...directory('d'),
          mode: 0o2750,
          uid: 5,
          gid: 6,
          mtime: { sec: 2000, nsec: 7 },
          xattrs: xattrs('user.k', 'v'),
        },
        { ...directory('d/e'), mode: 0o700, uid: 7, mtime: { sec: 3000, nsec: 0 } },
      ]);
      const upper = await rig.layer([file('d/e/f/g', 'deep'), file('d/x', '1')]);
      const { root, unmount } = await rig.mount([lower, upper]);
      const tell = (path: string): string => {
        const s = lstatSync(join(root, path), { bigint: true });
        return `${(s.mode & 0o7777n).toString(8)} ${s.uid}:${s.gid} ${s.mtimeNs}`;
      };
      assert.equal(tell('.'), '711 3:0 1000000000005');
      assert.equal(tell('d'), '2750 5:6 2000000000007');
      assert.equal(tell('d/e'), '700 7:0 3000000000000');
      assert.equal(tell('d/e/f'), '755 0:0 0');
      assert.equal(getXattr(join(root, 'd'), 'user.k')?.toString(), 'v');
      assert.equal(readFileSync(join(root, 'd/e/f/g'), 'utf8'), 'deep');
      unmount();
    });

    it('shows hardlinks to files of lower layers as one file', async () => {
      const lower = await rig.layer([
        { ...directory('bin'), mode: 0o710 },
        { ...file('bin/a', 'x'.repeat(3000)), uid: 9 },
        { path: 'bin/b', type: 'hardlink', linkname: 'bin/a' },
        { path: 'l', type: 'symlink', linkname: 'bin/a' },
      ]);
      const upper = await rig.layer([
        { path: 'c', type: 'hardlink', linkname: 'bin/b' },
        { path: 'd/e', type: 'hardlink', linkname: './bin/a' },
        { path: 'l2', type: 'hardlink', linkname: 'l' },
      ]);
      const { root, unmount } = await rig.mount([lower, upper]);
      const stats = ['bin/a', 'bin/b', 'c', 'd/e'].map((path) => lstatSync(join(root, path)));
      assert.deepEqual(
        stats.map((s) => [s.nlink, s.ino, s.uid]),
        stats.map(() => [4, stats[0]!.ino, 9]),
      );
      assert.equal(readFileSync(join(root, 'd/e'), 'utf8'), 'x'.repeat(3000));
      assert.deepEqual([lstatSync(join(root, 'l2')).nlink, lstatSync(join(root, 'l2')).isSymbolicLink()], [2, true]);
      assert.equal(statSync(join(root, 'bin')).mode & 0o7777, 0o710);
      unmount();
    });

    it('refuses a hardlink to what is in no layer', async () => {
      const layer = await rig.layer([{ path: 'c', type: 'hardlink', linkname: 'nowhere' }]);
      await assert.rejects(rig.snapshotter.prepare([layer]), { code: 'BAD_HARDLINK' });
      await assert.rejects(rig.snapshotter.prepare([await rig.layer([file('a', '1')]), layer]), {
        code: 'BAD_HARDLINK',
      });
    });

    it('lists what a container changed', async () => {
      const layer = await rig.layer([
        directory('etc'),
        file('etc/passwd', 'root'),
        file('etc/gone', '1'),
        directory('tree'),
        directory('tree/sub'),
        file('tree/sub/x', '1'),
        directory('again'),
        file('again/old', '1'),
        file('again/kept', '1'),
      ]);
      const { root, upper, unmount } = await rig.mount([layer]);
      appendFileSync(join(root, 'etc/passwd'), '\nme');
      unlinkSync(join(root, 'etc/gone'));
      mkdirSync(join(root, 'new/dir'), { recursive: true });
      writeFileSync(join(root, 'new/dir/f'), '1');
      rmSync(join(root, 'tree'), { recursive: true });
      rmSync(join(root, 'again'), { recursive: true });
      mkdirSync(join(root, 'again'));
      writeFileSync(join(root, 'again/kept'), '2');
      unmount();
      const changes = readUpperChanges(upper, mergeLayers([readLayerEntries(rig.store, layer)]));
      assert.deepEqual(
        changes.map(({ kind, path }) => `${kind} ${path}`),
        [
          'C /again',
          'C /again/kept',
          'D /again/old',
          'C /etc',
          'D /etc/gone',
          'C /etc/passwd',
          'A /new',
          'A /new/dir',
        ].concat(['A /new/dir/f', 'D /tree']),
      );
    });

    it('does not rename directories of layers, as Docker does not', async () => {
      const { root, unmount } = await rig.mount([await rig.layer([directory('d'), file('d/x', '1')])]);
      assert.throws(() => renameSync(join(root, 'd'), join(root, 'e')), { code: 'EXDEV' });
      execFileSync('mv', ['d', 'e'], { cwd: root });
      assert.deepEqual([readdirSync(root), readdirSync(join(root, 'e'))], [['e'], ['x']]);
      unmount();
    });

    it('commits what a container changed as a layer that shows the same', async () => {
      const source = rig.place();
      fillTree(source);
      const base = await rig.layerOfDirectory(source);
      const { root, upper, unmount } = await rig.mount([base]);
      await changeTree(root);
      const wanted = describe_(root);
      wanted.delete('socket');
      unmount();
      const skipped: string[] = [];
      const onSkipped = (path: string, reason: string): void => void skipped.push(`${path}: ${reason}`);
      const top = await rig.layerOfStream(writeUpperTar(upper, { onSkipped }));
      assert.deepEqual(skipped, ['socket: socket']);
      assert.equal(await rig.layerOfStream(writeUpperTar(upper)), top, 'the same bytes again');
      const again = await rig.mount([base, top], { readonly: true });
      assert.equal(compareTrees(describe_(again.root), wanted), '');
      again.unmount();
    });

    it('tells of missing and foreign files of a layer', async () => {
      const layer = await rig.layer([file('a', 'missing')]);
      await rig.snapshotter.prepare([layer]);
      if (backend === 'unpacked') rmSync(join(rig.store.layerDirectory(layer), 'fs'), { recursive: true });
      else unlinkSync(rig.store.blobPath(layer));
      const target = rig.place();
      assert.throws(
        () => rig.snapshotter.mountRootfs({ diffIds: [layer], target }),
        (error) => isImagoError(error, backend === 'unpacked' ? 'NOT_PREPARED' : 'LAYER_MISSING'),
      );
      rmSync(rig.store.layerDirectory(layer), { recursive: true });
      assert.throws(() => rig.snapshotter.mountRootfs({ diffIds: [layer], target }), { code: 'LAYER_MISSING' });
      assert.deepEqual(mountLines(target), []);
    });

    it('leaves nothing behind when killed', async () => {
      const layers = [await rig.layer([file('a', '1')]), await rig.layer([file('b', '2')])];
      (await rig.mount(layers)).unmount();
      const lines = mountLines(rig.directory);
      const { pid, root, kill } = await holdMount(rig, layers);
      assert.deepEqual(mountLines(rig.directory), lines, 'its mounts are its own');
      assert.equal(readFileSync(`/proc/${pid}/root${root}/b`, 'utf8'), '2');
      await kill();
      assert.deepEqual(mountLines(rig.directory), lines);
      assert.deepEqual(readdirSync(root), []);
    });

    it('mounts for several commands at once', async () => {
      const layers = await Promise.all([1, 2, 3].map((n) => rig.layer([file(`at-once-${n}`, `${n}`)])));
      const holders = await Promise.all([1, 2, 3, 4].map(() => holdMount(rig, layers)));
      for (const { pid, root } of holders) assert.equal(readdirSync(`/proc/${pid}/root${root}`).length, 3);
      await Promise.all(holders.map(({ kill }) => kill()));
    });

    it('keeps a container alive whose layers are released and deleted', async () => {
      const layer = await rig.layer([file('a', 'still here'), directory('d'), file('d/b', '2')]);
      const { root, unmount } = await rig.mount([layer]);
      releaseHooks(rig.store).dropLayer(layer);
      releaseHooks(rig.store).dropLayer(layer);
      if (backend !== 'unpacked') {
        unlinkSync(rig.store.blobPath(layer));
        rmSync(rig.store.layerDirectory(layer), { recursive: true });
      }
      assert.equal(readFileSync(join(root, 'a'), 'utf8'), 'still here');
      assert.equal(readFileSync(join(root, 'd/b'), 'utf8'), '2');
      unmount();
    });

    it('works on after a restart that RUN survived', async () => {
      const layer = await rig.layer([file('a', '1')]);
      (await rig.mount([layer])).unmount();
      const { run } = rig.store;
      const record = JSON.parse(readFileSync(join(run, 'backend.json'), 'utf8'));
      writeFileSync(join(run, 'backend.json'), JSON.stringify({ ...record, boot: 'before', passing: 'string' }));
      for (const line of mountLines(join(run, 'mnt')).reverse()) execFileSync('umount', ['-l', line.split(' ')[4]!]);
      using again = new Rig(backend, rig.directory);
      assert.equal(again.snapshotter.probe.passing, record.passing);
      const { root, unmount } = await rig.mount([layer]);
      assert.equal(readFileSync(join(root, 'a'), 'utf8'), '1');
      unmount();
    });
  });
}

/** The overlay itself has no hardlinked directories: their link counts are not compared. */
function describe_(root: string): Map<string, string> {
  return describeTree(root, { directoryLinks: false });
}

function file(path: string, content: string): Member {
  return { path, type: 'file', content, mtime: { sec: 1, nsec: 0 } };
}

function directory(path: string): Member {
  return { path, type: 'directory', mtime: { sec: 1, nsec: 0 } };
}

function xattrs(name: string, value: string): Map<string, Uint8Array> {
  return new Map([[name, Buffer.from(value)]]);
}

const many = new WeakMap<Rig, Digest[]>();

/** Layers that each add a file and replace `top`. */
async function manyLayers(rig: Rig, count: number): Promise<Digest[]> {
  const layers = many.get(rig) ?? [];
  many.set(rig, layers);
  for (let i = layers.length; i < count; i++)
    layers.push(await rig.layer([file(`f${i}`, `${i}`), file('top', `${i}`)]));
  return layers.slice(0, count);
}

/** A tree with one of everything that a layer can hold. */
function fillTree(root: string): void {
  const at = (path: string): string => join(root, path);
  mkdirSync(at('etc/deep/er'), { recursive: true });
  writeFileSync(at('etc/hosts'), 'localhost\n');
  writeFileSync(at('etc/empty'), '');
  writeFileSync(at('etc/deep/er/exact'), Buffer.alloc(1024, 7));
  writeFileSync(at('etc/deep/er/large'), Buffer.alloc(3_000_001, 'imago'));
  linkSync(at('etc/hosts'), at('etc/deep/hosts-too'));
  symlinkSync('../hosts', at('etc/deep/link'));
  symlinkSync('/nowhere/at/all', at('dangling'));
  linkSync(at('dangling'), at('dangling-too'));
  writeFileSync(at('suid'), '#!');
  chownSync(at('suid'), 1000, 2000);
  chmodSync(at('suid'), 0o6751);
  mkdirSync(at('tmp'));
  chmodSync(at('tmp'), 0o1777);
  mknod(at('fifo'), 0o010644);
  mknod(at('null'), 0o020666, 1, 3);
  chmodSync(at('null'), 0o666);
  mknod(at('disk'), 0o060640, 259, 70_000);
  chownSync(at('disk'), 0, 6);
  writeFileSync(Buffer.concat([Buffer.from(`${root}/name-\xff`, 'latin1')]), 'not UTF-8');
  writeFileSync(at('sparse'), '');
  truncateSync(at('sparse'), 5_000_000);
  const fd = execFileSync(
    'dd',
    [`of=${at('sparse')}`, 'bs=4096', 'seek=300', 'count=3', 'conv=notrunc', 'if=/dev/urandom'],
    {
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  );
  assert.equal(fd.length, 0);
  writeFileSync(at('capable'), 'x');
  // cap_net_bind_service=ep, VFS_CAP_REVISION_2 (linux/capability.h).
  setXattr(at('capable'), 'security.capability', Buffer.from('0100000200040000000000000000000000000000', 'hex'));
  setXattr(at('etc'), 'user.on-a-directory', Buffer.from('v'));
  setXattr(at('etc/hosts'), 'user.empty', Buffer.alloc(0));
  setXattr(at('etc/hosts'), 'trusted.k', Buffer.from([0, 1, 255]));
  // user::rw- user:1000:r-- group::r-- mask::r-- other::---, linux/posix_acl_xattr.h.
  const acl = '0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000000ffffffff';
  writeFileSync(at('acl'), 'x');
  setXattr(at('acl'), 'system.posix_acl_access', Buffer.from(acl, 'hex'));
  setXattr(at('tmp'), 'system.posix_acl_default', Buffer.from(acl, 'hex'));
  for (const [path, sec] of [
    ['suid', -5],
    ['etc/deep', 4_000_000_000],
    ['etc', 1],
    ['dangling', 77],
    ['.', 99],
  ] as const) {
    setTimes(at(path), { sec, nsec: 123_456_789 });
  }
}

/** Changes by the tools that people use, in the merged view. */
async function changeTree(root: string): Promise<void> {
  const sh = (script: string): void => void execFileSync('sh', ['-euc', script], { cwd: root });
  sh('rm etc/empty; rm -r etc/deep/er; mkdir etc/deep/er; echo new > etc/deep/er/new; chmod 700 etc/deep');
  sh(
    'echo more >> etc/hosts; mv suid suid-moved; ln etc/deep/er/new hard; ln hard etc/hard2; ln -s a sym; ln -P sym sym2',
  );
  sh('mkfifo pipe; mknod dev c 10 200; mkdir -p a/b/c; chown 12:34 a/b; touch -d @1.5 a; chmod 4755 null capable');
  sh('truncate -s 3M holes; printf x | dd of=holes bs=1 seek=2000000 conv=notrunc status=none; truncate -s 9M allhole');
  sh('rm -r tmp; echo "a file now" > tmp; rm dangling; mkdir dangling; cp -a etc/deep/link dangling/; chmod 1755 .');
  setXattr(join(root, 'a'), 'user.k', Buffer.from('v'));
  setXattr(join(root, 'hard'), 'security.capability', Buffer.from('0100000200040000000000000000000000000000', 'hex'));
  setXattr(join(root, 'a/b/c'), 'trusted.mine', Buffer.from('t'));
  const server = createServer().listen(join(root, 'socket'));
  await once(server, 'listening');
  // The name goes with an orderly close: a socket that is left behind has none.
  renameSync(join(root, 'socket'), join(root, 'moved'));
  server.close();
  if (existsSync(join(root, 'moved'))) renameSync(join(root, 'moved'), join(root, 'socket'));
}

interface Holder {
  pid: number;
  root: string;
  /** With SIGKILL; resolves when it is gone. */
  kill(): Promise<unknown>;
}

const holders: Set<ChildProcess> = new Set();

/** A process of its own that has mounted a root file system and waits. */
async function holdMount(rig: Rig, layers: readonly Digest[]): Promise<Holder> {
  const place = rig.place();
  const { store, snapshotter } = rig;
  const args = [HOLDER, store.root, store.run, snapshotter.backend, place, ...layers];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  holders.add(child);
  const ended = once(child, 'close').then(() => holders.delete(child));
  const line = await Promise.race([once(child.stdout, 'data'), ended]);
  assert.equal(String(line), 'mounted\n');
  const kill = (): Promise<unknown> => {
    child.kill('SIGKILL');
    return ended;
  };
  return { pid: child.pid!, root: join(place, 'root'), kill };
}
