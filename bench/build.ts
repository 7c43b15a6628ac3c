/**
 * The three builds that people wait for: nothing cached, all cached, one source file changed. The context is an app of
 * 27,000 files, on an image that every engine has; a COPY of all of it and two RUNs; what comes out is ready to run.
 */
import { cpSync, existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { dropCaches, type Engine } from './engines.ts';
import type { BenchInput } from './input.ts';
import { compete, type Times } from './measure.ts';

export interface BuildBench {
  input: BenchInput;
  engines: Engine[];
  /** To build on. */
  image: string;
  rounds: number;
  /** A directory for what lives as long as the bench. */
  work: string;
  report(figure: string, times: Times, goal: string, extra?: string): void;
  /** Before each build the page cache is dropped, dentries and inodes too; else all that is read is in it. */
  cold: boolean;
}

type Builder = Engine & Required<Pick<Engine, 'build'>>;

const BUILT = 'built:latest';
const FILE = 'server.js';
let changes = 0;

export async function benchBuild(bench: BuildBench): Promise<void> {
  const { input, image, engines, work, cold } = bench;
  const context = join(work, 'context');
  if (!existsSync(context)) {
    cpSync(input.app, context, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
    const steps = [`RUN node /copied/${FILE}`, 'RUN find /copied -type f | wc -l >/files'];
    writeFileSync(join(context, 'Dockerfile'), `FROM ${image}\nCOPY . /copied\n${steps.join('\n')}\n`);
  }
  const builders = engines.filter((engine): engine is Builder => engine.build !== undefined);
  const condition = cold ? 'page cache dropped' : 'page cache warm';
  const warmUp = async (): Promise<void> => {
    for (const engine of builders) await engine.build(context, true);
  };
  const race = async (name: string, goal: string, cached: boolean, change: (engine: Builder) => void) => {
    const contestants = builders.map((engine) => ({
      name: engine.name,
      before: async () => {
        change(engine);
        if (cold) dropCaches();
      },
      measure: async () => (await engine.build(context, cached)).seconds,
    }));
    bench.report(`${name}, ${condition}`, await compete(contestants, bench.rounds), goal);
  };
  // So that in their first round, too, all have seen the context.
  await warmUp();
  await race('build: COPY of 27,000 files and two RUNs', '≤ 0.2× peers', false, () => {});
  await warmUp();
  await race('fully cached rebuild', '≤ 0.5× peers', true, () => {});
  const texts = new Map<Builder, string>();
  await race('one source file changed', '≤ 0.3× peers', true, (engine) => {
    const text = `console.log('change', ${++changes});\n`;
    writeFileSync(join(context, FILE), text);
    texts.set(engine, text);
  });
  for (const [engine, text] of texts) await checkBuilt(engine, text);
}

/** The image that an engine has in the end is that of the last change that was made for it. */
async function checkBuilt(engine: Builder, text: string): Promise<void> {
  const { stdout } = await engine.run([], BUILT, ['cat', `/copied/${FILE}`]);
  if (stdout !== text) throw new Error(`${engine.name} built ${JSON.stringify(stdout)} from ${JSON.stringify(text)}`);
}
