import { type ErrorDetails, ImagoError } from '../core/errors.ts';
import type { LineRange } from '../formats/dockerfile/errors.ts';

/** A step that failed, with where it stands in the Dockerfile and, of a RUN, the end of what it said. */
export class BuildError extends ImagoError {
  override readonly name: string = 'BuildError';
  readonly line: number;
  readonly endLine: number;
  /** As shown in the progress: '[2/4] RUN make'. */
  readonly step: string;
  readonly output: string;

  constructor(code: string, message: string, at: LineRange, step: string, output = '', details: ErrorDetails = {}) {
    super(code, message, details);
    this.line = at.line;
    this.endLine = at.endLine;
    this.step = step;
    this.output = output;
  }
}

/** What any error of a step becomes: its code and words, the place, and a failed build's exit status. */
export function locateError(error: unknown, at: LineRange, step: string): unknown {
  if (error instanceof BuildError || !(error instanceof ImagoError)) return error;
  if ('line' in error) return error;
  return new BuildError(error.code, error.message, at, step, '', { cause: error, exitCode: 1 });
}
