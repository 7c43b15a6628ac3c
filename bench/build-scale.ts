/**
 * What a build costs as its context and its chain of layers grow: seconds, memory, and what one more file or layer
 * takes. No peers, since it is the shape that matters; all files are in the page cache.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { median, run } from './measure.ts';

export interface ScaleOptions {
  bin: string;
  /** Imago's store, with `image` in it, which has a shell. */
  root: string;
  image: string;
  work: string;
  rounds: number;
}

const FILES = [1_000, 10_000, 30_000, 100_000];
const LAYERS = [1, 16, 64, 127];
/** The image has some already. */
const RUNS = [1, 16, 64, 120];
/** Of each file: small ones, so that it is files that count, not bytes. */
const SIZE = 512;
const IN_DIRECTORY = 100;

interface Row {
  count: number;
  uncached: number;
  cached: number;
  /** Of the uncached build, MB. */
  peakMB: number;
}

/** Prints a table of each. */
export async function benchScale({ bin, root, image, work, rounds }: ScaleOptions): Promise<void> {
  const home = join(work, 'scale');
  const env = { ...process.env, IMAGO_ROOT: root, IMAGO_RUN: `${root}-run` };
  const build = (context: string, ...flags: string[]) =>
    run([bin, 'build', '-q', '--network', 'none', ...flags, context], { env, cwd: work });
  const measure = async (count: number, context: string): Promise<Row> => {
    const uncached: number[] = [];
    const cached: number[] = [];
    let peakMB = 0;
    for (let i = 0; i < rounds; i++) {
      const sample = await build(context, '--no-cache');
      uncached.push(sample.seconds);
      peakMB = Math.max(peakMB, sample.peakMB);
      cached.push((await build(context)).seconds);
    }
    return { count, uncached: median(uncached), cached: median(cached), peakMB };
  };
  const table = async (title: string, counts: readonly number[], step: number, write: Writer): Promise<void> => {
    const rows: Row[] = [];
    for (const [i, count] of counts.entries()) {
      rows.push(await measure(count, write(join(home, `${title.replace(/\W+/g, '-')}-${i}`), count)));
    }
    printRows(title, rows, step);
  };
  await table('files in one COPY', FILES, 1000, writeFiles);
  await table('layers, a COPY each', LAYERS, 1, writeLayers);
  await table('layers, a RUN each', RUNS, 1, (context, count) => writeRuns(context, count, image));
  rmSync(home, { recursive: true, force: true });
}

/** Makes a context for so many of them, and returns it. */
type Writer = (context: string, count: number) => string;

function writeFiles(context: string, count: number): string {
  for (let i = 0; i < count; i++) {
    const directory = join(context, 'tree', String(Math.floor(i / IN_DIRECTORY)));
    if (i % IN_DIRECTORY === 0) mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, `file-${i}`), `${i}\n`.padEnd(SIZE, 'x'));
  }
  writeFileSync(join(context, 'Dockerfile'), 'FROM scratch\nCOPY tree /tree\n');
  return context;
}

function writeLayers(context: string, count: number): string {
  mkdirSync(context, { recursive: true });
  const lines = ['FROM scratch'];
  for (let i = 0; i < count; i++) {
    writeFileSync(join(context, `file-${i}`), `${i}\n`.padEnd(SIZE, 'x'));
    lines.push(`COPY file-${i} /layer/${i}/file`);
  }
  writeFileSync(join(context, 'Dockerfile'), `${lines.join('\n')}\n`);
  return context;
}

function writeRuns(context: string, count: number, image: string): string {
  mkdirSync(context, { recursive: true });
  const lines = Array.from({ length: count }, (_, i) => `RUN echo ${i} >/run-${i}`);
  writeFileSync(join(context, 'Dockerfile'), `FROM ${image}\n${lines.join('\n')}\n`);
  return context;
}

/** `step`: of how many more of them the marginal cost is told; it stays the same where the cost is linear. */
function printRows(title: string, rows: readonly Row[], step: number): void {
  const further = `${step.toLocaleString('en')} more`;
  console.log(
    `\n| ${title} | uncached | cached | peak memory | ${further}: uncached | cached |\n|---|---|---|---|---|---|`,
  );
  for (const [i, row] of rows.entries()) {
    const before = rows[i - 1];
    const more = (key: 'uncached' | 'cached'): string =>
      before === undefined
        ? ''
        : `${(((row[key] - before[key]) / (row.count - before.count)) * step * 1000).toFixed(1)} ms`;
    const seconds = (value: number): string => `${value.toFixed(2)} s`;
    const cells = [
      row.count.toLocaleString('en'),
      seconds(row.uncached),
      seconds(row.cached),
      `${row.peakMB.toFixed(0)} MB`,
    ];
    console.log(`| ${[...cells, more('uncached'), more('cached')].join(' | ')} |`);
  }
}
