import { ImagoError } from '../../core/errors.ts';
import { DockerfileError } from '../../formats/dockerfile/errors.ts';
import type { Dockerfile, Stage, StageInstruction } from '../../formats/dockerfile/instruction.ts';
import { BuildError } from '../errors.ts';
import { type ImageSource, literal } from './calls.ts';
import type { ImageBuilder } from './definition.ts';

/** A builder as what a Dockerfile is parsed to: a stage for each image that it takes from, and itself the last. */
export interface AssembledImage {
  file: Dockerfile;
  /** The calls, by the numbers that their instructions have for lines, from 1. */
  labels: readonly string[];
}

export function assembleImage(target: ImageBuilder): AssembledImage {
  const stages: Stage[] = [];
  const labels: string[] = [];
  const numbers = new Map<ImageBuilder, number>();
  const nameOf = (source: ImageSource): string => {
    if (typeof source !== 'string') return String(numbers.get(source));
    // A number alone would be a stage's.
    return /^\d+$/.test(source) ? `docker.io/library/${source}:latest` : source;
  };
  const next = (label: string): { line: number; endLine: number } => {
    labels.push(label);
    return { line: labels.length, endLine: labels.length };
  };
  for (const builder of inOrder(target)) {
    const number = stages.length;
    const at = builder === target ? '' : ` (stage-${number})`;
    const { base, platform } = builder;
    stages.push({
      from: {
        ...next(`from${at}`),
        name: 'FROM',
        source: `FROM ${base}`,
        image: literal(base),
        ...(platform !== undefined && { platform: literal(platform) }),
      },
      instructions: builder.calls.map(
        ({ label, make }) => ({ ...make(nameOf), ...next(`${label}${at}`) }) as StageInstruction,
      ),
    });
    numbers.set(builder, number);
  }
  return { file: { directives: {}, escape: '\\', globalArgs: [], stages }, labels };
}

/** Each once, after all that it takes from. Without recursion: chains may be long. */
function inOrder(target: ImageBuilder): ImageBuilder[] {
  const done = new Set<ImageBuilder>();
  const todo: { builder: ImageBuilder; entered: boolean }[] = [{ builder: target, entered: false }];
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    const { builder, entered } = next;
    if (done.has(builder)) continue;
    if (entered) done.add(builder);
    else {
      todo.push({ builder, entered: true });
      const sources = builder.calls.flatMap((call) => call.sources);
      for (const source of sources.toReversed()) todo.push({ builder: source, entered: false });
    }
  }
  return [...done];
}

/** An error that would point to a line names the call. */
export function nameCall(error: unknown, labels: readonly string[]): unknown {
  if (!(error instanceof BuildError) && !(error instanceof DockerfileError)) return error;
  const label = labels[error.line - 1];
  if (label === undefined) return error;
  const words = error.message.replace(/^dockerfile parse error on line \d+: /, '');
  if (error instanceof DockerfileError) return new ImagoError('BAD_DEFINITION', `${label}: ${words}`, { cause: error });
  const { code, step, output, details } = error;
  return new BuildError(code, `${label}: ${words}`, error, step, output, { cause: error, exitCode: details.exitCode });
}
