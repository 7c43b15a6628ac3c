import assert from 'node:assert/strict';
import { utimesSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Digest } from '../../src/core/digest.ts';
import { readLayerEntries } from '../../src/store/layer-entries.ts';
import { hasLayer } from '../../src/store/layers.ts';
import { BuildLab } from './lab.ts';

const FILE = 'FROM scratch\nCOPY a b /\n';
const at = (sec: number): Date => new Date(sec * 1000);

/** The times of both files in the topmost layer. */
function times(lab: BuildLab, diffId: Digest): number[] {
  return readLayerEntries(lab.store, diffId).map(({ mtime }) => mtime.sec);
}

async function layerOf(lab: BuildLab, epoch: number, rewriteTimestamp = true): Promise<Digest> {
  return (await lab.build(FILE, { epoch: at(epoch), rewriteTimestamp })).image.diffIds[0]!;
}

describe('the cache and rewritten times', () => {
  it('another epoch is no hit, the same is, and without rewriting the layer is as it was made', async () => {
    using lab = new BuildLab();
    lab.write({ a: 'a', b: 'b' });
    utimesSync(join(lab.context, 'a'), 5000, 5000);
    utimesSync(join(lab.context, 'b'), 9000, 9000);
    const first = await layerOf(lab, 7000);
    assert.deepEqual(times(lab, first), [5000, 7000]);
    const other = await layerOf(lab, 4000);
    assert.deepEqual(times(lab, other), [4000, 4000]);
    assert.equal(await layerOf(lab, 7000), first);
    assert.deepEqual(times(lab, await layerOf(lab, 7000, false)), [5000, 9000]);
    // Nothing to rewrite: the layer itself.
    assert.equal(await layerOf(lab, 9000), await layerOf(lab, 9000, false));
  });

  it('outputs, attestations and annotations are in no key: only what they need is done', async () => {
    using lab = new BuildLab();
    lab.write({ a: 'a', b: 'b' });
    const plain = await lab.build(FILE);
    const told = await lab.build(FILE, {
      outputs: [{ type: 'tar', dest: join(lab.directory, 'out.tar') }],
      load: true,
      attest: { provenance: {}, sbom: true },
      annotations: [{ place: 'manifest', key: 'x', value: 'y' }],
    });
    assert.deepEqual(
      told.done.filter((name) => name.startsWith('COPY')),
      [],
    );
    assert.equal(told.platforms[0]!.id, plain.id);
    assert.ok(hasLayer(lab.store, plain.image.diffIds[0]!));
  });
});
