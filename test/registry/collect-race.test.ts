import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import type { Digest } from '../../src/core/digest.ts';
import { collectGarbage } from '../../src/registry/server/collect.ts';
import { openStorage } from '../../src/registry/storage/open.ts';
import type { RegistryStorage } from '../../src/registry/storage/storage.ts';
import { s3SkipReason, startS3 } from './rgw.ts';
import { digestOf, RegistryLab } from './server/lab.ts';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const SECONDS = Number(process.env.IMAGO_TEST_RACE_SECONDS ?? 5);
const PUSHERS = 6;

/**
 * Two replicas, a collector at each in a loop and without a grace period, and pushers that upload only what they are told
 * is missing, out of a few blobs and manifests that all of them share and delete again. Whatever was acknowledged and not
 * deleted since must be whole, at every moment.
 */
describe('garbage collection against pushes', () => {
  it('never takes what an acknowledged manifest needs: files', async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'imago-race-'));
    try {
      await race(t, () => openStorage(directory));
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it('never takes what an acknowledged manifest needs: S3', { skip: s3SkipReason() }, async (t) => {
    await using s3 = await startS3();
    const url = s3.url();
    await race(t, () => openStorage(url));
  });
});

async function race(t: TestContext, open: () => Promise<RegistryStorage>): Promise<void> {
  const storages = [await open(), await open()];
  await using first = await RegistryLab.start({ storage: storages[0]! });
  await using second = await RegistryLab.start({ storage: storages[1]! });
  const labs = [first, second];
  const world = new World();
  const started = Date.now();
  let [collections, removed, pardoned] = [0, 0, 0];
  const isOver = (): boolean => {
    const seconds = (Date.now() - started) / 1000;
    return (
      world.failed || seconds > 60 || (seconds > SECONDS && world.pushes > 5 && world.shortcuts > 0 && removed > 0)
    );
  };
  const collecting = storages.map(async (storage) => {
    while (!isOver()) {
      const outcome = await collectGarbage({
        storage,
        graceMs: 0,
        onEvent: (event) => {
          if (event.kind === 'pardoned') pardoned++;
        },
      });
      if (outcome.busy) await new Promise((resolve) => setTimeout(resolve, 5));
      else collections++;
      removed += outcome.removedBlobs;
    }
  });
  const pushing = Array.from({ length: PUSHERS }, async (_, i) => {
    while (!isOver()) await world.push(labs[(i + pick(2)) % 2]!);
  });
  await Promise.all([...collecting, ...pushing]);
  for (const storage of storages) await collectGarbage({ storage, graceMs: 0 });
  for (const push of world.acknowledged.values()) await assertWhole(storages[0]!, second, push);
  t.diagnostic(
    `${world.pushes} pushes (${world.shortcuts} uploads left out, ${world.refused} refused), ${collections} collections: ${removed} blobs removed, ${pardoned} pardons`,
  );
  assert.ok(world.pushes > 5 && world.shortcuts > 0 && removed > 0, 'the race did not take place');
  for (const storage of storages) await storage.close();
}

interface Push {
  repository: string;
  manifest: Buffer;
  digest: Digest;
  blobs: Digest[];
}

class World {
  pushes = 0;
  shortcuts = 0;
  refused = 0;
  failed = false;
  /** By repository and digest. */
  readonly acknowledged = new Map<string, Push>();
  readonly #blobs = Array.from({ length: 8 }, () => randomBytes(300));
  /** Who pushes or deletes a manifest now: what counts at the end must be known. */
  readonly #busy = new Set<string>();

  async push(lab: RegistryLab): Promise<void> {
    const repository = `race/r${pick(2)}`;
    const blobs = [this.#blobs[pick(4)]!, this.#blobs[4 + pick(4)]!];
    const digests = blobs.map((bytes) => digestOf(bytes));
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MANIFEST,
        config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digests[0], size: 300 },
        layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: digests[1], size: 300 }],
      }),
    );
    const push: Push = { repository, manifest, digest: digestOf(manifest), blobs: digests };
    const key = `${repository} ${push.digest}`;
    if (this.#busy.has(key)) return void (await new Promise((resolve) => setTimeout(resolve, 1)));
    this.#busy.add(key);
    try {
      if (this.acknowledged.has(key)) await this.#checkAndDelete(lab, key, push);
      else await this.#send(lab, key, push, blobs);
    } catch (error) {
      this.failed = true;
      throw error;
    } finally {
      this.#busy.delete(key);
    }
  }

  async #checkAndDelete(lab: RegistryLab, key: string, push: Push): Promise<void> {
    await assertWhole(lab.storage, lab, push);
    this.acknowledged.delete(key);
    const { status } = await lab.send('DELETE', `/v2/${push.repository}/manifests/${push.digest}`);
    assert.equal(status, 202);
  }

  async #send(lab: RegistryLab, key: string, push: Push, blobs: Buffer[]): Promise<void> {
    const base = `/v2/${push.repository}`;
    for (const [index, digest] of push.blobs.entries()) {
      if ((await lab.send('HEAD', `${base}/blobs/${digest}`)).status === 200) this.shortcuts++;
      else if (!(await mount(lab, push.repository, digest))) await lab.pushBlob(push.repository, blobs[index]!);
    }
    const { status, body } = await lab.send(
      'PUT',
      `${base}/manifests/${push.digest}`,
      { 'Content-Type': MANIFEST },
      push.manifest,
    );
    if (status === 201) {
      this.pushes++;
      this.acknowledged.set(key, push);
    } else {
      assert.equal(status, 404, body.toString());
      this.refused++;
    }
  }
}

async function assertWhole(storage: RegistryStorage, lab: RegistryLab, push: Push): Promise<void> {
  const { repository, digest } = push;
  assert.ok(await storage.statBlob(digest), `the bytes of manifest ${digest} are gone`);
  const manifest = await lab.send('GET', `/v2/${repository}/manifests/${digest}`);
  assert.equal(manifest.status, 200, `manifest ${digest} is gone`);
  for (const blob of push.blobs) {
    const { status, body } = await lab.send('GET', `/v2/${repository}/blobs/${blob}`);
    assert.equal(status, 200, `blob ${blob} of manifest ${digest} is gone`);
    assert.equal(createHash('sha256').update(body).digest('hex'), blob.slice(7));
  }
}

/** From the other repository; mostly not even tried. */
async function mount(lab: RegistryLab, repository: string, digest: Digest): Promise<boolean> {
  if (pick(3) > 0) return false;
  const from = repository === 'race/r0' ? 'race/r1' : 'race/r0';
  const { status, headers } = await lab.send('POST', `/v2/${repository}/blobs/uploads/?mount=${digest}&from=${from}`);
  if (status === 202) await lab.send('DELETE', headers.location!);
  return status === 201;
}

function pick(count: number): number {
  return Math.floor(Math.random() * count);
}
