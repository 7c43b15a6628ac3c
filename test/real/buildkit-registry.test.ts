/** BuildKit's cases that need a registry. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { BuildOptions } from '../../src/engine/build-options.ts';
import { loadImages } from '../../src/engine/load.ts';
import { saveImages } from '../../src/engine/save.ts';
import { resolveImage } from '../../src/image/resolve.ts';
import { parsePlatform } from '../../src/oci/platform.ts';
import { BuildLab, whyNoRun } from '../build/lab.ts';
import { FakeRegistry } from '../registry/fake-registry.ts';

describe("BuildKit's cases with a registry", { skip: whyNoRun() }, () => {
  it('testCacheMultiPlatformImportExport', async () => {
    await using registry = await FakeRegistry.start();
    using first = new BuildLab();
    await first.importBase();
    const base = join(first.directory, 'saved.tar');
    await saveImages(first.store, ['base'], { output: base });
    const name = `${registry.host}/buildkit/multi:img`;
    const dockerfile =
      'FROM --platform=$BUILDPLATFORM base AS base\nARG TARGETARCH\n' +
      'RUN echo -n $TARGETARCH >arch && cat /proc/sys/kernel/random/uuid >unique\n' +
      'FROM scratch\nCOPY --from=base unique /\nCOPY --from=base arch /\n';
    const platforms = ['linux/amd64', 'linux/arm/v7'];
    const build = async (lab: BuildLab, more: BuildOptions): Promise<[string, string[]]> => {
      const options = { platform: platforms, tags: [name], push: true, cacheTo: ['type=inline'], ...more };
      const { descriptor, done } = await lab.build(dockerfile, options);
      const files = platforms.map((text) => {
        const image = resolveImage(lab.store, name, parsePlatform(text));
        return `${lab.read(image, 'arch')} ${lab.read(image, 'unique')}`;
      });
      if (more.cacheFrom !== undefined) assert.ok(!done.some((step) => step.startsWith('RUN')), done.join());
      return [descriptor.digest, files];
    };
    const [digest, files] = await build(first, {});
    assert.match(files.join(), /^amd64 .{36}\n,arm .{36}\n$/);
    assert.notEqual(files[0]!.split(' ')[1], files[1]!.split(' ')[1]);
    for (const _ of ['with nothing but the registry', 'and once more']) {
      using other = new BuildLab();
      await loadImages(other.store, base);
      assert.deepEqual(await build(other, { cacheFrom: [name] }), [digest, files]);
    }
  });

  it('testNamedImageContextTimestamps: what stands on another base is as old as its own steps', async () => {
    await using registry = await FakeRegistry.start();
    using lab = new BuildLab();
    await lab.importBase();
    const name = `${registry.host}/buildkit/timestamps:latest`;
    const dockerfile = 'FROM base\nRUN echo foo >>/test\n';
    const before = await lab.build(dockerfile, { tags: [name], push: true, load: true });
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const derived = await lab.build(dockerfile, { contexts: { base: `docker-image://${name}` } });
    const [older, younger] = [before, derived].map(({ image }) => Date.parse(image.config.created!)) as [
      number,
      number,
    ];
    assert.ok(younger > older && younger - older < 600_000, `${younger - older} ms`);
    assert.equal(lab.read(derived.image, 'test'), 'foo\nfoo\n');
    const times = derived.image.config.history!.slice(-2).map(({ created }) => Date.parse(created!));
    assert.deepEqual(times, [older, younger]);
  });
});
