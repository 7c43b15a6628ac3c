import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { CACHE_CONFIG_TYPE, INLINE_CACHE } from '../../src/build/cache-format.ts';
import type { BuildOptions } from '../../src/engine/build.ts';
import { pushName } from '../../src/engine/push.ts';
import { MEDIA_TYPES } from '../../src/oci/media-types.ts';
import { FakeRegistry } from '../registry/fake-registry.ts';
import { BuildLab, type BuildRun, type Files, whyNoRun } from './lab.ts';

const FILES: Files = { 'a.txt': 'one', 'b.txt': 'two', 'd/x': 'x'.repeat(40_000), 'd/link': '->x' };
const STAGES = [
  'FROM scratch AS tools',
  'COPY d /tools/',
  'FROM scratch',
  'WORKDIR /app',
  'COPY a.txt b.txt ./',
  'WORKDIR /app',
  'COPY --from=tools /tools/x /x',
].join('\n');

/** Two stores that know nothing of each other, and a registry between them. */
class Pair implements AsyncDisposable {
  readonly a: BuildLab = new BuildLab();
  readonly b: BuildLab = new BuildLab();
  readonly registry: FakeRegistry;

  private constructor(registry: FakeRegistry) {
    this.registry = registry;
    for (const lab of [this.a, this.b]) lab.write(FILES);
  }

  static async open(): Promise<Pair> {
    return new Pair(await FakeRegistry.start());
  }

  get ref(): string {
    return `${this.registry.host}/team/cache:main`;
  }

  /** Bytes of layers that were sent and taken. */
  sent(): number {
    return this.registry.log
      .filter(({ path }) => path.includes('/blobs/'))
      .reduce((sum, { received }) => sum + received, 0);
  }

  gets(): string[] {
    return this.registry.log
      .filter(({ method, path }) => method === 'GET' && path.includes('/blobs/'))
      .map(({ path }) => path.split('/').at(-1)!);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.a[Symbol.dispose]();
    this.b[Symbol.dispose]();
    await this.registry[Symbol.asyncDispose]();
  }
}

const steps = (run: BuildRun): string[] => run.done.filter((name) => /^(?:COPY|RUN|ADD|WORKDIR)/.test(name));

function warnings(run: BuildRun): string[] {
  return run.events.flatMap((event) => (event.type === 'warning' ? [event.text] : []));
}

describe('a cache travels from one store to another', () => {
  for (const [name, to, from] of [
    ['registry', 'type=registry,ref=REF,mode=max', 'type=registry,ref=REF'],
    ['a bare reference', 'type=registry,ref=REF,mode=max', 'REF'],
    ['a list of layers, as BuildKit made it', 'type=registry,ref=REF,mode=max,image-manifest=false', 'REF'],
    ['zstd', 'type=registry,ref=REF,mode=max,compression=zstd', 'REF'],
    ['uncompressed', 'type=registry,ref=REF,mode=max,compression=uncompressed', 'REF'],
    ['local', 'type=local,dest=DIR,mode=max', 'type=local,src=DIR'],
    ['local, zstd', 'type=local,dest=DIR,mode=max,compression=zstd,compression-level=9', 'type=local,src=DIR'],
    ['local, uncompressed', 'type=local,dest=DIR,mode=max,compression=uncompressed', 'type=local,src=DIR'],
    ['local, by tag', 'type=local,dest=DIR,mode=max,tag=x', 'type=local,src=DIR,tag=x'],
  ] as const) {
    it(name, async () => {
      await using pair = await Pair.open();
      const place = (text: string): string =>
        text.replace('REF', pair.ref).replace('DIR', join(pair.a.directory, 'cache'));
      const first = await pair.a.build(STAGES, { cacheTo: [place(to)] });
      const second = await pair.b.build(STAGES, { cacheFrom: [place(from)] });
      assert.deepEqual(warnings(second), []);
      assert.deepEqual(steps(second), []);
      assert.equal(second.id, first.id);
      assert.deepEqual(pair.b.list(second.image), pair.a.list(first.image));
      // And from the store alone the next time.
      const third = await pair.b.build(STAGES);
      assert.deepEqual(steps(third), []);
      assert.equal(third.id, first.id);
    });
  }
});
