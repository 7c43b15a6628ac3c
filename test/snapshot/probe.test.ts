import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { IndexBuilder } from '../../src/formats/erofs/index-builder.ts';
import { TarScanner } from '../../src/formats/tar/scan.ts';
import { chooseBackend } from '../../src/snapshot/probe.ts';
import { PROBE_CONTENT, PROBE_DIFF_ID, PROBE_NAME, PROBE_SIZE, probeIndex } from '../../src/snapshot/probe-layer.ts';
import { Store } from '../../src/store/store.ts';
import { mount } from '../../src/system/mount.ts';
import { enterTestNamespace, Rig, skipReason, tarOf } from './rig.ts';

const root = process.getuid?.() !== 0 ? 'needs root: mounting' : false;

class Place implements Disposable {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'imago-probe-'));
  store(name = 'store'): Store {
    return Store.open({ root: join(this.directory, name), run: join(this.directory, `${name}-run`) });
  }
  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

describe('choosing a backend', () => {
  it('tries with the very index that the builder writes', () => {
    const tar = tarOf([{ path: PROBE_NAME, type: 'file', mode: 0o444, content: PROBE_CONTENT }]);
    const builder = new IndexBuilder();
    const scanner = new TarScanner({ entry: (entry) => builder.add(entry) });
    scanner.push(tar);
    scanner.finish();
    assert.equal(tar.length, PROBE_SIZE);
    const { image } = builder.finish({ diffId: PROBE_DIFF_ID, tarSize: tar.length });
    assert.ok(probeIndex().equals(image), 'run the builder on the probe and write its bytes into probe-layer.ts');
  });

  it('refuses a backend that there is not', () => {
    using place = new Place();
    assert.throws(() => chooseBackend(place.store(), 'btrfs'), { code: 'BAD_BACKEND' });
  });

  it('remembers what it found out, for this boot and store', { skip: root }, () => {
    enterTestNamespace();
    using place = new Place();
    const store = place.store();
    const first = chooseBackend(store, undefined);
    const record = JSON.parse(readFileSync(join(store.run, 'backend.json'), 'utf8'));
    assert.equal(record.results[first.backend], 'ok');
    assert.deepEqual(readdirSync(join(store.root, 'ingest')), []);
    writeFileSync(join(store.run, 'backend.json'), JSON.stringify({ ...record, results: { 'erofs-loop': 'ok' } }));
    assert.equal(chooseBackend(store, undefined).backend, 'erofs-loop', 'taken from the record');
    for (const change of [{ boot: 'earlier' }, { root: '/elsewhere' }, { device: '1' }, { format: 0 }]) {
      const stale = { ...record, results: { 'erofs-loop': 'ok' }, ...change };
      writeFileSync(join(store.run, 'backend.json'), JSON.stringify(stale));
      assert.equal(chooseBackend(store, undefined).backend, first.backend, JSON.stringify(change));
    }
    writeFileSync(join(store.run, 'backend.json'), '{"form');
    assert.equal(chooseBackend(store, undefined).backend, first.backend);
  });

  it('uses loop devices where the store lies on a tmpfs', { skip: skipReason('erofs-loop') }, async () => {
    using place = new Place();
    mount('none', place.directory, 'tmpfs', 0);
    const store = place.store();
    assert.throws(() => chooseBackend(store, 'erofs'), {
      code: 'BACKEND_NOT_AVAILABLE',
      message: /ENOTBLK.*erofs-loop/,
    });
    const { backend, probe } = chooseBackend(store, undefined);
    assert.equal(backend, 'erofs-loop');
    assert.match(probe.results.erofs!, /^ENOTBLK from /);
    {
      using rig = new Rig('erofs-loop', place.directory);
      const { root } = await rig.mount([await rig.layer([{ path: 'a', type: 'file', content: 'on tmpfs' }])]);
      assert.equal(readFileSync(join(root, 'a'), 'utf8'), 'on tmpfs');
    }
    execFileSync('umount', ['-l', place.directory]);
  });

  it('says what works where root is only one of a user namespace', { skip: root || noUserNamespaces() }, () => {
    using place = new Place();
    const result = inChild(place, ['unshare', '-Urm']);
    assert.equal(result.backend, 'unpacked');
    assert.match(result.erofs, /^E(PERM|ACCES) from /);
    assert.match(result.mount, /^NO_OVERLAY: /);
  });

  it('says what works without root', { skip: root || missingSetpriv() }, () => {
    using place = new Place();
    execFileSync('chmod', ['777', place.directory]);
    const result = inChild(place, ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']);
    assert.equal(result.backend, 'unpacked');
    assert.equal(result.erofs, 'not root');
    assert.match(result.mount, /^NEEDS_ROOT: .*sudo/);
  });
});

function noUserNamespaces(): string | false {
  return spawnSync('unshare', ['-Urm', 'true']).status === 0 ? false : 'needs user namespaces';
}

function missingSetpriv(): string | false {
  return spawnSync('setpriv', ['--version']).status === 0 ? false : 'needs setpriv';
}

/** What a process started by `prefix` finds out about a store of its own. */
function inChild(place: Place, prefix: string[]): { backend: string; erofs: string; mount: string } {
  const source = (path: string): string => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href);
  const script = `
    const { Store } = await import(${source('store/store.ts')});
    const { openSnapshotter } = await import(${source('snapshot/snapshotter.ts')});
    const store = Store.open({ root: process.argv[1] + '/child', run: process.argv[1] + '/child-run' });
    const snapshotter = openSnapshotter(store);
    let mount = 'mounted';
    try {
      await snapshotter.prepare([]);
      snapshotter.mountRootfs({ diffIds: [], target: process.argv[1] });
    } catch (error) {
      mount = error.code + ': ' + error.message;
    }
    console.log(JSON.stringify({ backend: snapshotter.backend, erofs: snapshotter.probe.results.erofs, mount }));`;
  const [command, ...args] = [...prefix, process.execPath, '--input-type=module', '-e', script, place.directory];
  const { stdout, stderr } = spawnSync(command!, args, { encoding: 'utf8' });
  assert.notEqual(stdout, '', stderr);
  return JSON.parse(stdout);
}
