import { joinWorkdir } from '../../formats/dockerfile/path.ts';
import { type ConfigureContext, configure } from '../configure.ts';
import type { PlannedStep } from '../plan.ts';
import { expandIn, runConfig, type StageState } from '../state.ts';
import type { LayerStep } from './copy.ts';
import { isNumericOwner } from './owner.ts';
import { type PreparedCopy, prepareCopy } from './prepare.ts';

/** A copy whose layer can be made at once, and what its step will see. */
export interface AheadCopy {
  readonly step: PlannedStep;
  readonly copy: PreparedCopy;
  readonly state: StageState;
}

/**
 * The COPY --link and ADD --link of a stage that stand behind a RUN: they need nothing of what it makes, and it changes
 * nothing that they are told by. Not those whose owner the image has to name.
 */
export function foreseeLinks(steps: readonly PlannedStep[], start: StageState, context: ConfigureContext): AheadCopy[] {
  const first = steps.findIndex(({ instruction }) => instruction.name === 'RUN');
  const found: AheadCopy[] = [];
  if (first < 0 || !steps.slice(first).some(({ instruction }) => isLink(instruction))) return found;
  let state = start;
  try {
    for (const [i, step] of steps.entries()) {
      const { instruction } = step;
      if (instruction.name === 'WORKDIR')
        state = enterDirectory(state, expandIn(state, instruction.value, context.expand));
      else if (instruction.name !== 'COPY' && instruction.name !== 'ADD') {
        state = configure(state, instruction, context) ?? state;
      } else if (i > first && instruction.link) {
        const seen = state;
        const copy = prepareCopy(instruction, {
          word: (text) => expandIn(seen, text, context.expand),
          body: (text) => expandIn(seen, text, { ignoreQuotes: true }),
        });
        if (copy.link && (copy.chown === undefined || isNumericOwner(copy.chown))) found.push({ step, copy, state });
      }
    }
  } catch {
    // Its own step says what is wrong, in its turn.
  }
  return found;
}

function isLink(instruction: PlannedStep['instruction']): boolean {
  return (instruction.name === 'COPY' || instruction.name === 'ADD') && instruction.link;
}

/** The state behind a WORKDIR, without its layer. */
export function enterDirectory(state: StageState, path: string): StageState {
  const WorkingDir = joinWorkdir(runConfig(state).WorkingDir || '/', path).replace(/(?<=.)\/$/, '');
  const { draft } = state;
  return { ...state, draft: { ...draft, config: { ...draft.config, config: { ...draft.config.config, WorkingDir } } } };
}

/** Layers that are being made before it is their steps' turn. */
export class AheadLayers {
  readonly #started: Map<PlannedStep, Promise<LayerStep>> = new Map();

  start(step: PlannedStep, layer: Promise<LayerStep>): void {
    this.#started.set(step, layer);
    // Told by the step, if it is ever reached.
    layer.catch(() => {});
  }

  get(step: PlannedStep): Promise<LayerStep> | undefined {
    return this.#started.get(step);
  }

  /** Until nothing is written any more. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#started.values());
  }
}
