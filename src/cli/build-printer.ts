import type { BuildEvent } from '../build/events.ts';
import type { Terminal } from './style.ts';

export interface Output extends Terminal {
  write(text: string): unknown;
}

/** Shows a build. */
export interface BuildPrinter {
  print(event: BuildEvent): void;
  /** Lets somebody else have the output: what comes meanwhile is shown after `resume`. */
  pause(): void;
  resume(): void;
  /** Shows the rest. */
  close(): void;
}
