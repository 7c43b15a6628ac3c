/** A registry whose collector takes a blob that was there, between the push's look at it and its manifest. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { ImageManifest } from '../../src/oci/manifest.ts';
import { pushArtifact } from '../../src/transfer/artifact-push.ts';
import { copyImage } from '../../src/transfer/copy.ts';
import { createList } from '../../src/transfer/manifest-create.ts';
import { pushList } from '../../src/transfer/manifest-push.ts';
import { pushName } from '../../src/transfer/push.ts';
import { BuildLab } from '../build/lab.ts';
import { QUICK } from '../registry/client/quick.ts';
import { FakeRegistry } from '../registry/fake-registry.ts';

interface Rig {
  lab: BuildLab;
  registry: FakeRegistry;
  /** Without a tag. */
  name: string;
}

const FILES = 'FROM scratch\nCOPY a /a\nCOPY b /b\n';

const pushes: [what: string, push: (rig: Rig) => Promise<unknown>][] = [
  ['push', ({ lab, name }) => pushName(lab.store, `${name}:1`, QUICK)],
  [
    'copy',
    async ({ lab, registry, name }) => {
      await pushName(lab.store, `${registry.host}/source:1`, QUICK);
      await copyImage(`docker://${registry.host}/source:1`, `docker://${name}:1`, QUICK);
    },
  ],
  [
    'artifact push',
    ({ lab, name }) => {
      writeFileSync(join(lab.directory, 'file'), 'x');
      return pushArtifact(`${name}:1`, [{ path: join(lab.directory, 'file') }], QUICK);
    },
  ],
  [
    'manifest push',
    async ({ lab, registry, name }) => {
      await pushName(lab.store, `${registry.host}/source:1`, QUICK);
      await createList(lab.store, `${name}:list`, [`${registry.host}/source:1`], QUICK);
      await pushList(lab.store, `${name}:list`, QUICK);
    },
  ],
  ['build --push', ({ lab, name }) => lab.build(FILES, { tags: [`${name}:1`], push: true })],
  ['build --cache-to', ({ lab, name }) => lab.build(FILES, { cacheTo: [`type=registry,ref=${name}:cache,mode=max`] })],
];

async function withRig(work: (rig: Rig) => Promise<void>): Promise<void> {
  using lab = new BuildLab();
  await using registry = await FakeRegistry.start();
  lab.write({ a: 'a', b: 'b' });
  for (const name of ['team/app', 'source']) await lab.build(FILES, { tags: [`${registry.host}/${name}:1`] });
  await work({ lab, registry, name: `${registry.host}/team/app` });
}

const PUT = { method: 'PUT', path: /team\/app\/manifests/ };

describe('a blob that the registry collects while its manifest is pushed', () => {
  for (const [what, push] of pushes) {
    it(`${what}: it is sent again, and the manifest is put again`, async () => {
      await withRig(async (rig) => {
        const { registry } = rig;
        const { blobs, manifests } = registry.repository('team/app');
        let taken = '';
        registry.fault(PUT, {
          meanwhile: () => {
            [taken = ''] = [...blobs];
            blobs.delete(taken);
            registry.blobs.delete(taken);
          },
        });
        await push(rig);
        assert.ok(taken !== '' && blobs.has(taken), 'it is there again');
        assert.ok(manifests.size > 0);
        for (const { bytes } of manifests.values()) {
          const { config, layers } = JSON.parse(bytes.toString()) as ImageManifest;
          for (const blob of [config, ...(layers ?? [])]) if (blob !== undefined) assert.ok(blobs.has(blob.digest));
        }
        assert.ok(registry.count('PUT', PUT.path) >= 2);
      });
    });
  }

  it('again and again: told after three rounds', async () => {
    await withRig(async (rig) => {
      const { registry } = rig;
      const { blobs, tags } = registry.repository('team/app');
      registry.fault(PUT, { meanwhile: () => blobs.clear() }, 100);
      await assert.rejects(pushName(rig.lab.store, `${rig.name}:1`, QUICK), { code: 'MANIFEST_BLOB_UNKNOWN' });
      assert.equal(registry.count('PUT', PUT.path), 3);
      assert.equal(tags.size, 0);
    });
  });
});
