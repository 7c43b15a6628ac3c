/** Build arguments that mean something to the builder itself. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { INLINE_CACHE } from '../../src/build/cache-format.ts';
import { parseOutput } from '../../src/exporter/output-options.ts';
import { readManifest } from '../../src/image/image.ts';
import type { ImageIndex } from '../../src/oci/manifest.ts';
import { BuildLab, whyNoRun } from './lab.ts';

describe('BUILDKIT_MULTI_PLATFORM', () => {
  const dockerfile = 'FROM scratch\nCOPY <<E /f\nE\n';
  it('makes an index, and directories, of one platform, too', async () => {
    using lab = new BuildLab();
    const dest = join(lab.directory, 'out');
    const outputs = [parseOutput('type=image'), parseOutput(`type=local,dest=${dest}`)];
    const { descriptor } = await lab.build(dockerfile, {
      outputs,
      platform: 'linux/arm64',
      buildArgs: { BUILDKIT_MULTI_PLATFORM: '1' },
    });
    const { manifests } = readManifest(lab.store, descriptor).value as ImageIndex;
    assert.deepEqual(
      manifests.map(({ platform }) => platform),
      [{ architecture: 'arm64', os: 'linux' }],
    );
    assert.deepEqual(readdirSync(dest), ['linux_arm64']);
    const plain = await lab.build(dockerfile, { platform: 'linux/arm64', buildArgs: { BUILDKIT_MULTI_PLATFORM: '0' } });
    assert.equal(plain.descriptor.digest, manifests[0]!.digest);
  });
  it('cannot say no to several, nor anything but yes and no', async () => {
    using lab = new BuildLab();
    const platform = ['linux/arm64', 'linux/amd64'];
    for (const BUILDKIT_MULTI_PLATFORM of ['false', 'many']) {
      const build = lab.build(dockerfile, { platform, buildArgs: { BUILDKIT_MULTI_PLATFORM } });
      await assert.rejects(build, { code: 'BAD_PLATFORM' });
    }
  });
});

it('BUILDKIT_INLINE_CACHE puts the cache into the image', async () => {
  using lab = new BuildLab();
  const made = async (BUILDKIT_INLINE_CACHE: string): Promise<boolean> => {
    const { id } = await lab.build('FROM scratch\nCOPY <<E /f\nE\n', { buildArgs: { BUILDKIT_INLINE_CACHE } });
    return INLINE_CACHE in JSON.parse(lab.store.readBlob(id).toString());
  };
  assert.deepEqual([await made('1'), await made('0'), await made('x')], [true, false, false]);
});

it('BUILDKIT_CACHE_MOUNT_NS keeps the directories of cache mounts apart', { skip: whyNoRun() }, async () => {
  using lab = new BuildLab();
  await lab.importBase();
  const use = async (BUILDKIT_CACHE_MOUNT_NS: string): Promise<string> => {
    const dockerfile = 'FROM base\nRUN --mount=type=cache,target=/c echo x >>/c/f; cat /c/f >/out';
    const run = await lab.build(dockerfile, { noCache: true, buildArgs: { BUILDKIT_CACHE_MOUNT_NS } });
    return lab.read(run.image, 'out')!.replaceAll('\n', '');
  };
  assert.deepEqual([await use('one'), await use('two'), await use('one'), await use('')], ['x', 'x', 'xx', 'x']);
});

it('RUN --device is told, not left out', async () => {
  using lab = new BuildLab();
  const build = lab.build('FROM base\nRUN --device=nvidia.com/gpu=all true');
  await assert.rejects(build, { code: 'DOCKERFILE_ERROR', line: 2, message: /RUN --device is no part of/ });
});
