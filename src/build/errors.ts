import { type ErrorDetails, ImagoError } from '../core/errors.ts';
import type { LineRange } from '../formats/dockerfile/errors.ts';
import { SubstitutionError } from '../formats/dockerfile/expand.ts';
import type { Positioned, Word } from '../formats/dockerfile/position.ts';
import { substitutionPlace } from './checks/variables.ts';

/** A step that failed, with where it stands in the Dockerfile and, of a RUN, the end of what it said. */
export class BuildError extends ImagoError {
  override readonly name: string = 'BuildError';
  readonly line: number;
  readonly endLine: number;
  /** As shown in the progress: '[2/4] RUN make'. */
  readonly step: string;
  readonly output: string;
  /** What in the lines it is about, where that is known. */
  readonly word: Word | undefined;

  constructor(
    code: string,
    message: string,
    at: LineRange & { word?: Word },
    step: string,
    output = '',
    details: ErrorDetails = {},
  ) {
    super(code, message, details);
    this.line = at.line;
    this.endLine = at.endLine;
    this.step = step;
    this.output = output;
    this.word = at.word;
  }
}

/** What any error of a step becomes: its code and words, the place, and a failed build's exit status. */
export function locateError(error: unknown, at: LineRange & Partial<Positioned>, step: string): unknown {
  if (error instanceof BuildError || !(error instanceof ImagoError)) return error;
  if ('line' in error) return error;
  const { line, endLine, source = '', segments } = at;
  const text = { source, ...(segments && { segments }) };
  const word = error instanceof SubstitutionError ? substitutionPlace(error, text) : undefined;
  return new BuildError(error.code, error.message, { line, endLine, word }, step, '', { cause: error, exitCode: 1 });
}
