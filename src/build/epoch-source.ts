import { DockerfileError, type LineRange } from '../formats/dockerfile/errors.ts';
import type { ExpandOptions } from '../formats/dockerfile/expand.ts';
import type { AddInstruction, Dockerfile, Stage } from '../formats/dockerfile/instruction.ts';
import type { Positioned } from '../formats/dockerfile/position.ts';
import type { NamedContext, NamedContexts } from './context/names.ts';
import { type PreparedCopy, prepareCopy } from './copy/prepare.ts';
import { badEpoch, EPOCH_ARG, isSeconds, parseEpoch } from './epoch.ts';
import { locateError } from './errors.ts';
import { expandGlobal, type GlobalArgsInput, readGlobalArgs } from './global-args.ts';
import type { RepositorySource, UrlSource } from './remote/url.ts';

/** A file or a repository, with the flags of the ADD that names it. */
export interface RemoteEpoch {
  kind: 'remote';
  source: UrlSource | RepositorySource;
  checksum: string | undefined;
}

/** Where the time of a build comes from. */
export type EpochSource =
  | { kind: 'time'; time: Date | undefined }
  /** The main build context. */
  | { kind: 'context' }
  | { kind: 'named'; context: NamedContext }
  | RemoteEpoch;

/**
 * What the build argument SOURCE_DATE_EPOCH means, or its default before the first FROM (BuildKit, dockerfile2llb
 * `resolveSourceDateEpochState`): seconds, `context`, or the name of a build context or of a stage, which then is
 * nothing but one remote ADD. Throws `BAD_EPOCH`, `DockerfileError`, and what preparing the ADD throws.
 */
export function findEpochSource(
  file: Dockerfile,
  input: Omit<GlobalArgsInput, 'epoch'> & { contexts: NamedContexts },
): EpochSource {
  const args = readGlobalArgs(file, input);
  const text = input.buildArgs.get(EPOCH_ARG) ?? args.get(EPOCH_ARG) ?? '';
  if (text === '' || isSeconds(text)) return { kind: 'time', time: parseEpoch(text) };
  if (text === 'context') return { kind: 'context' };
  const context = input.contexts.find(text, input.platform);
  if (context !== undefined) return { kind: 'named', context };
  const stage = file.stages.find(({ from }) => from.stage === text.toLowerCase());
  if (stage === undefined)
    throw badEpoch(text, 'seconds since 1970, context, or the name of a build context or a stage');
  args.delete(EPOCH_ARG);
  return remoteOf(stage, args, input.buildArgs, { escape: file.escape });
}

function remoteOf(
  { from, instructions }: Stage,
  args: Map<string, string>,
  buildArgs: ReadonlyMap<string, string>,
  options: ExpandOptions,
): RemoteEpoch {
  const refuse = (problem: string): DockerfileError => new DockerfileError(`${EPOCH_ARG} stage ${problem}`, from);
  const expand = (text: string, at: LineRange & Positioned): string => expandGlobal(text, args, options, at);
  if (expand(from.image, from) !== 'scratch') throw refuse('must use FROM scratch');
  let found: RemoteEpoch | undefined;
  for (const instruction of instructions) {
    if (instruction.name === 'ARG') {
      for (const { key, value } of instruction.args) {
        const own = buildArgs.get(key) ?? (value === undefined ? undefined : expand(value, instruction));
        if (own !== undefined) args.set(key, own);
      }
    } else if (instruction.name === 'ADD') {
      if (found !== undefined) throw refuse('must contain exactly one remote ADD');
      const { sources, checksum } = prepareAdd(instruction, (text) => expand(text, instruction));
      const source = sources[0];
      if (sources.length !== 1 || instruction.inline.length > 0) {
        throw refuse('must contain exactly one remote ADD source');
      }
      if (source!.kind === 'path') throw refuse('source must be a single HTTP(S) or Git ADD');
      found = { kind: 'remote', source: source as RemoteEpoch['source'], checksum };
    } else throw refuse(`does not meet source-only requirements: unsupported ${instruction.name} instruction`);
  }
  if (found === undefined) throw refuse('must contain exactly one remote ADD');
  return found;
}

function prepareAdd(add: AddInstruction, word: (text: string) => string): PreparedCopy {
  try {
    return prepareCopy(add, { word, body: word });
  } catch (error) {
    throw locateError(error, add, add.source);
  }
}
