import { isImagoError } from '../core/errors.ts';
import type { CheckWarning } from './checks/report.ts';

/** What a build tells while it runs. `step` numbers count from 1 in the order of starting. */
export type BuildEvent =
  /** So many more steps are to come, besides those that nobody can foresee (pulls, exports). */
  | { type: 'plan'; steps: number }
  /** `inputs`: the steps that it builds on. `planned`: one of those that were announced. */
  | { type: 'start'; step: number; name: string; inputs?: readonly number[]; planned?: boolean }
  /** Output of a RUN, as it comes. */
  | { type: 'output'; step: number; stream: 'stdout' | 'stderr'; data: Uint8Array }
  /** A line about the step itself: something that is done. */
  | { type: 'note'; step: number; text: string }
  /** How far a part of the step is, in bytes: a layer that is fetched. */
  | { type: 'status'; step: number; id: string; current: number; total?: number; finished: boolean }
  | { type: 'done'; step: number; cached: boolean; seconds: number }
  /** `canceled`: it did not fail, but was stopped since another one did, or the caller wanted it. */
  | { type: 'error'; step: number; message: string; canceled: boolean }
  /** `check`: what a build check found. */
  | { type: 'warning'; text: string; line?: number; check?: CheckWarning };

export type OnBuildEvent = (event: BuildEvent) => void;

export interface StepRelations {
  inputs?: readonly (number | undefined)[];
  planned?: boolean;
}

/** Numbers the steps and times them. */
export class BuildProgress {
  readonly #onEvent: OnBuildEvent;
  #steps = 0;
  /** What was told as a failure: a step that ends with the same one was only stopped by it. */
  readonly #failures: Set<unknown> = new Set();

  constructor(onEvent: OnBuildEvent = () => {}) {
    this.#onEvent = onEvent;
  }

  /** Announces so many steps, which then start as `planned`. */
  plan(steps: number): void {
    this.#onEvent({ type: 'plan', steps });
  }

  /** Runs `work` as a step: it returns whether it was cached, beside its result. */
  async step<T>(
    name: string,
    work: (step: StepProgress) => Promise<{ cached?: boolean; value: T }>,
    { inputs = [], planned }: StepRelations = {},
  ): Promise<T> {
    const step = ++this.#steps;
    const started = performance.now();
    const known = inputs.filter((input) => input !== undefined);
    this.#onEvent({
      type: 'start',
      step,
      name,
      ...(known.length > 0 && { inputs: [...new Set(known)] }),
      ...(planned === true && { planned }),
    });
    try {
      const { cached = false, value } = await work({
        number: step,
        output: (stream, data) => this.#onEvent({ type: 'output', step, stream, data }),
        note: (text) => this.#onEvent({ type: 'note', step, text }),
        status: (id, { current, total, finished = false }) =>
          this.#onEvent({ type: 'status', step, id, current, ...(total !== undefined && { total }), finished }),
      });
      this.#onEvent({ type: 'done', step, cached, seconds: (performance.now() - started) / 1000 });
      return value;
    } catch (error) {
      const canceled = this.#isCanceled(error);
      this.#failures.add(error);
      this.#onEvent({ type: 'error', step, message: (error as Error).message, canceled });
      throw error;
    }
  }

  #isCanceled(error: unknown): boolean {
    for (let at = error, depth = 0; at !== undefined && depth < 10; at = (at as Error).cause, depth++) {
      if (isImagoError(at, 'ABORTED') || this.#failures.has(at)) return true;
      if (!(at instanceof Error)) return false;
      if (at.name === 'AbortError') return true;
    }
    return false;
  }

  warn(text: string, line?: number, check?: CheckWarning): void {
    this.#onEvent({ type: 'warning', text, line, ...(check && { check }) });
  }
}

export interface StepProgress {
  /** Of this step, as the events have it. */
  readonly number: number;
  output(stream: 'stdout' | 'stderr', data: Uint8Array): void;
  note(text: string): void;
  /** `current` and `total` in bytes. */
  status(id: string, state: { current: number; total?: number; finished?: boolean }): void;
}
