import assert from 'node:assert/strict';
import { existsSync, readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createContainer } from '../../src/container/create.ts';
import { writeLastStart } from '../../src/container/state.ts';
import { type Removal, removeImage } from '../../src/engine/rmi.ts';
import { resolveImage } from '../../src/image/resolve.ts';
import { tagByName } from '../../src/image/tag-by-name.ts';
import { Sample } from '../image/sample.ts';

const APP = { 'bin/app': '#!/bin/sh\n' };

function shown(removals: Removal[]): string[] {
  return removals.map((r) => ('untagged' in r ? `Untagged: ${r.untagged}` : `Deleted: ${r.deleted}`));
}

function blobs(sample: Sample): number {
  return readdirSync(join(sample.store.root, 'blobs/sha256')).length;
}

/** A container that never ran, or one that seems to run: as this very process. */
function addContainer(sample: Sample, name: string, running: boolean): string {
  const record = createContainer(sample.store, { image: name }, 'conmon');
  if (running) writeLastStart(sample.store, record, process.pid);
  return record.id;
}

describe('removeImage', () => {
  it('the last name goes with the image and its layers, and leaves what others use', async () => {
    await using sample = new Sample();
    const { store } = sample;
    await sample.image('a', [APP]);
    const before = blobs(sample);
    await sample.image('b', [APP, { x: '1' }]);
    const { id, chainIds, diffIds } = resolveImage(store, 'b');
    assert.deepEqual(shown(await removeImage(store, 'b')), [
      'Untagged: b:latest',
      `Deleted: ${id}`,
      `Deleted: ${chainIds[1]}`,
    ]);
    assert.equal(blobs(sample), before);
    assert.equal(existsSync(store.layerDirectory(diffIds[1]!)), false);
    assert.equal(existsSync(store.layerDirectory(diffIds[0]!)), true);
    await removeImage(store, 'a');
    assert.equal(blobs(sample), 0);
    assert.deepEqual(readdirSync(join(store.root, 'layers')), []);
    // A process of its own frees the disk.
    for (let i = 0; readdirSync(join(store.root, 'ingest')).length > 0 && i < 500; i++) await sleep(10);
    assert.deepEqual(readdirSync(join(store.root, 'ingest')), []);
  });

  it('one of several names is only taken off', async () => {
    await using sample = new Sample();
    const { store } = sample;
    await sample.image('a:1', [APP]);
    tagByName(store, 'a:1', 'a:2');
    const count = blobs(sample);
    assert.deepEqual(shown(await removeImage(store, 'a:1')), ['Untagged: a:1']);
    assert.equal(blobs(sample), count);
    await assert.rejects(removeImage(store, 'a:1'), { code: 'IMAGE_NOT_FOUND', message: /^No such image: a:1/ });
  });

  it('by ID: one name goes with it, several need force', async () => {
    await using sample = new Sample();
    const { store } = sample;
    await sample.image('a:1', [APP]);
    const { id, chainIds } = resolveImage(store, 'a:1');
    tagByName(store, 'a:1', 'other:1');
    const short = id.slice(7, 19);
    await assert.rejects(removeImage(store, short), {
      code: 'IMAGE_IN_USE',
      message: `conflict: unable to delete ${short} (must be forced) - image is referenced in multiple repositories`,
    });
    assert.deepEqual(shown(await removeImage(store, short, { force: true })), [
      'Untagged: a:1',
      'Untagged: other:1',
      `Deleted: ${id}`,
      `Deleted: ${chainIds[0]}`,
    ]);
    assert.equal(blobs(sample), 0);
  });

  it('an untagged image, by ID', async () => {
    await using sample = new Sample();
    const { store } = sample;
    const first = await sample.image('a', [APP, { x: '1' }]);
    await sample.image('a', [APP]);
    const { id } = resolveImage(store, first.digest);
    const lines = shown(await removeImage(store, id));
    assert.deepEqual(lines.slice(0, 1), [`Deleted: ${id}`]);
    assert.equal(lines.length, 2);
    assert.equal(store.listRefs().length, 1);
  });

  it('a stopped container keeps it, unless forced, and its files even then', async () => {
    await using sample = new Sample();
    const { store } = sample;
    await sample.image('a', [APP]);
    const { id } = resolveImage(store, 'a');
    const container = addContainer(sample, 'a', false).slice(0, 12);
    const short = id.slice(7, 19);
    await assert.rejects(removeImage(store, 'a'), {
      code: 'IMAGE_IN_USE',
      message: `conflict: unable to remove repository reference "a" (must force) - container ${container} is using its referenced image ${short}`,
    });
    await assert.rejects(removeImage(store, short), {
      message: `conflict: unable to delete ${short} (must be forced) - image is being used by stopped container ${container}`,
    });
    const count = blobs(sample);
    assert.deepEqual(shown(await removeImage(store, 'a', { force: true })), ['Untagged: a:latest', `Deleted: ${id}`]);
    assert.equal(blobs(sample), count);
  });

  it('a running container keeps it: by ID even when forced, by name it loses its name', async () => {
    await using sample = new Sample();
    const { store } = sample;
    await sample.image('a', [APP]);
    const { id, descriptor } = resolveImage(store, 'a');
    const container = addContainer(sample, 'a', true).slice(0, 12);
    const short = id.slice(7, 19);
    await assert.rejects(removeImage(store, short, { force: true }), {
      message: `conflict: unable to delete ${short} (cannot be forced) - image is being used by running container ${container}`,
    });
    await assert.rejects(removeImage(store, 'a'), { code: 'IMAGE_IN_USE' });
    assert.deepEqual(shown(await removeImage(store, 'a', { force: true })), ['Untagged: a:latest']);
    assert.deepEqual(
      store.listRefs().map((r) => r.reference),
      [`<none>@${descriptor.digest}`],
    );
    assert.equal(resolveImage(store, short).id, id);
  });

  it('an image whose config is lost can still be removed by its name', async () => {
    await using sample = new Sample();
    const { store } = sample;
    await sample.image('a', [APP]);
    unlinkSync(store.blobPath(resolveImage(store, 'a').id));
    assert.deepEqual(shown(await removeImage(store, 'a')), ['Untagged: a:latest']);
    assert.deepEqual(store.listRefs(), []);
  });

  it('two at once: one of them does it', async () => {
    await using sample = new Sample();
    await sample.image('a', [APP]);
    const results = await Promise.allSettled([removeImage(sample.store, 'a'), removeImage(sample.store, 'a')]);
    assert.ok(results.some((r) => r.status === 'fulfilled'));
    assert.equal(blobs(sample), 0);
  });
});
