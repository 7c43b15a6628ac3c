/** What a build costs as its context and its chain of layers grow: seconds, and what one more file or layer takes. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { median, run } from './measure.ts';

export interface ScaleOptions {
  bin: string;
  work: string;
  rounds: number;
}

const FILES = [1_000, 10_000, 30_000, 100_000];
const LAYERS = [1, 16, 64, 127];
/** Of each file: small ones, so that it is files that count, not bytes. */
const SIZE = 512;
const IN_DIRECTORY = 100;

interface Row {
  count: number;
  uncached: number;
  cached: number;
}

/** Prints a table of each; no peers, since it is the shape that matters. */
export async function benchScale({ bin, work, rounds }: ScaleOptions): Promise<void> {
  const home = join(work, 'scale');
  const root = join(home, 'store');
  const env = { ...process.env, IMAGO_ROOT: root, IMAGO_RUN: `${root}-run` };
  const build = async (context: string, ...flags: string[]): Promise<number> =>
    (await run([bin, 'build', '-q', ...flags, context], { env, cwd: work })).seconds;
  const measure = async (count: number, context: string): Promise<Row> => {
    const uncached: number[] = [];
    const cached: number[] = [];
    for (let i = 0; i < rounds; i++) {
      uncached.push(await build(context, '--no-cache'));
      cached.push(await build(context));
    }
    return { count, uncached: median(uncached), cached: median(cached) };
  };
  const files: Row[] = [];
  for (const count of FILES) files.push(await measure(count, writeFiles(join(home, `files-${count}`), count)));
  printRows('files in one COPY', 'a further 1,000 files', files, 1000);
  const layers: Row[] = [];
  for (const count of LAYERS) layers.push(await measure(count, writeLayers(join(home, `layers-${count}`), count)));
  printRows('layers, a COPY each', 'a further layer', layers, 1);
  rmSync(home, { recursive: true, force: true });
}

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

/** `step`: how many of them one more step of the marginal cost is; it stays the same where the cost is linear. */
function printRows(title: string, marginal: string, rows: readonly Row[], step: number): void {
  console.log(`\n| ${title} | uncached | cached | ${marginal}: uncached | cached |\n|---|---|---|---|---|`);
  for (const [i, row] of rows.entries()) {
    const before = rows[i - 1];
    const more = (key: 'uncached' | 'cached'): string =>
      before === undefined
        ? ''
        : `${(((row[key] - before[key]) / (row.count - before.count)) * step * 1000).toFixed(1)} ms`;
    const seconds = (value: number): string => `${value.toFixed(2)} s`;
    const cells = [row.count.toLocaleString('en'), seconds(row.uncached), seconds(row.cached)];
    console.log(`| ${[...cells, more('uncached'), more('cached')].join(' | ')} |`);
  }
}
