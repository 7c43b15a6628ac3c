import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pruneCache, sweepRecords } from '../../src/engine/build-cache-prune.ts';
import { type CacheEntry, listCacheEntries } from '../../src/engine/build-cache-usage.ts';
import { readDiskUsage } from '../../src/engine/disk-usage.ts';
import { pruneStore } from '../../src/engine/prune.ts';
import { removeImage } from '../../src/engine/rmi.ts';
import { verifyStore } from '../../src/engine/verify.ts';
import { BuildLab } from './lab.ts';

const main: string = join(import.meta.dirname, '../../src/cli/main.ts');
const HOUR = 3600 * 1000;
const BIG = 3_000_000;

/** A store with the results of three steps, of which no image has one: their images are gone. */
async function threeResults(): Promise<BuildLab> {
  const lab = new BuildLab();
  for (const name of ['a', 'b', 'c']) {
    lab.write({ [name]: name.repeat(BIG) });
    await lab.build(`FROM scratch\nCOPY ${name} /`, { tags: [name] });
    await removeImage(lab.store, name);
  }
  // Used three, two and one hour ago.
  const records = await regular(lab);
  for (const [i, { name }] of records.entries()) age(lab, name, (3 - i) * HOUR);
  return lab;
}

function age(lab: BuildLab, name: string, milliseconds: number): void {
  const time = new Date(Date.now() - milliseconds);
  utimesSync(join(lab.store.root, 'cache', name), time, time);
}

async function regular(lab: BuildLab): Promise<CacheEntry[]> {
  return (await listCacheEntries(lab.store)).filter(({ type }) => type === 'regular');
}

/** Bytes of the store on disk, once what was removed is gone. */
async function du(lab: BuildLab): Promise<number> {
  while (readdirSync(join(lab.store.root, 'ingest')).length > 0)
    await new Promise((resolve) => setTimeout(resolve, 10));
  return Number(execFileSync('du', ['-s', '--block-size=1', lab.store.root], { encoding: 'utf8' }).split('\t')[0]);
}

function layers(lab: BuildLab): number {
  return readdirSync(join(lab.store.root, 'layers')).length;
}

function imago(lab: BuildLab, ...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [main, ...args], {
    encoding: 'utf8',
    env: { ...process.env, IMAGO_ROOT: lab.store.root, IMAGO_RUN: lab.store.run },
  });
}

describe('builder prune', () => {
  it('takes what no image has, and gives its disk back', async () => {
    using lab = await threeResults();
    await lab.build('FROM scratch\nCOPY a /', { tags: ['kept'] });
    const before = await du(lab);
    const listed = await listCacheEntries(lab.store);
    const { entries, bytes } = await pruneCache(lab.store);
    assert.equal(entries.length, 2);
    assert.equal(before - (await du(lab)), bytes);
    assert.equal(
      entries.reduce((sum, { own }) => sum + own, 0),
      bytes,
    );
    assert.ok(bytes > 2 * BIG);
    assert.equal(listed.filter(({ shared }) => shared).length, 1);
    assert.equal(layers(lab), 1);
    // The result that the image has is still a hit.
    assert.ok((await lab.build('FROM scratch\nCOPY a /')).cached.some((name) => /COPY/.test(name)));
    assert.deepEqual((await verifyStore(lab.store)).damaged, []);
  });

  it('takes all with --all, but no image', async () => {
    using lab = await threeResults();
    const { id } = await lab.build('FROM scratch\nCOPY a /', { tags: ['kept'] });
    await pruneCache(lab.store, { all: true });
    assert.deepEqual(await listCacheEntries(lab.store), []);
    assert.equal(layers(lab), 1);
    const again = await lab.build('FROM scratch\nCOPY a /');
    assert.ok(again.done.some((name) => /COPY/.test(name)));
    assert.equal(lab.read(again.image, 'a')!.length, BIG);
    assert.ok(id);
  });

  for (const [name, options, left] of [
    ['until=90m', { filters: ['until=90m'] }, [3]],
    ['until=4h', { filters: ['until=4h'] }, [1, 2, 3]],
    ['unused-for=150m', { filters: ['unused-for=150m'] }, [2, 3]],
    ['type=exec.cachemount', { filters: ['type=exec.cachemount'] }, [1, 2, 3]],
    ['type!=regular', { filters: ['type!=regular'] }, [1, 2, 3]],
    ['private', { filters: ['private'] }, []],
    ['shared', { filters: ['shared'] }, [1, 2, 3]],
    ['shared=false and until=90m', { filters: ['shared=false', 'until=90m'] }, [3]],
    ['--reserved-space of two', { reservedSpace: 2.1 * BIG }, [2, 3]],
    ['--reserved-space of all', { reservedSpace: 10 * BIG }, [1, 2, 3]],
    ['--max-used-space of one', { maxUsedSpace: 1.1 * BIG }, [3]],
    ['--max-used-space of one, two reserved', { maxUsedSpace: 1.1 * BIG, reservedSpace: 2.1 * BIG }, [2, 3]],
    ['--min-free-space that is there', { minFreeSpace: 1 }, [1, 2, 3]],
    ['--min-free-space that no disk has', { minFreeSpace: 2 ** 60 }, []],
  ] as const) {
    it(name, async () => {
      using lab = await threeResults();
      const before = await regular(lab);
      await pruneCache(lab.store, options);
      const names = (await regular(lab)).map((entry) => before.findIndex((old) => old.name === entry.name) + 1);
      assert.deepEqual(names, left);
      assert.equal(layers(lab), left.length);
    });
  }

  it('by the beginning of an ID', async () => {
    using lab = await threeResults();
    const [, second] = await regular(lab);
    const { entries } = await pruneCache(lab.store, { filters: [`id=${second!.id.slice(0, 8)}`] });
    assert.deepEqual(
      entries.map(({ id }) => id),
      [second!.id],
    );
  });

  it('refuses what it does not know', async () => {
    using lab = new BuildLab();
    for (const filter of ['x=1', 'until', 'until=yesterday', 'until=-1h', 'id', 'type~=(', '', '=']) {
      await assert.rejects(pruneCache(lab.store, { filters: [filter] }), { code: 'BAD_FILTER' }, filter);
    }
  });

  it('leaves what a running command holds', async () => {
    using lab = await threeResults();
    const [first] = await regular(lab);
    using lease = lab.store.lease('build');
    lease.add(first!.description.slice('layer '.length) as `sha256:${string}`);
    const held = (await regular(lab)).filter(({ inUse }) => inUse);
    assert.deepEqual(
      held.map(({ id }) => id),
      [first!.id],
    );
    await pruneCache(lab.store, { all: true });
    assert.deepEqual(
      (await regular(lab)).map(({ id }) => id),
      [first!.id],
    );
    assert.equal(layers(lab), 1);
  });

  it('leaves what was used while it looked', async () => {
    using lab = await threeResults();
    const pruning = pruneCache(lab.store);
    // It looks at once, and removes later.
    for (const name of readdirSync(join(lab.store.root, 'cache')).filter((file) => file.endsWith('.json')))
      age(lab, name, 0);
    const { entries } = await pruning;
    assert.ok(entries.length < 3);
    assert.equal((await regular(lab)).length + entries.length, 3);
    assert.equal(layers(lab) + entries.length, 3);
  });

  it('takes cache mounts that no step uses', async () => {
    using lab = await threeResults();
    const place = join(lab.store.root, 'cache/mounts/abc-0');
    mkdirSync(join(place, 'data'), { recursive: true });
    writeFileSync(join(place, 'mount.json'), '{"id":"npm"}\n');
    writeFileSync(join(place, 'data/x'), Buffer.alloc(100_000, 1));
    const [mount] = (await listCacheEntries(lab.store)).filter(({ type }) => type === 'exec.cachemount');
    assert.equal(mount!.description, 'cache mount npm');
    assert.ok(mount!.size > 100_000);
    const before = await du(lab);
    const { bytes } = await pruneCache(lab.store, { filters: ['type=exec.cachemount'] });
    assert.equal(before - (await du(lab)), bytes);
    assert.deepEqual(readdirSync(join(lab.store.root, 'cache/mounts')), []);
  });

  it('beside builds', async () => {
    using lab = new BuildLab();
    lab.write({ a: 'a', b: 'b' });
    let done = false;
    const pruning = (async () => {
      while (!done) {
        await pruneCache(lab.store, { all: true });
        await new Promise((resolve) => setTimeout(resolve, 3));
      }
    })();
    try {
      for (let i = 0; i < 10; i++) {
        lab.write({ b: String(i % 3) });
        const run = await lab.build('FROM scratch AS s\nCOPY a /x/\nFROM scratch\nCOPY --from=s /x /x\nCOPY b /b');
        assert.equal(lab.read(run.image, 'b'), String(i % 3));
        assert.equal(lab.read(run.image, 'x/a'), 'a');
      }
    } finally {
      done = true;
      await pruning;
    }
    assert.deepEqual((await verifyStore(lab.store)).damaged, []);
  });
});

describe('the build cache goes by itself', () => {
  it('what no build used for 30 days, looked at once a day', async () => {
    using lab = await threeResults();
    const [first, second] = await regular(lab);
    age(lab, first!.name, 31 * 24 * HOUR);
    age(lab, second!.name, 29 * 24 * HOUR);
    // The builds above looked today.
    await sweepRecords(lab.store);
    assert.equal((await regular(lab)).length, 3);
    await sweepRecords(lab.store, Date.now() + 25 * HOUR);
    // By that clock the second one is 30 days old, and an hour.
    assert.equal((await regular(lab)).length, 1);
    assert.equal(layers(lab), 1);
  });

  it('a use makes it young again', async () => {
    using lab = await threeResults();
    const [first] = await regular(lab);
    age(lab, first!.name, 31 * 24 * HOUR);
    await lab.build('FROM scratch\nCOPY a /');
    const used = (await regular(lab)).find(({ id }) => id === first!.id)!;
    assert.ok(Date.now() - used.lastUsed < HOUR);
  });
});

describe('the words of builder du, builder prune and system df', () => {
  it('a table with sums', async () => {
    using lab = await threeResults();
    await lab.build('FROM scratch\nCOPY a /', { tags: ['kept'] });
    const table = imago(lab, 'builder', 'du');
    assert.equal(table.status, 0, table.stderr);
    const lines = table.stdout.split('\n');
    assert.match(lines[0]!, /^ID +RECLAIMABLE +SIZE +LAST ACCESSED$/);
    assert.match(table.stdout, /^[0-9a-f]{25} +true +3(?:\.\d+)?MB +2 hours ago$/m);
    assert.match(table.stdout, /^[0-9a-f]{25} +true +3(?:\.\d+)?MB\* +/m);
    assert.match(
      table.stdout,
      /^Shared: +3(?:\.\d+)?MB\nPrivate: +6(?:\.\d+)?MB\nReclaimable: +6(?:\.\d+)?MB\nTotal: +9(?:\.\d+)?MB$/m,
    );
    const verbose = imago(lab, 'builder', 'du', '--verbose', '--filter', 'type=regular').stdout;
    assert.equal(verbose.match(/^ID: /gm)?.length, 3);
    assert.match(verbose, /^Type: +regular$/m);
    const rows = imago(lab, 'builder', 'du', '--format', 'json')
      .stdout.trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.equal(rows.filter(({ Type }) => Type === 'regular').length, 3);
    const sizes = rows.map(({ Size }) => Number(Size));
    assert.ok(sizes.every((size) => size > 0));
    const usage = await readDiskUsage(lab.store);
    assert.equal(
      usage.cache.size,
      rows.filter(({ Shared }) => !Shared).reduce((sum, { Size }) => sum + Number(Size), 0) +
        (await listCacheEntries(lab.store)).filter(({ shared }) => shared).reduce((sum, { own }) => sum + own, 0),
    );
    assert.equal(usage.cache.total, rows.length);
    const pruned = imago(lab, 'builder', 'prune', '-f');
    assert.match(
      pruned.stdout,
      /^ID +RECLAIMABLE +SIZE +LAST ACCESSED\n(?:[0-9a-f]{25} .*\n){2}Total:\t6(?:\.\d+)?MB\n$/,
    );
  });

  it('asks first, and refuses what is no size', async () => {
    using lab = await threeResults();
    const asked = imago(lab, 'builder', 'prune');
    assert.match(asked.stdout, /^WARNING! This will remove all dangling build cache\./);
    assert.equal((await regular(lab)).length, 3);
    const bad = imago(lab, 'builder', 'prune', '-f', '--max-used-space', 'much');
    assert.equal(bad.status, 125);
    assert.equal((await regular(lab)).length, 3);
    assert.equal(imago(lab, 'builder', 'prune', '-f', '--keep-storage', '4mb').status, 0);
    assert.equal((await regular(lab)).length, 1);
  });

  it('system prune takes it all', async () => {
    using lab = await threeResults();
    await lab.build('FROM scratch\nCOPY a /', { tags: ['kept'] });
    const before = await du(lab);
    const { bytes } = await pruneStore(lab.store, { cache: true });
    assert.equal(before - (await du(lab)), bytes);
    assert.equal((await readDiskUsage(lab.store)).cache.size < 100_000, true);
    assert.equal(layers(lab), 1);
    assert.ok(statSync(join(lab.store.root, 'cache')).isDirectory());
  });
});
