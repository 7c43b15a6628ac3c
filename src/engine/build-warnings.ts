import type { NamedContexts } from '../build/context/names.ts';
import type { BuildProgress } from '../build/events.ts';
import { isProxy } from '../build/run.ts';
import type { Dockerfile } from '../formats/dockerfile/instruction.ts';

const PLATFORM_ARG = /^(?:BUILD|TARGET)(?:PLATFORM|OS|OSVERSION|ARCH|VARIANT)$|^TARGETSTAGE$/;

/** `--build-arg` that counts without an ARG: https://docs.docker.com/reference/dockerfile/#predefined-args */
function isPredefined(name: string): boolean {
  return isProxy(name) || name === 'SOURCE_DATE_EPOCH' || name.startsWith('BUILDKIT_') || PLATFORM_ARG.test(name);
}

/** What of a build's input has no effect. */
export function warnOfInput(file: Dockerfile, buildArgs: ReadonlyMap<string, string>, progress: BuildProgress): void {
  const all = [...file.globalArgs, ...file.stages.flatMap(({ instructions }) => instructions)];
  const declared = new Set(all.flatMap((i) => (i.name === 'ARG' ? i.args.map(({ key }) => key) : [])));
  const unused = [...buildArgs.keys()].filter((name) => !declared.has(name) && !isPredefined(name));
  if (unused.length > 0) progress.warn(`One or more build-args [${unused.join(' ')}] were not consumed`);
}

/** After planning: nothing has asked for them. */
export function warnOfContexts(contexts: NamedContexts, progress: BuildProgress): void {
  const unused = contexts.unused();
  if (unused.length > 0) progress.warn(`One or more build contexts [${unused.join(' ')}] were not used`);
}

/** As Go's strconv.ParseBool; anything else is no. */
export function isTrue(text: string | undefined): boolean {
  return ['1', 't', 'true'].includes((text ?? '').toLowerCase());
}
