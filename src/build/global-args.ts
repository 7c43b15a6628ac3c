import type { LineRange } from '../formats/dockerfile/errors.ts';
import { type ExpandOptions, expandWord } from '../formats/dockerfile/expand.ts';
import type { Dockerfile } from '../formats/dockerfile/instruction.ts';
import type { Positioned } from '../formats/dockerfile/position.ts';
import { formatPlatform, type Platform } from '../oci/platform.ts';
import { locateSubstitution } from './checks/variables.ts';
import { EPOCH_ARG, formatEpoch } from './epoch.ts';

export interface GlobalArgsInput {
  buildArgs: ReadonlyMap<string, string>;
  /** A stage's name or number; default: the last. */
  target?: string;
  /** What this machine is. */
  host: Platform;
  /** Of the result. */
  platform: Platform;
  /** What SOURCE_DATE_EPOCH came to, null for nothing; default: it stays as it is written. */
  epoch?: Date | null;
}

/** The ARGs before the first FROM, and those that are always there. Throws `DockerfileError`. */
export function readGlobalArgs(file: Dockerfile, input: GlobalArgsInput): Map<string, string> {
  const { buildArgs, epoch } = input;
  const args = platformArgs(input, file.stages.at(-1)?.from.stage);
  const expand = { escape: file.escape };
  for (const instruction of file.globalArgs) {
    for (const { key, value } of instruction.args) {
      const given = buildArgs.get(key);
      const own = given ?? (value === undefined ? undefined : expandGlobal(value, args, expand, instruction));
      if (own !== undefined) args.set(key, own);
    }
  }
  // As BuildKit: nothing sees the name of a context where the time is meant.
  if (epoch !== undefined && args.has(EPOCH_ARG)) {
    if (epoch === null) args.delete(EPOCH_ARG);
    else args.set(EPOCH_ARG, formatEpoch(epoch));
  }
  return args;
}

/** Throws `DockerfileError`. */
export function expandGlobal(
  text: string,
  args: ReadonlyMap<string, string>,
  expand: ExpandOptions,
  at: LineRange & Positioned,
): string {
  try {
    return expandWord(text, (name) => args.get(name), expand);
  } catch (error) {
    throw locateSubstitution(error, at);
  }
}

/** https://docs.docker.com/reference/dockerfile/#automatic-platform-args-in-the-global-scope */
export function platformArgs(
  options: Pick<GlobalArgsInput, 'host' | 'platform' | 'target' | 'buildArgs'>,
  last: string | undefined,
): Map<string, string> {
  const { host, platform, target, buildArgs } = options;
  const args = new Map<string, string>();
  for (const [prefix, value] of [
    ['BUILD', host],
    ['TARGET', platform],
  ] as const) {
    args.set(`${prefix}PLATFORM`, formatPlatform(value));
    args.set(`${prefix}OS`, value.os);
    args.set(`${prefix}ARCH`, value.architecture);
    args.set(`${prefix}VARIANT`, value.variant ?? '');
    args.set(`${prefix}OSVERSION`, value['os.version'] ?? '');
  }
  args.set('TARGETSTAGE', (target || last) ?? 'default');
  // These alone need no ARG for a --build-arg to count in the global scope.
  for (const name of args.keys()) if (buildArgs.has(name)) args.set(name, buildArgs.get(name)!);
  return args;
}
