import { ImagoError } from '../core/errors.ts';
import { DockerfileError, type LineRange, nearestWord } from '../formats/dockerfile/errors.ts';
import type { ExpandOptions } from '../formats/dockerfile/expand.ts';
import type {
  Dockerfile,
  FromInstruction,
  Instruction,
  RunInstruction,
  StageInstruction,
} from '../formats/dockerfile/instruction.ts';
import { parseInstruction, parseTrigger } from '../formats/dockerfile/parse.ts';
import { findWord, type Positioned } from '../formats/dockerfile/position.ts';
import { type Platform, parsePlatform } from '../oci/platform.ts';
import type { NamedContext, NamedContexts } from './context/names.ts';
import { expandGlobal, type GlobalArgsInput, readGlobalArgs } from './global-args.ts';
import { checkMount, checkRun } from './mounts/check.ts';

/** Where a stage starts from, or a COPY takes from. */
export type Origin =
  | { kind: 'scratch' }
  | { kind: 'stage'; stage: PlannedStage }
  | { kind: 'image'; reference: string }
  /** A named context. */
  | { kind: 'files'; name: string; place: string };

export interface PlannedStep {
  instruction: StageInstruction;
  /** Of COPY --from. */
  from?: Origin;
  /** Of each RUN --mount; undefined is the build context. */
  mounts?: (Origin | undefined)[];
  /** Comes from the base's ONBUILD. */
  trigger: boolean;
}

export interface PlannedStage {
  index: number;
  /** In the Dockerfile, in lower case; undefined where it has none. */
  name: string | undefined;
  from: FromInstruction;
  base: Origin;
  platform: Platform;
  steps: PlannedStep[];
}

/** A Dockerfile's stages, names resolved, without what the target does not need. */
export interface BuildPlan {
  target: PlannedStage;
  /** What is to be done, in an order in which everything comes before what needs it. */
  stages: PlannedStage[];
  globalArgs: ReadonlyMap<string, string>;
  expand: ExpandOptions;
}

export interface PlanOptions extends GlobalArgsInput {
  /** ONBUILD of an image in the store. */
  triggersOf(reference: string, platform: Platform, from: FromInstruction): readonly string[];
  /** They win over stages and images of their names. */
  contexts?: NamedContexts;
}

/**
 * Resolves stages and what they need of each other. A stage sees only those above it, so there are no cycles.
 * Throws `DockerfileError`, `UNKNOWN_TARGET`.
 */
export function planBuild(file: Dockerfile, options: PlanOptions): BuildPlan {
  return new Planner(file, options).plan();
}

class Planner {
  readonly #file: Dockerfile;
  readonly #options: PlanOptions;
  readonly #expand: ExpandOptions;
  readonly #globalArgs: ReadonlyMap<string, string>;
  readonly #stages: PlannedStage[] = [];

  constructor(file: Dockerfile, options: PlanOptions) {
    this.#file = file;
    this.#options = options;
    this.#expand = { escape: file.escape };
    this.#globalArgs = readGlobalArgs(file, options);
  }

  plan(): BuildPlan {
    for (const { from, instructions } of this.#file.stages) this.#addStage(from, instructions);
    const target = this.#target();
    return { target, stages: this.#collect(target), globalArgs: this.#globalArgs, expand: this.#expand };
  }

  #addStage(from: FromInstruction, instructions: StageInstruction[]): void {
    const image = this.#expandGlobal(from.image, from);
    if (image === '') {
      throw pointed(`base name (${from.image}) should not be blank`, from, from.image);
    }
    const index = this.#stages.length;
    const wanted = this.#platform(from);
    const instead = from.stage === undefined ? undefined : this.#named(from.stage, wanted);
    const base = instead ?? this.#origin(image, index, wanted);
    // As BuildKit: a stage on a stage is for what that one is for, and nothing has no platform of its own.
    const platform =
      base.kind === 'stage' ? base.stage.platform : base.kind === 'scratch' ? this.#options.platform : wanted;
    const stage: PlannedStage = { index, name: from.stage, from, base, platform, steps: [] };
    // A context of the stage's name is what the stage would have been.
    if (instead === undefined) {
      for (const instruction of instructions) stage.steps.push(this.#step(instruction, stage, false));
    }
    this.#stages.push(stage);
  }

  #platform(from: FromInstruction): Platform {
    if (from.platform === undefined || from.platform === '') return this.#options.platform;
    const text = this.#expandGlobal(from.platform, from);
    if (text === '') {
      throw pointed(`empty platform value from expression ${from.platform}`, from, '--platform');
    }
    try {
      return parsePlatform(text, this.#options.platform);
    } catch (error) {
      throw pointed((error as Error).message, from, '--platform', error);
    }
  }

  /** Of the stages above the one with this index. */
  #origin(name: string, index: number, platform: Platform = this.#options.platform): Origin {
    const stage = this.#stages.slice(0, index).findLast((candidate) => candidate.name === name.toLowerCase());
    if (stage !== undefined) return { kind: 'stage', stage };
    if (name === 'scratch') return { kind: 'scratch' };
    return this.#named(name, platform) ?? { kind: 'image', reference: name };
  }

  #named(name: string, platform: Platform): NamedContext | undefined {
    return this.#options.contexts?.find(name, platform);
  }

  /** A base's ONBUILD takes effect in the stages right above it, and no further. */
  #triggers({ base, platform, from }: PlannedStage): readonly string[] {
    if (base.kind === 'image') return this.#options.triggersOf(base.reference, platform, from);
    if (base.kind !== 'stage') return [];
    return base.stage.steps.flatMap(({ instruction: i, trigger }) =>
      i.name === 'ONBUILD' && !trigger ? [i.expression] : [],
    );
  }

  #step(instruction: Instruction, stage: PlannedStage, trigger: boolean): PlannedStep {
    if (instruction.name === 'FROM') throw new DockerfileError("FROM isn't allowed as an ONBUILD trigger", stage.from);
    // A trigger's own instruction is checked where it is written, not where it first runs.
    if (instruction.name === 'ONBUILD') parseInstruction(instruction.trigger);
    if (instruction.name === 'RUN') {
      checkRun(instruction);
      const mounts = instruction.mounts.map((text) => this.#mountOrigin(text, stage, instruction));
      return mounts.length === 0 ? { instruction, trigger } : { instruction, trigger, mounts };
    }
    // `--from=` is none.
    if (instruction.name !== 'COPY' || !instruction.from) return { instruction, trigger };
    const { from } = instruction;
    if (from.includes('$')) {
      throw pointed(
        'variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround',
        instruction,
        `--from=${from}`,
      );
    }
    if (!/^\d+$/.test(from)) return { instruction, trigger, from: this.#copyOrigin(from, stage, instruction) };
    const numbered = this.#stages.slice(0, stage.index)[Number(from)];
    if (numbered !== undefined) return { instruction, trigger, from: { kind: 'stage', stage: numbered } };
    throw pointed(
      Number(from) === stage.index
        ? `cannot copy from stage ${from}: it is this very stage`
        : `invalid stage index ${from}: there are ${stage.index} stages above this one`,
      instruction,
      `--from=${from}`,
    );
  }

  #copyOrigin(from: string, stage: PlannedStage, instruction: StageInstruction): Origin {
    const origin = this.#origin(from, stage.index);
    const later = this.#file.stages.slice(stage.index).find((s) => s.from.stage === from.toLowerCase());
    if (origin.kind !== 'image' || later === undefined) return origin;
    throw pointed(
      `cannot copy from stage ${JSON.stringify(from)}, it needs to be defined before current stage` +
        (stage.name === undefined ? '' : ` ${JSON.stringify(stage.name)}`),
      instruction,
      `--from=${from}`,
    );
  }

  #mountOrigin(text: string, stage: PlannedStage, instruction: RunInstruction): Origin | undefined {
    const from = checkMount(text, instruction);
    if (from === '') return undefined;
    const numbered = /^\d+$/.test(from) ? this.#stages.slice(0, stage.index)[Number(from)] : undefined;
    return numbered === undefined ? this.#copyOrigin(from, stage, instruction) : { kind: 'stage', stage: numbered };
  }

  #target(): PlannedStage {
    const { target } = this.#options;
    if (target === undefined || target === '') return this.#stages.at(-1)!;
    const named = this.#stages.findLast((stage) => stage.name === target.toLowerCase());
    const found = named ?? (/^\d+$/.test(target) ? this.#stages[Number(target)] : undefined);
    if (found !== undefined) return found;
    const names = this.#stages.flatMap(({ name }) => (name === undefined ? [] : [name]));
    const near = nearestWord(target, names);
    throw new ImagoError('UNKNOWN_TARGET', `target stage ${JSON.stringify(target)} could not be found`, {
      remedy:
        near !== undefined
          ? `did you mean ${near}?`
          : names.length > 0
            ? `the Dockerfile has ${names.join(', ')}`
            : 'no stage of the Dockerfile has a name: FROM image AS name',
    });
  }

  /** Those that the target needs. Triggers are looked up here: the base of a stage that nobody needs may be missing. */
  #collect(target: PlannedStage): PlannedStage[] {
    const out: PlannedStage[] = [];
    const begun = new Set<PlannedStage>();
    // No recursion: a file may have thousands of stages, each on the one above.
    const open = [this.#needs(target)];
    begun.add(target);
    while (open.length > 0) {
      const { done, value } = open.at(-1)!.next();
      if (done === true) {
        out.push(value);
        open.pop();
      } else if (!begun.has(value)) {
        begun.add(value);
        open.push(this.#needs(value));
      }
    }
    return out;
  }

  *#needs(stage: PlannedStage): Generator<PlannedStage, PlannedStage> {
    if (stage.base.kind === 'stage') yield stage.base.stage;
    const triggers = this.#triggers(stage).map((text) => this.#step(parseTrigger(text, stage.from), stage, true));
    stage.steps.unshift(...triggers);
    for (const { from, mounts = [] } of stage.steps)
      for (const origin of [from, ...mounts]) if (origin?.kind === 'stage') yield origin.stage;
    return stage;
  }

  #expandGlobal(text: string, at: LineRange & Positioned): string {
    return expandGlobal(text, this.#globalArgs, this.#expand, at);
  }
}

/** An error about a word of the instruction. */
function pointed(problem: string, at: LineRange & Positioned, word: string, cause?: unknown): DockerfileError {
  return new DockerfileError(problem, at, cause, findWord(at, word));
}
