import type { Digest } from '../core/digest.ts';
import type { Limit } from '../core/limit.ts';
import type { Time } from '../core/time.ts';
import type { ValueInstruction } from '../formats/dockerfile/instruction.ts';
import { joinWorkdir } from '../formats/dockerfile/path.ts';
import { appendLayer, tarLayer } from '../image/draft.ts';
import { layerRecord } from '../store/layers.ts';
import { BuildCache, stepKey } from './cache.ts';
import { type ConfigureContext, configure } from './configure.ts';
import { COPY_ALL } from './context/base.ts';
import { EMPTY_CONTEXT } from './context/context-source.ts';
import { ImageFiles } from './context/image-source.ts';
import { AheadLayers, foreseeLinks } from './copy/ahead.ts';
import { executeCopy, type LayerContext, type LayerStep, timeText } from './copy/copy.ts';
import { type CopyOrigin, layersOrigin, originNumber } from './copy/origin.ts';
import { copyHistory, copyShape, prepareCopy } from './copy/prepare.ts';
import { locateError } from './errors.ts';
import type { StepProgress } from './events.ts';
import { tellFailure } from './failure.ts';
import { KnownCopies } from './known-copies.ts';
import { type LineageOptions, Lineages } from './lineage.ts';
import { describeStep, StepNames } from './names.ts';
import type { Origin, PlannedStage, PlannedStep } from './plan.ts';
import { type RunContext, type RunToSolve, solveRun } from './run-solver.ts';
import { planScan, type ReadyScanner } from './sbom/scan-plan.ts';
import type { SharedSteps } from './shared-steps.ts';
import type { SolveOptions } from './solve.ts';
import {
  changeConfig,
  diffIds,
  expanderOf,
  expandIn,
  historyEntry,
  imageState,
  runConfig,
  type StageState,
  scratchState,
  settleConfig,
} from './state.ts';
import { executeWorkdir } from './workdir.ts';

/** What the plans of one build have in common. */
export interface Common {
  readonly shared: SharedSteps;
  /** Lets in as many COPYs, ADDs and WORKDIRs as are good at once. */
  readonly copies: Limit;
  readonly several: boolean;
  context: CopyOrigin | undefined;
}

/** The stages of one plan, each built once. */
export class Solver implements Disposable {
  readonly #options: SolveOptions;
  readonly #common: Common;
  readonly #cache: BuildCache;
  readonly #configure: ConfigureContext;
  readonly #stages: Map<PlannedStage, Promise<StageState>> = new Map();
  readonly #open: ImageFiles[] = [];
  readonly #time: Time;
  readonly #stageFiles: Map<PlannedStage, ImageFiles> = new Map();
  readonly #ahead: AheadLayers = new AheadLayers();
  /** Where the cache travels. */
  readonly #known: KnownCopies;
  /** No stage is begun before another one asks for it. */
  #lazy: boolean;

  constructor(options: SolveOptions, common: Common) {
    const { store, lease, plan, buildArgs, epoch } = options;
    this.#options = options;
    this.#common = common;
    this.#cache = options.cache ?? new BuildCache(store, lease);
    this.#configure = { expand: plan.expand, buildArgs, globalArgs: plan.globalArgs };
    const lineages = options.cacheTravels === true ? new Lineages(this.#lineageOptions()) : undefined;
    this.#known = new KnownCopies(this.#cache, lineages, plan.expand);
    this.#lazy = this.#cache.hasSources && options.lazy === true;
    this.#time = { sec: Math.floor((epoch?.getTime() ?? Date.now()) / 1000), nsec: 0 };
  }

  [Symbol.dispose](): void {
    for (const files of this.#open) files[Symbol.dispose]();
  }

  /** Until nothing is written any more. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#stages.values());
    await this.#ahead.settled();
  }

  /** Builds the target, and the stages that it needs; those that caches make needless are left out. */
  start(): Promise<unknown>[] {
    const { stages, target } = this.#options.plan;
    return (this.#lazy ? [target] : stages).map((stage) => this.solve(stage));
  }

  /** A stage whose files are wanted: from now on all are built, side by side. */
  #need(stage: PlannedStage): Promise<StageState> {
    if (this.#lazy) {
      this.#lazy = false;
      // What fails is told by the stage that needs it.
      for (const started of this.start()) started.catch(() => {});
    }
    return this.solve(stage);
  }

  solve(stage: PlannedStage): Promise<StageState> {
    let solved = this.#stages.get(stage);
    if (solved === undefined) {
      solved = this.#solveStage(stage);
      this.#stages.set(stage, solved);
    }
    return solved;
  }

  async #solveStage(stage: PlannedStage): Promise<StageState> {
    const names = new StepNames(stage, this.#options.plan, this.#common.several);
    let state: StageState = { ...(await this.#base(stage, names)), noCache: this.#ignoresCache(stage) };
    const files = this.#files(diffIds(state));
    for (const { step, copy, state: seen } of foreseeLinks(stage.steps, state, this.#configure)) {
      const layer = async (): Promise<LayerStep> => {
        const known = await this.#known.find(step, copy, seen);
        if (known !== undefined) return known;
        const origin = await this.#origin(step.from);
        const made = await this.#common.copies(() => executeCopy(copy, seen, files, origin, this.#layers(seen)));
        return await this.#known.tell(step, copy, seen, made);
      };
      this.#ahead.start(step, layer());
    }
    for (const step of stage.steps) {
      this.#options.signal?.throwIfAborted();
      try {
        const before = diffIds(state).length;
        state =
          configure(state, step.instruction, this.#configure) ?? (await this.#layerStep(state, step, files, names));
        for (const diffId of diffIds(state).slice(before)) files.push(diffId);
      } catch (error) {
        throw locateError(error, step.instruction, step.instruction.source);
      }
    }
    this.#stageFiles.set(stage, files);
    return settleConfig(state);
  }

  /** What a scanner writes about the target, once that is built: a layer, null for none. */
  async scan(scanner: ReadyScanner): Promise<Digest | null> {
    const { plan } = this.#options;
    const states = new Map(await Promise.all(plan.stages.map(async (s) => [s, await this.solve(s)] as const)));
    const { draft } = await this.solve(planScan(plan, states, scanner));
    return draft.config.history?.at(-1)?.empty_layer === true ? null : draft.config.rootfs.diff_ids.at(-1)!;
  }

  #ignoresCache({ name, index }: PlannedStage): boolean {
    const { noCache } = this.#options;
    return typeof noCache === 'boolean' ? noCache : noCache.has(name ?? String(index));
  }

  async #base(stage: PlannedStage, names: StepNames): Promise<StageState> {
    const { base, from, platform } = stage;
    if (base.kind === 'stage') {
      const state = await this.solve(base.stage);
      // A base's triggers take effect in the stage above it, not in those above that.
      const { OnBuild: _, ...rest } = runConfig(state);
      return { ...state, cmdSet: false, draft: { ...state.draft, config: { ...state.draft.config, config: rest } } };
    }
    if (base.kind === 'scratch') return scratchState(platform, this.#age());
    if (base.kind === 'files') {
      // The context's files are the only layer.
      const step: PlannedStep = { instruction: { ...from, ...COPY_ALL }, from: base, trigger: false };
      const state = scratchState(platform, this.#age());
      return this.#layerStep(state, step, this.#files([]), names);
    }
    const work = async ({ number }: StepProgress): Promise<StepValue> => {
      try {
        const image = await this.#options.resolveImage(base.reference, platform, from);
        const state = imageState(image, this.#age(image.config.created));
        return { cached: false, value: { ...state, step: number } };
      } catch (error) {
        throw locateError(error, from, from.source);
      }
    };
    return this.#options.progress.step(names.next(`FROM ${base.reference}`), work, { planned: true });
  }

  /** Of what has no layer yet, and of images that do not say how old they are. */
  #age(own?: string): string {
    return this.#options.epoch?.toISOString() ?? own ?? timeText(this.#time);
  }

  async #layerStep(state: StageState, step: PlannedStep, files: ImageFiles, names: StepNames): Promise<StageState> {
    const { instruction } = step;
    // Before the step begins: a stage that it copies from may have to be built.
    const inputs = [state.step];
    const early = await this.#known.beforeStage(step, state);
    for (const from of early === undefined ? [step.from, ...(step.mounts ?? [])] : []) {
      if (from?.kind === 'stage') inputs.push((await this.#need(from.stage)).step);
    }
    const name = names.next(describeStep(instruction, state, this.#configure.expand), step.trigger);
    const free = instruction.name === 'RUN' || this.#ahead.get(step) !== undefined;
    const enter: Limit = free ? (work) => work() : this.#common.copies;
    const work = async (progress: StepProgress): Promise<StepValue> => {
      try {
        switch (instruction.name) {
          case 'RUN':
            return await this.#run({ instruction, state, origins: step.mounts ?? [], files, progress, name });
          case 'COPY':
          case 'ADD': {
            const copy = prepareCopy(instruction, expanderOf(state, this.#configure.expand));
            if (early !== undefined) return this.#withLayer(state, early, copyHistory(copy));
            const origin = await this.#origin(step.from);
            const place = [state.noCache, diffIds(state), runConfig(state).WorkingDir];
            const key = [...place, copyShape(copy), originNumber(origin)];
            const ahead = await this.#ahead.get(step);
            const result =
              ahead ?? (await this.#once(key, () => executeCopy(copy, state, files, origin, this.#layers(state))));
            return this.#withLayer(state, await this.#known.tell(step, copy, state, result), copyHistory(copy));
          }
          case 'WORKDIR':
            return await this.#workdir(state, instruction, files);
          default:
            throw new Error(`not a layer step: ${instruction.name}`);
        }
      } catch (error) {
        const located = locateError(error, instruction, name);
        if (instruction.name !== 'RUN') await tellFailure(this.#options, state, name, located as Error);
        throw located;
      }
    };
    const numbered = async (progress: StepProgress): Promise<StepValue> => {
      const { cached, value } = await work(progress);
      return { cached, value: { ...value, step: progress.number } };
    };
    return enter(() => this.#options.progress.step(name, numbered, { inputs, planned: true }));
  }

  #lineageOptions(): LineageOptions {
    const { network, allow, runSettings: settings, epoch, resolveImage, plan } = this.#options;
    return {
      ...{ configure: this.#configure, network, allow, settings, epoch, resolveImage },
      platform: plan.target.platform,
      ignoresCache: (stage) => this.#ignoresCache(stage),
      start: async ({ base, platform, from }) => {
        if (base.kind === 'scratch') return scratchState(platform, this.#age());
        if (base.kind !== 'image') return undefined;
        const image = await resolveImage(base.reference, platform, from);
        return imageState(image, this.#age(image.config.created));
      },
      context: () => this.#context(),
      layers: (state) => this.#layers(state),
    };
  }

  /** Done once for all stages and platforms; for all but the first it is as if the cache had had it. */
  async #once(key: unknown, work: () => Promise<LayerStep>): Promise<LayerStep> {
    const { value, shared } = await this.#common.shared.once(stepKey(key), work);
    return shared ? { ...value, cached: true } : value;
  }

  async #run(run: RunToSolve): Promise<StepValue> {
    const context: RunContext = {
      options: this.#options,
      cache: this.#cache,
      time: this.#time,
      expand: (state, text) => expandIn(state, text, this.#configure.expand),
      origin: (from) => this.#origin(from),
      layers: (state) => this.#layers(state),
      once: (key, work) => this.#once(key, work),
      forgetContext: () => {
        this.#common.context = undefined;
      },
    };
    const { result, createdBy } = await solveRun(context, run);
    return this.#withLayer(run.state, result, createdBy);
  }

  async #workdir(state: StageState, instruction: ValueInstruction, files: ImageFiles): Promise<StepValue> {
    const path = expandIn(state, instruction.value, this.#configure.expand);
    const WorkingDir = joinWorkdir(runConfig(state).WorkingDir || '/', path).replace(/(?<=.)\/$/, '');
    const key = ['WORKDIR', state.noCache, diffIds(state), WorkingDir, runConfig(state).User];
    const result = await this.#once(key, () => executeWorkdir(WorkingDir, state, files, this.#layers(state)));
    const { cached, value } = this.#withLayer(state, result, `WORKDIR ${WorkingDir}`);
    const { draft } = value;
    const config = { ...draft.config, config: { ...draft.config.config, WorkingDir } };
    return { cached, value: { ...value, draft: { ...draft, config } } };
  }

  #withLayer(before: StageState, result: LayerStep, createdBy: string): StepValue {
    const { cached, layer } = result;
    const created = this.#options.epoch?.toISOString() ?? result.created;
    const state = { ...before, created };
    if (layer === null) return { cached, value: changeConfig(state, {}, createdBy) };
    const { tarSize } = layerRecord(this.#options.store, layer);
    const draft = appendLayer(state.draft, tarLayer({ diffId: layer, tarSize }), historyEntry(createdBy, created));
    return { cached, value: { ...state, draft } };
  }

  async #origin(from: Origin | undefined): Promise<CopyOrigin> {
    const { store, plan } = this.#options;
    if (from === undefined) return this.#context();
    if (from.kind === 'scratch') return EMPTY_CONTEXT.open();
    if (from.kind === 'files') return (await this.#options.openNamed(from.place)).open();
    if (from.kind === 'stage') {
      const layers = diffIds(await this.#need(from.stage));
      return layersOrigin(
        store,
        this.#stageFiles.get(from.stage)!,
        layers,
        `stage ${from.stage.name ?? from.stage.index}`,
      );
    }
    const { diffIds: layers } = await this.#options.resolveImage(from.reference, plan.target.platform, undefined);
    return layersOrigin(store, this.#files(layers), layers, `image ${from.reference}`);
  }

  #context(): CopyOrigin {
    this.#common.context ??= this.#options.context.open();
    return this.#common.context;
  }

  #files(layers: readonly Digest[]): ImageFiles {
    for (const diffId of layers) this.#options.lease.add(diffId);
    const files = new ImageFiles(this.#options.store, layers);
    this.#open.push(files);
    return files;
  }

  #layers({ noCache = false }: StageState): LayerContext {
    const { store, lease, epoch, materials, readSecret, signal } = this.#options;
    const shared = { store, lease, cache: this.#cache, materials, readSecret, signal };
    return { ...shared, noCache, now: this.#time, epoch: epoch?.toISOString() };
  }
}

interface StepValue {
  cached: boolean;
  value: StageState;
}
