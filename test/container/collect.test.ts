import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { collectContainers } from '../../src/container/collect.ts';
import { createContainer } from '../../src/container/create.ts';
import { releaseNameOf } from '../../src/container/names.ts';
import { containerPaths, writeRecord } from '../../src/container/record.ts';
import { volumeData } from '../../src/container/volumes.ts';
import { Lab, skipContainers } from './lab.ts';

const skip = skipContainers();

describe('what killed commands leave', { skip: skip ?? false }, () => {
  let lab: Lab;
  before(async () => {
    lab = new Lab();
    await lab.image('box', { Cmd: ['true'], Volumes: { '/data': {} } });
  });
  after(() => lab[Symbol.dispose]());
  const age = (path: string): void => utimesSync(path, 1_700_000_000, 1_700_000_000);

  test('a container with --rm whose command and reaper were killed goes with all it had', async () => {
    const { store } = lab;
    const record = createContainer(store, { image: 'box', name: 'dead', autoRemove: true }, 'runtime');
    const paths = containerPaths(store, record);
    assert.deepEqual(await collectContainers(store), [], 'its launcher lives: this process');
    // The same container of a launcher that is gone.
    releaseNameOf(store, record);
    const dead = { ...record, id: 'd'.repeat(64), launcher: { ...record.launcher!, started: 1 } };
    writeRecord(store, dead, true);
    const [volume] = dead.mounts.map((mount) => (mount.type === 'volume' ? mount.name! : ''));
    mkdirSync(volumeData(store, volume!), { recursive: true });
    writeFileSync(join(store.root, 'containers/.names/dead'), dead.id);
    const directory = containerPaths(store, dead).directory;
    assert.deepEqual(await collectContainers(store), [dead.id]);
    assert.ok(!existsSync(directory));
    assert.deepEqual(readdirSync(join(store.root, 'volumes')), []);
    assert.deepEqual(readdirSync(join(store.root, 'containers/.names')), []);
    assert.ok(existsSync(paths.record));
  });

  test('parts of containers, bundles, names and notes that belong to nobody', async () => {
    const { root, run } = lab.store;
    const id = 'e'.repeat(64);
    const places = [`containers/${id}`, `containers/.removing-${id}`].map((path) => join(root, path));
    places.push(...['containers', 'exits'].map((path) => join(run, path, id)));
    for (const path of places) mkdirSync(join(path, 'below'), { recursive: true });
    const name = join(root, 'containers/.names/nobody');
    writeFileSync(name, id);
    places.push(name);
    await collectContainers(lab.store);
    assert.ok(
      places.filter((path) => !path.includes('.removing')).every((path) => existsSync(path)),
      'all are young',
    );
    for (const path of places) if (existsSync(path)) age(path);
    await collectContainers(lab.store);
    for (const path of places) assert.ok(!existsSync(path), path);
  });
});
