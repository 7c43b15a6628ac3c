import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ImageFiles } from '../../src/build/context/image-source.ts';
import { findSource, readSource } from '../../src/build/context/source.ts';
import { isImagoError } from '../../src/core/errors.ts';
import type { BuildOptions } from '../../src/engine/build-options.ts';
import type { Image } from '../../src/image/image.ts';
import { walkTree } from '../../src/tree/walk.ts';
import { BuildLab } from './lab.ts';
import { changeContext, PASSWD, type Pick, picker } from './random-context.ts';

const ROUNDS = Number(process.env.IMAGO_CACHE_ROUNDS ?? 100);
const SEED = Number(process.env.IMAGO_CACHE_SEED ?? 1);

const SOURCES = ['.', '.', 'a', 'd', 'd/*', '*', 'd*/./e*', '[aA]', 'd* d2*', 'a* b.txt*', '*.txt'];
const FLAGS = [
  '',
  '',
  '',
  '--chmod=600',
  '--chmod=u=rwX',
  '--chown=3:4',
  '--chown=bob',
  '--link',
  '--parents',
  '--exclude=a',
  '--exclude=**/a',
];
const DESTINATIONS = ['/', '/x/', 'y/', '/$v/', '/x/deep/er/'];

const IGNORED = ['', '', 'a\n', 'd\n!d/a\n', '**/a\n', '*\n!d\n!passwd\n'];

function dockerfile(pick: Pick): string {
  const copy = (from = ''): string => `COPY ${from}${pick(FLAGS)} ${pick(SOURCES)} ${pick(DESTINATIONS)}`;
  const line = (): string =>
    pick([
      () => copy(),
      () => copy(),
      () => `WORKDIR ${pick(['/', '/w', 'w', '/x'])}`,
      () => `USER ${pick(['0', '5', '6:7'])}`,
      () => `ARG v=${pick(['x', 'z'])}`,
      () => `ENV v=${pick(['x', 'z'])}`,
      () =>
        `COPY ${pick(['', '--chmod=755 '])}<<${pick(['f', '"f"'])} /${pick(['x/', 'g'])}\n${pick(['one', '$v'])}\nf`,
      () => `COPY --from=${pick(['one', '0', 'n'])} ${pick(['/', '/x*', '/etc*'])} /${pick(['c/', ''])}`,
      () => `ADD a* ${pick(DESTINATIONS)}`,
    ])();
  const first = ['FROM scratch AS one', 'COPY passwd* /etc/', pick([`ONBUILD ${copy()}`, copy(), 'WORKDIR /x'])];
  const last = [`FROM ${pick(['scratch', 'one', 'n'])}`, 'ARG v=x', 'COPY passwd* /etc/', line(), line(), line()];
  return [...first, ...last].join('\n');
}

/** All that shows in an image, times aside. */
function describeImage(lab: BuildLab, { diffIds, config }: Image): string[] {
  using files = new ImageFiles(lab.store, diffIds);
  const lines: string[] = [JSON.stringify(config.config)];
  const seen = new Map<unknown, string>();
  walkTree(files.tree, (path) => {
    const node = findSource(files.root, path, false)!;
    const first = node.identity === undefined ? undefined : seen.get(node.identity);
    if (node.identity !== undefined && first === undefined) seen.set(node.identity, path);
    const content = node.type === 'file' ? JSON.stringify(String(readSource(node))) : node.linkname;
    const xattrs = [...(node.xattrs() ?? [])].map(([name, value]) => `${name}=${Buffer.from(value)}`);
    lines.push([node.type, node.mode.toString(8), node.uid, node.gid, path, content, ...xattrs, first ?? ''].join(' '));
  });
  return lines;
}

interface Outcome {
  shown: string[];
  hits: number;
  done: string[];
}

/** What comes of a build: an image, or the code of an error. */
async function buildOnce(lab: BuildLab, text: string, options: BuildOptions): Promise<Outcome> {
  try {
    const run = await lab.build(text, options);
    return { shown: describeImage(lab, run.image), hits: run.cached.length, done: run.done };
  } catch (error) {
    if (!isImagoError(error)) throw error;
    return { shown: [error.code], hits: 0, done: [] };
  }
}

describe('a cache of many builds', () => {
  it(`gives what a build without it gives, ${ROUNDS} times, and all of it the second time`, async () => {
    using cached = new BuildLab();
    using fresh = new BuildLab();
    const pick = picker(SEED);
    const named = join(cached.directory, 'named');
    mkdirSync(named);
    cached.write({ a: 'x', 'b.txt': 'y', 'd/a': '', 'd/e/f': 'x', passwd: PASSWD });
    cached.write({ a: 'y', x: '1', 'etc/f': '2' }, named);
    const options = { context: cached.context, contexts: { n: named } };
    const { now } = Date;
    let hits = 0;
    try {
      for (let round = 0; round < ROUNDS; round++) {
        for (let count = pick([0, 1, 2]); count > 0; count--) {
          changeContext(pick([cached.context, cached.context, named]), pick);
        }
        writeFileSync(join(cached.context, '.dockerignore'), pick(IGNORED));
        const text = dockerfile(pick);
        // Half of the time files are old enough to be trusted by their times.
        Date.now = pick([now, () => now() + 60_000]);
        const first = await buildOnce(cached, text, options);
        const without = await buildOnce(fresh, text, { ...options, noCache: true });
        assert.deepEqual(first.shown, without.shown, `round ${round} of seed ${SEED}:\n${text}`);
        const again = await buildOnce(cached, text, options);
        const missed = again.done.filter((name) => /^(?:COPY|ADD|WORKDIR)/.test(name));
        assert.deepEqual([again.shown, missed], [first.shown, []], `round ${round} of seed ${SEED}, again:\n${text}`);
        hits += first.hits;
      }
    } finally {
      Date.now = now;
    }
    assert.ok(hits > ROUNDS / 2, `${hits} hits`);
  });
});
