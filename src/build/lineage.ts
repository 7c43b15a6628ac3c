import { ImagoError } from '../core/errors.ts';
import type { FromInstruction, RunInstruction } from '../formats/dockerfile/instruction.ts';
import { parseMount } from '../formats/dockerfile/mount.ts';
import type { Image } from '../image/image.ts';
import { formatPlatform, type Platform } from '../oci/platform.ts';
import { stepKey } from './cache.ts';
import { type ConfigureContext, configure } from './configure.ts';
import { enterDirectory } from './copy/ahead.ts';
import { copyInputs, type LayerContext } from './copy/copy.ts';
import type { CopyOrigin } from './copy/origin.ts';
import { isNumericOwner } from './copy/owner.ts';
import { copyShape, type PreparedCopy, prepareCopy } from './copy/prepare.ts';
import { MountSource } from './mounts/source.ts';
import type { Origin, PlannedStage, PlannedStep } from './plan.ts';
import { type Entitlement, prepareRun, type RunNetwork, type RunSettings, runKey, runVariables } from './run.ts';
import { diffIds, expandIn, runConfig, type StageState } from './state.ts';

export interface LineageOptions {
  configure: ConfigureContext;
  network: RunNetwork;
  allow: readonly Entitlement[];
  settings: RunSettings;
  epoch: Date | undefined;
  /** Whether a stage may take nothing from the cache. */
  ignoresCache(stage: PlannedStage): boolean;
  /** What a stage that stands on no other one starts from; undefined where that has to be built first. */
  start(stage: PlannedStage): Promise<StageState | undefined>;
  /** The build context. */
  context(): CopyOrigin;
  resolveImage(reference: string, platform: Platform, from: FromInstruction | undefined): Promise<Image>;
  /** Of the result. */
  platform: Platform;
  layers(state: StageState): LayerContext;
}

/** Where a stage comes from, without having built it. */
interface Lineage {
  /** With the layers of its base alone. */
  state: StageState;
  /** Over all that goes into the stage. */
  digest: string;
}

/**
 * What stages are made of, told without building them: their bases, steps and the files that those take. As the key of
 * a step, with the steps below in the place of the layers that they gave. So a COPY from a stage may be found in a
 * cache that has no layer of that stage (BuildKit's keys are all of this kind).
 */
export class Lineages {
  readonly #options: LineageOptions;
  readonly #known: Map<PlannedStage, Promise<Lineage | undefined>> = new Map();

  constructor(options: LineageOptions) {
    this.#options = options;
  }

  /** The key of a COPY from a stage; undefined for other copies, and where something has to be built or asked first. */
  async keyOf(step: PlannedStep, copy: PreparedCopy, state: StageState): Promise<string | undefined> {
    if (step.from?.kind !== 'stage' || state.noCache === true) return undefined;
    // A link knows nothing of the image below, so the name of an owner is no key.
    if (copy.link && copy.chown !== undefined && !isNumericOwner(copy.chown)) return undefined;
    const from = await this.#of(step.from.stage);
    if (from === undefined) return undefined;
    const below = copy.link ? [] : diffIds(state);
    return stepKey(['lineage', below, copyShape(copy), runConfig(state).WorkingDir, from.digest, this.#epoch]);
  }

  #of(stage: PlannedStage): Promise<Lineage | undefined> {
    let known = this.#known.get(stage);
    if (known === undefined) {
      known = this.#find(stage).catch((error: unknown) => {
        // Told by the step itself, when it is done.
        if (error instanceof ImagoError) return undefined;
        throw error;
      });
      this.#known.set(stage, known);
    }
    return known;
  }

  async #find(stage: PlannedStage): Promise<Lineage | undefined> {
    if (this.#options.ignoresCache(stage)) return undefined;
    const base = await this.#base(stage);
    if (base === undefined) return undefined;
    let { state, digest } = base;
    for (const step of stage.steps) {
      const { instruction } = step;
      const next = configure(state, instruction, this.#options.configure);
      if (next !== undefined) {
        state = next;
        continue;
      }
      if (instruction.name === 'WORKDIR') {
        state = enterDirectory(state, this.#word(state)(instruction.value));
        digest = stepKey([digest, 'WORKDIR', runConfig(state).WorkingDir, runConfig(state).User ?? '', this.#epoch]);
        continue;
      }
      const part =
        instruction.name === 'RUN' ? await this.#run(step, instruction, state) : await this.#copy(step, state);
      if (part === undefined) return undefined;
      digest = stepKey([digest, ...part]);
    }
    return { state, digest };
  }

  async #base(stage: PlannedStage): Promise<Lineage | undefined> {
    if (stage.base.kind === 'stage') {
      const below = await this.#of(stage.base.stage);
      return below && { ...below, state: { ...below.state, cmdSet: false } };
    }
    const state = await this.#options.start(stage);
    return state && { state, digest: stepKey([formatPlatform(stage.platform), diffIds(state)]) };
  }

  async #run(step: PlannedStep, instruction: RunInstruction, state: StageState): Promise<unknown[] | undefined> {
    const { network, allow, settings, configure: context } = this.#options;
    const { args, network: own, scripts, insecure } = prepareRun(state, instruction, network, allow);
    const { env } = runVariables(state, context.buildArgs);
    const { User = '', WorkingDir } = runConfig(state);
    const key: unknown[] = [context.buildArgs.get('BUILDKIT_CACHE_MOUNT_NS') ?? ''];
    for (const [i, text] of instruction.mounts.entries()) {
      const flag = parseMount(text, this.#word(state));
      const isCache = flag.type === 'cache';
      let from: unknown = null;
      if (flag.type === 'bind' || (isCache && step.mounts?.[i] !== undefined)) {
        from = await this.#origin(step.mounts?.[i], (origin) =>
          new MountSource(origin, flag.source, this.#options.layers(state)).inputs(),
        );
        if (from === undefined) return undefined;
      }
      key.push([flag, from]);
    }
    const more = runKey(insecure, settings, { key });
    return ['RUN', args, env, User, WorkingDir || '/', own, scripts, ...more];
  }

  async #copy({ instruction, from }: PlannedStep, state: StageState): Promise<unknown[] | undefined> {
    if (instruction.name !== 'COPY' && instruction.name !== 'ADD') return undefined;
    const copy = prepareCopy(instruction, {
      word: this.#word(state),
      body: (text) => expandIn(state, text, { ignoreQuotes: true }),
    });
    // What comes from the network has to be asked for.
    if (copy.sources.some(({ kind }) => kind !== 'path')) return undefined;
    const files = await this.#origin(from, (origin) => copyInputs(copy, origin));
    if (files === undefined) return undefined;
    return [instruction.name, copyShape(copy), runConfig(state).WorkingDir, files, this.#epoch];
  }

  /** `inputs` gives the digest of what is taken of the build context. */
  async #origin(origin: Origin | undefined, inputs: (context: CopyOrigin) => string): Promise<unknown> {
    if (origin === undefined) return inputs(this.#options.context());
    switch (origin.kind) {
      case 'scratch':
        return origin.kind;
      case 'stage':
        return (await this.#of(origin.stage))?.digest;
      case 'image':
        return (await this.#options.resolveImage(origin.reference, this.#options.platform, undefined)).diffIds;
      case 'files':
        return undefined;
    }
  }

  #word(state: StageState): (text: string) => string {
    return (text) => expandIn(state, text, this.#options.configure.expand);
  }

  get #epoch(): string | undefined {
    return this.#options.epoch?.toISOString();
  }
}
