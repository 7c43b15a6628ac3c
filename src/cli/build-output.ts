import { BuildError } from '../build/errors.ts';
import { ImagoError } from '../core/errors.ts';
import { JsonPrinter } from './build-output-json.ts';
import { PlainPrinter } from './build-output-plain.ts';
import { lastState, oneLine } from './build-output-text.ts';
import type { BuildPrinter, Output } from './build-printer.ts';
import { LiveBuild } from './live-build.ts';

export const PROGRESS_KINDS = ['auto', 'plain', 'tty', 'rawjson', 'quiet'] as const;
export type ProgressKind = (typeof PROGRESS_KINDS)[number];

const SILENT: BuildPrinter = { print() {}, pause() {}, resume() {}, close() {} };

/** `--progress`, or else BUILDKIT_PROGRESS. Throws `BAD_FLAG_VALUE`. */
export function readProgressKind(flag: string | undefined, env: NodeJS.ProcessEnv = process.env): ProgressKind {
  const text = flag ?? (env.BUILDKIT_PROGRESS || 'auto');
  const kind = PROGRESS_KINDS.find((known) => known === text);
  if (kind !== undefined) return kind;
  throw new ImagoError(
    'BAD_FLAG_VALUE',
    `invalid value of ${flag === undefined ? 'BUILDKIT_PROGRESS' : '--progress'}`,
    {
      want: PROGRESS_KINDS.join(', '),
      got: text,
      exitCode: 125,
    },
  );
}

/** Throws `NO_TERMINAL` where one is asked for. */
export function createBuildPrinter(
  kind: ProgressKind,
  out: Output,
  env: NodeJS.ProcessEnv = process.env,
): BuildPrinter {
  if (kind === 'quiet') return SILENT;
  if (kind === 'rawjson') return new JsonPrinter(out);
  if (kind === 'tty' && out.isTTY !== true) {
    throw new ImagoError('NO_TERMINAL', '--progress=tty needs a terminal', { remedy: 'use --progress=plain' });
  }
  const live = kind === 'tty' || (kind === 'auto' && out.isTTY === true && env.TERM !== 'dumb');
  return live ? new LiveBuild(out) : new PlainPrinter(out);
}

/** The end of what a failed step said. */
export function printLastWords(out: Output, error: unknown): void {
  if (!(error instanceof BuildError) || error.output === '') return;
  const lines = error.output.split('\n').map(lastState).join('\n').trimEnd();
  out.write(`------\n > ${oneLine(error.step)}:\n${lines}\n------\n`);
}
