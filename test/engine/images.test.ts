import assert from 'node:assert/strict';
import { unlinkSync } from 'node:fs';
import { describe, it } from 'node:test';
import { diffImages } from '../../src/engine/diff-images.ts';
import { listHistory } from '../../src/engine/history.ts';
import { listImageRows } from '../../src/engine/images.ts';
import { editConfig } from '../../src/image/draft.ts';
import { inspectImage } from '../../src/image/inspect.ts';
import { resolveImage } from '../../src/image/resolve.ts';
import { tagByName } from '../../src/image/tag-by-name.ts';
import { keepUntagged } from '../../src/image/tags.ts';
import { Sample } from '../image/sample.ts';

const APP = { 'bin/app': '#!/bin/sh\n', 'etc/conf': 'a=1\n' };

/** Three images, the oldest first: a:1 = x/a:2 (labelled), b:1, and one without a name. */
async function fill(sample: Sample): Promise<void> {
  const at = (created: string, labels: Record<string, string>) => (draft: Parameters<typeof editConfig>[0]) =>
    editConfig(draft, { Labels: labels }, { created, created_by: 'LABEL' });
  await sample.image('a:1', [APP], at('2026-01-01T00:00:00Z', { team: 'blue', on: '' }));
  tagByName(sample.store, 'a:1', 'x/a:2');
  await sample.image('b:1', [APP, { 'etc/conf': 'a=2\n' }], at('2026-01-02T00:00:00Z', {}));
  await sample.image('gone:1', [{ y: '' }], at('2026-01-03T00:00:00Z', {}));
  await sample.image('gone:1', [APP], at('2026-01-01T00:00:00Z', { team: 'blue', on: '' }));
  sample.store.deleteRef('docker.io/library/gone:1');
}

describe('listImageRows', () => {
  it('newest first, one line a name', async () => {
    await using sample = new Sample();
    await fill(sample);
    const rows = listImageRows(sample.store).map((row) => `${row.repository}:${row.tag}`);
    assert.deepEqual(rows, ['undefined:undefined', 'b:1', 'a:1', 'x/a:2']);
    const [, b, a] = listImageRows(sample.store);
    assert.equal(b!.sharedSize, a!.size);
    assert.equal(b!.uniqueSize, b!.size - a!.size);
    assert.equal(a!.uniqueSize, 0);
  });

  const cases: [options: { match?: string; filters?: string[] }, want: string][] = [
    [{ match: 'a' }, 'a:1'],
    [{ match: 'a:2' }, ''],
    [{ match: '*a*' }, 'a:1'],
    [{ match: '*/a' }, 'x/a:2'],
    [{ match: 'docker.io/library/b' }, 'b:1'],
    [{ filters: ['reference=?:1'] }, 'b:1 a:1'],
    [{ filters: ['reference=a', 'reference=b'] }, 'b:1 a:1'],
    [{ filters: ['dangling=true'] }, '<none>'],
    [{ filters: ['dangling=false'] }, 'b:1 a:1 x/a:2'],
    [{ filters: ['label=team'] }, 'a:1 x/a:2'],
    [{ filters: ['label=team=blue', 'label=on='] }, 'a:1 x/a:2'],
    [{ filters: ['label=team=red'] }, ''],
    [{ filters: ['label=constructor'] }, ''],
    [{ filters: ['before=b:1'] }, 'a:1 x/a:2'],
    [{ filters: ['since=a:1'] }, '<none> b:1'],
    [{ filters: ['until=2026-01-02T12:00:00Z'] }, 'b:1 a:1 x/a:2'],
    [{ filters: ['until=1h'] }, '<none> b:1 a:1 x/a:2'],
    [{ filters: ['since=a:1', 'dangling=false'] }, 'b:1'],
  ];
  for (const [options, want] of cases) {
    it(JSON.stringify(options), async () => {
      await using sample = new Sample();
      await fill(sample);
      const rows = listImageRows(sample.store, options);
      assert.equal(rows.map((row) => (row.repository ? `${row.repository}:${row.tag}` : '<none>')).join(' '), want);
    });
  }

  it('refuses filters that mean nothing', async () => {
    await using sample = new Sample();
    for (const filter of ['dangling', 'colour=red', 'dangling=maybe', 'until=soon']) {
      assert.throws(() => listImageRows(sample.store, { filters: [filter] }), { code: 'BAD_FILTER' }, filter);
    }
    assert.throws(() => listImageRows(sample.store, { filters: ['before=nothing'] }), { code: 'IMAGE_NOT_FOUND' });
  });
});

describe('listHistory', () => {
  it('newest first, with the sizes of the layers', async () => {
    await using sample = new Sample();
    await sample.image('a', [APP, { x: '1' }]);
    const image = resolveImage(sample.store, 'a');
    const steps = listHistory(sample.store, 'a');
    assert.deepEqual(
      steps.map((s) => [s.createdBy, s.size]),
      [
        ['CMD', 0],
        ['layer 1', sample.store.blobSize(image.diffIds[1]!)],
        ['layer 0', sample.store.blobSize(image.diffIds[0]!)],
      ],
    );
    assert.deepEqual(
      steps.map((s) => s.id),
      [image.id, undefined, undefined],
    );
  });

  it('layers that the history does not know', async () => {
    await using sample = new Sample();
    await sample.image('a', [APP, { x: '1' }], (draft) => ({
      ...draft,
      config: { ...draft.config, history: undefined },
    }));
    const steps = listHistory(sample.store, 'a');
    assert.deepEqual(
      steps.map((s) => s.diffId),
      resolveImage(sample.store, 'a').diffIds.toReversed(),
    );
  });
});

it('inspectImage has what scripts ask for', async () => {
  await using sample = new Sample();
  const descriptor = await sample.image('a:1', [APP]);
  tagByName(sample.store, 'a:1', 'ghcr.io/o/a:2');
  const image = resolveImage(sample.store, 'a:1');
  const seen = inspectImage(sample.store, 'a:1');
  assert.equal(seen.Id, image.id);
  assert.deepEqual(seen.RepoTags, ['a:1', 'ghcr.io/o/a:2']);
  assert.deepEqual(seen.RepoDigests, [`a@${descriptor.digest}`, `ghcr.io/o/a@${descriptor.digest}`]);
  assert.deepEqual(seen.RootFS, { Type: 'layers', Layers: image.diffIds });
  assert.deepEqual(seen.Config.Cmd, ['/bin/app']);
  assert.equal(seen.Config.Entrypoint, null);
  assert.equal(seen.Size, sample.store.blobSize(image.diffIds[0]!));
});

describe('tagByName', () => {
  it('refuses a digest, a bad name, and what is not there', async () => {
    await using sample = new Sample();
    await sample.image('a:1', [APP]);
    const { store } = sample;
    assert.throws(() => tagByName(store, 'a:1', `b@sha256:${'0'.repeat(64)}`), {
      code: 'BAD_REFERENCE',
      message: /^refusing to create a tag with a digest reference/,
    });
    assert.throws(() => tagByName(store, 'a:1', 'UPPER'), { code: 'BAD_REFERENCE', message: /must be lowercase/ });
    assert.throws(() => tagByName(store, 'c', 'd'), { code: 'IMAGE_NOT_FOUND' });
    assert.equal(store.listRefs().length, 1);
    assert.equal(tagByName(store, resolveImage(store, 'a:1').id.slice(7, 19), 'b'), 'docker.io/library/b:latest');
  });
});

describe('diffImages', () => {
  it('lists what a later layer did, and content that changed under equal attributes', async () => {
    await using sample = new Sample();
    const { store } = sample;
    await sample.image('a', [APP]);
    await sample.image('b', [APP, { 'etc/conf': 'a=2\n', 'opt/new': '1', 'bin/.wh.app': '' }]);
    await sample.image('same', [APP, APP]);
    const diff = (before: string, after: string): string[] =>
      diffImages(store, before, after).map(({ kind, path }) => `${kind} ${path}`);
    assert.deepEqual(diff('a', 'a'), []);
    assert.deepEqual(diff('a', 'same'), []);
    assert.deepEqual(diff('a', 'b'), ['C /bin', 'D /bin/app', 'C /etc', 'C /etc/conf', 'A /opt', 'A /opt/new']);
    assert.deepEqual(diff('b', 'a'), ['C /bin', 'A /bin/app', 'C /etc', 'C /etc/conf', 'D /opt']);
  });

  it('says so when a layer is missing', async () => {
    await using sample = new Sample();
    await sample.image('a', [APP]);
    await sample.image('b', [{ x: '1' }]);
    unlinkSync(sample.store.blobPath(resolveImage(sample.store, 'b').diffIds[0]!));
    assert.throws(() => diffImages(sample.store, 'a', 'b'), { code: 'LAYER_MISSING' });
    keepUntagged(sample.store, resolveImage(sample.store, 'a').descriptor);
  });
});
