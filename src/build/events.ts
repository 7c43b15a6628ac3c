/** What a build tells while it runs. `step` numbers count from 1 in the order of starting. */
export type BuildEvent =
  | { type: 'start'; step: number; name: string }
  /** Output of a RUN, as it comes. */
  | { type: 'output'; step: number; stream: 'stdout' | 'stderr'; data: Uint8Array }
  /** A line about the step itself. */
  | { type: 'note'; step: number; text: string }
  | { type: 'done'; step: number; cached: boolean; seconds: number }
  | { type: 'error'; step: number; message: string }
  | { type: 'warning'; text: string; line?: number };

export type OnBuildEvent = (event: BuildEvent) => void;

/** Numbers the steps and times them. */
export class BuildProgress {
  readonly #onEvent: OnBuildEvent;
  #steps = 0;

  constructor(onEvent: OnBuildEvent = () => {}) {
    this.#onEvent = onEvent;
  }

  /** Runs `work` as a step: it returns whether it was cached, beside its result. */
  async step<T>(name: string, work: (step: StepProgress) => Promise<{ cached?: boolean; value: T }>): Promise<T> {
    const step = ++this.#steps;
    const started = performance.now();
    this.#onEvent({ type: 'start', step, name });
    try {
      const { cached = false, value } = await work({
        output: (stream, data) => this.#onEvent({ type: 'output', step, stream, data }),
        note: (text) => this.#onEvent({ type: 'note', step, text }),
      });
      this.#onEvent({ type: 'done', step, cached, seconds: (performance.now() - started) / 1000 });
      return value;
    } catch (error) {
      this.#onEvent({ type: 'error', step, message: (error as Error).message });
      throw error;
    }
  }

  warn(text: string, line?: number): void {
    this.#onEvent({ type: 'warning', text, line });
  }
}

export interface StepProgress {
  output(stream: 'stdout' | 'stderr', data: Uint8Array): void;
  note(text: string): void;
}
