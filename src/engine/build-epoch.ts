import type { NamedContexts } from '../build/context/names.ts';
import { EPOCH_ARG, formatEpoch } from '../build/epoch.ts';
import { type EpochSource, findEpochSource } from '../build/epoch-source.ts';
import type { GlobalArgsInput } from '../build/global-args.ts';
import type { Dockerfile } from '../formats/dockerfile/instruction.ts';
import type { BuildContexts } from './build-context.ts';

export interface EpochRequest extends Omit<GlobalArgsInput, 'epoch'> {
  file: Dockerfile;
  named: NamedContexts;
  contexts: BuildContexts;
}

export interface SettledEpoch {
  /** The time of everything; undefined: as it is. */
  epoch: Date | undefined;
  /** With seconds in the place of what stood for them, so that an ARG gives RUN the time. */
  buildArgs: ReadonlyMap<string, string>;
}

/**
 * Finds what SOURCE_DATE_EPOCH stands for, fetching what has to be asked. Throws `BAD_EPOCH`, `DockerfileError`, and
 * what fetching throws.
 */
export async function settleEpoch({ file, named, contexts, ...input }: EpochRequest): Promise<SettledEpoch> {
  const epoch = await timeOf(findEpochSource(file, { ...input, contexts: named }), contexts);
  const buildArgs = new Map(input.buildArgs);
  if (epoch === undefined) buildArgs.delete(EPOCH_ARG);
  else if (buildArgs.has(EPOCH_ARG)) buildArgs.set(EPOCH_ARG, formatEpoch(epoch));
  return { epoch, buildArgs };
}

async function timeOf(source: EpochSource, contexts: BuildContexts): Promise<Date | undefined> {
  switch (source.kind) {
    case 'time':
      return source.time;
    case 'context':
      return await contexts.timeOf(undefined);
    case 'named':
      // An image has no time of its own for this: it has many.
      return source.context.kind === 'files' ? await contexts.timeOf(source.context.place) : undefined;
    case 'remote':
      return await contexts.timeOfRemote(source);
  }
}
