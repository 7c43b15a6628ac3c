import type { ExpandOptions } from '../formats/dockerfile/expand.ts';
import type { BuildCache } from './cache.ts';
import type { LayerStep } from './copy/copy.ts';
import { type PreparedCopy, prepareCopy } from './copy/prepare.ts';
import { locateError } from './errors.ts';
import type { Lineages } from './lineage.ts';
import type { PlannedStep } from './plan.ts';
import { expanderOf, type StageState } from './state.ts';

/** COPYs from stages in caches that travel: found, and told, by what the stage is made of. */
export class KnownCopies {
  readonly #cache: BuildCache;
  readonly #lineages: Lineages | undefined;
  readonly #expand: ExpandOptions;

  /** Without lineages nothing is known. */
  constructor(cache: BuildCache, lineages: Lineages | undefined, expand: ExpandOptions) {
    this.#cache = cache;
    this.#lineages = lineages;
    this.#expand = expand;
  }

  /** Of a COPY whose stage need then not be built. */
  async beforeStage(step: PlannedStep, state: StageState): Promise<LayerStep | undefined> {
    const { instruction, from } = step;
    if (!this.#cache.hasSources || instruction.name !== 'COPY' || from?.kind !== 'stage') return undefined;
    try {
      return await this.find(step, prepareCopy(instruction, expanderOf(state, this.#expand)), state);
    } catch (error) {
      throw locateError(error, instruction, instruction.source);
    }
  }

  async find(step: PlannedStep, copy: PreparedCopy, state: StageState): Promise<LayerStep | undefined> {
    if (!this.#cache.hasSources) return undefined;
    const key = await this.#lineages?.keyOf(step, copy, state);
    const hit = key === undefined ? undefined : await this.#cache.findElsewhere(key);
    return hit && { ...hit, cached: true };
  }

  /** Gives back `result`. */
  async tell(step: PlannedStep, copy: PreparedCopy, state: StageState, result: LayerStep): Promise<LayerStep> {
    const key = await this.#lineages?.keyOf(step, copy, state);
    const { layer, created } = result;
    if (key !== undefined) this.#cache.tell({ key, inputs: '', layer, created, lineage: true });
    return result;
  }
}
