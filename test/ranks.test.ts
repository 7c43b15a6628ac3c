import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { describe, test } from 'node:test';
import { type Import, reachable, readImports } from '../scripts/imports.ts';

/** docs/ARCHITECTURE.md §Rooms. A room imports itself and lower ranks, never its own rank or above. */
const RANKS: Record<string, number> = {
  core: 0,
  oci: 1,
  formats: 1,
  system: 1,
  tree: 2,
  store: 3,
  image: 4,
  snapshot: 5,
  registry: 5,
  archive: 5,
  runtime: 5,
  build: 6,
  transfer: 6,
  container: 6,
  media: 6,
  exporter: 7,
  engine: 8,
  dockerd: 9,
  explorer: 9,
  cli: 10,
};

/** The rooms that run in a browser too. */
const PURE = ['core', 'oci', 'formats', 'tree'];

const graph: Map<string, Import[]> = readImports();

function roomOf(file: string): string {
  return file.includes('/') ? file.slice(0, file.indexOf('/')) : '';
}

/** A codec of formats/ is a room of its own; they share types only. */
function codecOf(file: string): string {
  return roomOf(file) === 'formats' ? file.split('/').slice(0, 2).join('/') : roomOf(file);
}

/** How a program comes to load `file`: the shortest chain of imports from an entry. */
function chainTo(file: string): string {
  const entries = [...graph.keys()].filter(
    (f) => f === 'index.ts' || f.startsWith('cli/commands/') || basename(f).endsWith('-worker.ts'),
  );
  const chains = entries.flatMap((entry) => reachable(graph, entry).get(file) ?? []);
  return chains.length === 0 ? '' : `\n    loaded by way of ${chains.slice(0, chains.indexOf(file) + 1).join(' → ')}`;
}

function report(problems: string[]): void {
  assert.ok(problems.length === 0, `\n  ${problems.join('\n  ')}`);
}

describe('ranks', () => {
  test('every file is in a room that has a rank', () => {
    const homeless = [...graph.keys()].filter((file) => file !== 'index.ts' && !(roomOf(file) in RANKS));
    report(homeless.map((file) => `src/${file}: no such room in test/ranks.test.ts`));
  });

  test('a room imports itself and lower ranks only', () => {
    const problems: string[] = [];
    for (const [file, imports] of graph) {
      if (file === 'index.ts') continue;
      for (const { target, line, typeOnly } of imports) {
        if (!graph.has(target) || codecOf(target) === codecOf(file)) continue;
        if (typeOnly && roomOf(file) === 'formats' && roomOf(target) === 'formats') continue;
        const [mine, theirs] = [RANKS[roomOf(file)]!, RANKS[roomOf(target)] ?? Number.POSITIVE_INFINITY];
        if (theirs < mine) continue;
        problems.push(
          `src/${file}:${line} (rank ${mine}) imports ${typeOnly ? 'a type of ' : ''}src/${target} (rank ${theirs})${chainTo(file)}`,
        );
      }
    }
    report(problems);
  });

  test('relative imports name files that exist', () => {
    const problems: string[] = [];
    for (const [file, imports] of graph) {
      for (const { target, line } of imports) {
        const isPath = /\.[jt]s$/.test(target);
        // dist/cli.cjs imports the bundle beside it.
        if (!isPath || graph.has(target) || (file === 'cli/start.ts' && target === 'cli/main.js')) continue;
        problems.push(`src/${file}:${line} imports src/${target}, which is not there`);
      }
    }
    report(problems);
  });

  test('rooms that run in a browser import nothing of Node and no package', () => {
    const problems: string[] = [];
    for (const [file, imports] of graph) {
      if (!PURE.includes(roomOf(file))) continue;
      for (const { target, line } of imports) {
        if (!graph.has(target) && !/\.[jt]s$/.test(target)) problems.push(`src/${file}:${line} imports ${target}`);
      }
    }
    report(problems);
  });

  test('the base names of worker entries differ, as dist/ is flat', () => {
    const names = new Map<string, string>([
      ['main.ts', 'cli/main.ts'],
      ['index.ts', 'index.ts'],
    ]);
    for (const file of graph.keys()) {
      if (!file.endsWith('-worker.ts')) continue;
      assert.equal(names.get(basename(file)), undefined, `src/${file}`);
      names.set(basename(file), file);
    }
  });
});

/** Milliseconds that each of these costs when a command starts; load them with `await import()` where they are used. */
const HEAVY = [
  'child_process',
  'stream',
  'stream/promises',
  'timers/promises',
  'fs/promises',
  'readline',
  'http',
  'https',
  'http2',
  'tls',
  'net',
  'zlib',
  'crypto',
  'dns',
  'inspector',
  'worker_threads',
  'koffi',
];
/** The commands that are typed all day, and the program itself. */
const QUICK = ['main', 'commands/run', 'commands/ps', 'commands/images', 'commands/exec', 'commands/rm'];

describe('what a quick command loads', () => {
  for (const name of QUICK) {
    const file = `cli/${name}.ts`;
    if (!graph.has(file)) continue;
    test(`${name} loads none of ${HEAVY.join(', ')}`, () => {
      const chains = reachable(graph, file);
      const found = HEAVY.map((heavy) => chains.get(`node:${heavy}`) ?? chains.get(heavy)).filter(
        (c) => c !== undefined,
      );
      report(found.map((chain) => chain.join(' → ')));
    });
  }
});
