/**
 * `npm run bench [-- SECTION…]`: Imago beside the peers that are installed, on real input, in interleaved rounds.
 * Prints one row a figure: medians with the least and the most, the ratio to the best peer of the same round, and the
 * goal. Sections: load pull registry index run inside rmi build build-cold scale start backends. IMAGO_BENCH_ROUNDS sets
 * the rounds (default 3).
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { benchBuild } from './build.ts';
import { benchScale } from './build-scale.ts';
import { clean, dropCaches, type Engine, imago, installCopy, openPeers } from './engines.ts';
import { type BenchInput, prepareInput } from './input.ts';
import { type Contestant, compete, median, ratios, run, type Sample, type Times } from './measure.ts';
import { benchPull } from './pull.ts';
import { benchRegistry } from './registry.ts';

const rounds = Number(process.env.IMAGO_BENCH_ROUNDS ?? 3);
const work: string = join(process.env.IMAGO_BENCH_DIR ?? join(import.meta.dirname, '..', '.bench'), 'work');
const image = 'bench:latest';
const rows: string[][] = [];

/** Adds one row: times by engine, and the first one's ratio to the fastest of the others, round by round. */
function report(figure: string, times: Times, goal: string, extra = ''): void {
  const shown = [...times].map(([name, seconds]) => `${name} ${spread(seconds, format)}`).join(', ');
  const ratio = ratios([...times.values()]);
  const shownRatio = ratio.length === 0 ? '–' : `${spread(ratio, (value) => value.toFixed(2))}×`;
  rows.push([figure, shown, shownRatio, goal, extra]);
  console.log(`${figure}: ${shown} · ${shownRatio} (goal ${goal})${extra === '' ? '' : ` · ${extra}`}`);
}

/** The median, with the least and the most of several. */
function spread(values: number[], show: (value: number) => string): string {
  const middle = show(median(values));
  return values.length < 2 ? middle : `${middle} (${show(Math.min(...values))}–${show(Math.max(...values))})`;
}

function format(seconds: number): string {
  return seconds < 1 ? `${(seconds * 1000).toFixed(0)} ms` : `${seconds.toFixed(2)} s`;
}

async function benchLoad(input: BenchInput, engines: Engine[]): Promise<void> {
  let peak = 0;
  const contestants: Contestant[] = engines.map((engine) => ({
    name: engine.name,
    before: () => engine.removeAll(),
    measure: async () => {
      const sample = await engine.load(input);
      if (engine.name === 'imago') peak = Math.max(peak, sample.peakMB);
      return sample.seconds;
    },
  }));
  const floor = { name: 'floor', measure: async () => (await runScript('floor.ts', input.layout)).seconds };
  const times = await compete([...contestants, floor], rounds);
  const bare = median(times.get('floor')!);
  times.delete('floor');
  const own = median(times.get('imago')!);
  const note = `${(own / bare).toFixed(2)}× a bare inflate + hash + write in two workers (${format(bare)}); peak memory ${peak.toFixed(0)} MB (goal ≤ 300)`;
  report('bring the image in, ready to run', times, '≤ 0.25× peers', note);
}

function runScript(name: string, ...args: string[]): Promise<Sample> {
  return run([process.execPath, join(import.meta.dirname, name), ...args], { cwd: work });
}

async function benchIndex(input: BenchInput): Promise<void> {
  const seconds: number[] = [];
  let size = 0;
  for (let i = 0; i < rounds; i++) {
    const sample = await runScript('index-layer.ts', input.tars[2]!);
    seconds.push(Number(sample.stdout.split(' ')[0]));
    size = Number(sample.stdout.split(' ')[1]);
  }
  const note = `${(size / 1e6).toFixed(2)} MB (goal ≤ 4)`;
  report('index of the 27,000-file layer, cold process', new Map([['imago', seconds]]), '≤ 0.6 s', note);
}

async function benchRun(engines: Engine[]): Promise<void> {
  const own = engines[0] as ReturnType<typeof imago>;
  const bundle = join(work, 'runc-bundle');
  makeBundle(own, bundle);
  const n = rounds * 5;
  let id = 0;
  const contestants: Contestant[] = engines.map((engine) => ({
    name: engine.name,
    measure: async () => (await engine.run([], image, ['/bin/true'])).seconds,
  }));
  contestants.push(
    { name: 'runc', measure: async () => (await run(['runc', 'run', '-b', bundle, `bench${id++}`])).seconds },
    { name: 'node -e 0', measure: async () => (await run([process.execPath, '-e', '0'])).seconds },
  );
  const times = await compete(contestants, n);
  const bare = median(times.get('runc')!);
  const empty = median(times.get('node -e 0')!);
  const note = `bare runc ${format(bare)} + node -e 0 ${format(empty)} + 40 ms = ${format(bare + empty + 0.04)}`;
  times.delete('runc');
  times.delete('node -e 0');
  report('run --rm --network none IMAGE /bin/true', times, '≤ 0.45× peers, ≤ the sum', note);
}

/** A bundle for the bare runc: the base layer unpacked, runc's own default spec without a terminal. */
function makeBundle(own: { root: string }, bundle: string): void {
  if (existsSync(bundle)) return;
  mkdirSync(join(bundle, 'rootfs'), { recursive: true });
  spawnSync('tar', ['-xf', join(work, '..', 'input', 'base.tar'), '-C', join(bundle, 'rootfs')]);
  spawnSync('runc', ['spec', '-b', bundle]);
  const file = join(bundle, 'config.json');
  const script = `const fs=require('fs');const s=JSON.parse(fs.readFileSync('${file}'));s.process.terminal=false;s.process.args=['/bin/true'];s.process.rlimits=[];fs.writeFileSync('${file}',JSON.stringify(s))`;
  spawnSync(process.execPath, ['-e', script]);
  if (!existsSync(file)) throw new Error(`no runc bundle could be made beside ${own.root}: is runc installed?`);
}

/** Seconds that a shell command takes inside a container, its start and end apart. */
async function inside(engine: Engine, options: string[], command: string): Promise<number> {
  const script = `set -e; s=$EPOCHREALTIME; { ${command}; } >/dev/null; e=$EPOCHREALTIME; echo "$s $e"`;
  const { stdout } = await engine.run(options, image, ['/bin/bash', '-c', script]);
  const [start, end] = stdout.trim().split(' ').map(Number);
  return end! - start!;
}

async function benchInside(engines: Engine[]): Promise<void> {
  const rivals = engines.filter((engine) => engine.name !== 'docker');
  const tasks: [string, string][] = [
    ['read all of node_modules', 'find /app/node_modules -type f -print0 | xargs -0 cat'],
    ['start Node', 'node -e 0'],
    ['grep -r (stdio)', '! grep -r no-such-text /app/node_modules'],
  ];
  for (const limit of [[], ['-m', '200m']]) {
    for (const [name, command] of tasks) {
      for (const cold of [true, false]) {
        const contestants = rivals.map((engine) => ({
          name: engine.name,
          before: async () => (cold ? dropCaches() : inside(engine, limit, command)),
          measure: () => inside(engine, limit, command),
        }));
        const label = `in a container${limit.length > 0 ? ', 200 MB' : ''}: ${name}, ${cold ? 'cold' : 'warm'}`;
        // Tens of milliseconds each: cheap to repeat, and noisy.
        const n = name === 'start Node' ? rounds * 3 : rounds;
        report(label, await compete(contestants, n), cold ? '≤ 1.0× podman' : '≤ 1.1× podman');
      }
    }
  }
}

async function benchRemove(input: BenchInput, engines: Engine[]): Promise<void> {
  const contestants = engines.map((engine) => ({
    name: engine.name,
    before: async () => {
      await engine.removeAll();
      await engine.load(input);
    },
    measure: async () => (await engine.rmi(image)).seconds,
  }));
  report('remove the image', await compete(contestants, rounds), '≤ 0.1× peers');
  for (const engine of engines) await engine.load(input);
}

async function benchStart(bin: string): Promise<void> {
  const contestants = [
    { name: 'imago --version', measure: async () => (await run([bin, '--version'])).seconds },
    { name: 'node -e 0', measure: async () => (await run([process.execPath, '-e', '0'])).seconds },
  ];
  report('imago --version', await compete(contestants, rounds * 7), '≤ 1.5× node -e 0');
}

async function main(): Promise<void> {
  const wanted = process.argv.slice(2);
  const on = (name: string): boolean => wanted.length === 0 || wanted.includes(name);
  const input = await prepareInput();
  clean(work);
  const version = spawnSync('uname', ['-r'], { encoding: 'utf8' }).stdout.trim();
  const size = input.tars.reduce((sum, file) => sum + statSync(file).size, 0);
  console.log(
    `Linux ${version}, ${cpus().length} × ${cpus()[0]?.model}, ${(totalmem() / 1e9).toFixed(0)} GB; Node ${process.version}; input ${(size / 1e6).toFixed(0)} MB of tar; medians of ${rounds} interleaved rounds`,
  );
  const peers = await openPeers(work);
  const bin = installCopy(work);
  const own = imago(work, bin, 'erofs');
  try {
    await compare(bin, input, [own, ...peers], on);
    if (on('backends')) await benchBackends(bin, input, peers, on);
  } finally {
    for (const engine of [own, ...peers]) await engine.stop?.();
  }
  printTable();
  rmSync(work, { recursive: true, force: true });
}

async function compare(
  bin: string,
  input: BenchInput,
  engines: Engine[],
  on: (name: string) => boolean,
): Promise<void> {
  if (on('start')) await benchStart(bin);
  if (on('index')) await benchIndex(input);
  if (on('pull')) await benchPull({ input, engines, rounds, work, report });
  if (on('load')) await benchLoad(input, engines);
  else for (const engine of engines) await engine.load(input);
  if (on('registry')) await benchRegistry({ bin, rounds, work, report });
  if (on('run')) await benchRun(engines);
  if (on('inside')) await benchInside(engines);
  for (const cold of [false, true]) {
    if (on(cold ? 'build-cold' : 'build')) await benchBuild({ input, engines, image, rounds, work, report, cold });
  }
  if (on('scale')) await benchScale({ bin, root: engines[0]!.root!, image, work, rounds });
  if (on('rmi')) await benchRemove(input, engines);
}

/** What the other two backends cost, against podman. */
async function benchBackends(
  bin: string,
  input: BenchInput,
  peers: Engine[],
  on: (name: string) => boolean,
): Promise<void> {
  const rivals = peers.filter((engine) => engine.name === 'podman');
  for (const backend of ['erofs-loop', 'unpacked']) {
    const engines = [imago(work, bin, backend), ...rivals];
    const ready = engines.map((engine) => ({
      name: engine.name,
      before: () => engine.removeAll(),
      measure: async () => {
        const loaded = await engine.load(input);
        return loaded.seconds + (await engine.run([], image, ['/bin/true'])).seconds;
      },
    }));
    report(
      `${backend}: bring in and run once`,
      await compete(ready, rounds),
      backend === 'unpacked' ? '≤ 0.8× podman' : '–',
    );
    if (on('run')) await benchRun(engines);
    if (on('inside')) await benchInside(engines);
    if (on('rmi')) await benchRemove(input, engines);
    await engines[0]!.stop?.();
  }
}

function printTable(): void {
  console.log('\n| Figure | Medians | Ratio | Goal | |\n|---|---|---|---|---|');
  for (const row of rows) console.log(`| ${row.join(' | ')} |`);
}

await main();
