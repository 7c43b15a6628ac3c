import { constants } from 'node:os';
import { ImagoError } from '../core/errors.ts';
import { formatDuration } from '../formats/dockerfile/duration.ts';
import type { ExpandOptions } from '../formats/dockerfile/expand.ts';
import type {
  ArgInstruction,
  CommandInstruction,
  Healthcheck,
  PairsInstruction,
  StageInstruction,
} from '../formats/dockerfile/instruction.ts';
import { parsePorts } from './ports.ts';
import { SCAN_CONTEXT, SCAN_STAGE } from './sbom/scan-plan.ts';
import {
  changeConfig,
  expandIn,
  expandWordsIn,
  runConfig,
  type StageState,
  shellOf,
  withEnv,
  withMembers,
} from './state.ts';

export interface ConfigureContext {
  /** The Dockerfile's escape character. */
  readonly expand: ExpandOptions;
  /** `--build-arg` */
  readonly buildArgs: ReadonlyMap<string, string>;
  /** ARGs before the first FROM, and the platform ARGs. */
  readonly globalArgs: ReadonlyMap<string, string>;
}

/** Applies an instruction that only changes the image's config; undefined for those that make layers. */
export function configure(
  state: StageState,
  instruction: StageInstruction,
  context: ConfigureContext,
): StageState | undefined {
  const expand = (text: string): string => expandIn(state, text, context.expand);
  switch (instruction.name) {
    case 'ARG':
      return declareArgs(state, instruction, context);
    case 'ENV':
      return setEnv(state, instruction, context);
    case 'LABEL': {
      const pairs = instruction.pairs.map(({ key, value }) => [expand(key), expand(value)] as const);
      return changeConfig(withMembers(state, 'Labels', pairs), {}, `LABEL ${joinPairs(pairs)}`);
    }
    case 'CMD':
    case 'ENTRYPOINT':
      return setCommand(state, instruction);
    case 'USER': {
      const User = expand(instruction.value);
      return changeConfig(state, { User }, `USER ${User}`);
    }
    case 'STOPSIGNAL': {
      const StopSignal = checkSignal(expand(instruction.value));
      return changeConfig(state, { StopSignal }, `STOPSIGNAL ${StopSignal}`);
    }
    case 'MAINTAINER': {
      const next = changeConfig(state, {}, `MAINTAINER ${instruction.value}`);
      return { ...next, draft: { ...next.draft, config: { ...next.draft.config, author: instruction.value } } };
    }
    case 'EXPOSE': {
      const ports = instruction.values
        .flatMap((word) => expandWordsIn(state, word, context.expand))
        .flatMap(parsePorts);
      const members = ports.map((port) => [port, {}] as const);
      return changeConfig(withMembers(state, 'ExposedPorts', members), {}, `EXPOSE [${ports.join(' ')}]`);
    }
    case 'VOLUME': {
      const volumes = instruction.values.map(expand);
      if (volumes.includes('')) throw new ImagoError('BAD_VOLUME', 'VOLUME specified can not be an empty string');
      const members = volumes.map((volume) => [volume, {}] as const);
      return changeConfig(withMembers(state, 'Volumes', members), {}, `VOLUME [${volumes.join(' ')}]`);
    }
    case 'SHELL':
      return changeConfig(state, { Shell: instruction.values }, `SHELL [${instruction.values.join(' ')}]`);
    case 'HEALTHCHECK':
      return setHealthcheck(state, instruction.health);
    case 'ONBUILD': {
      // As BuildKit: recorded, but no line of history.
      const OnBuild = [...(runConfig(state).OnBuild ?? []), instruction.expression];
      const { draft } = state;
      return {
        ...state,
        draft: { ...draft, config: { ...draft.config, config: { ...draft.config.config, OnBuild } } },
      };
    }
    default:
      return undefined;
  }
}

/** They are for the scanner of an SBOM alone (BuildKit, dockerfile2llb). */
const NO_VARIABLES: ReadonlySet<string> = new Set([SCAN_CONTEXT, SCAN_STAGE]);

function declareArgs(state: StageState, { args }: ArgInstruction, context: ConfigureContext): StageState {
  let next = state;
  const shown: string[] = [];
  for (const { key, value } of args) {
    const given = context.buildArgs.get(key);
    const own = given ?? (value === undefined ? undefined : expandIn(next, value, context.expand));
    const final = own ?? context.globalArgs.get(key);
    shown.push(final === undefined ? key : `${key}=${final}`);
    if (final !== undefined) {
      if (NO_VARIABLES.has(key)) next = { ...next, scan: new Map([...(next.scan ?? []), [key, final]]) };
      else next = withEnv(next, [[key, final]]);
    }
    next = { ...next, args: next.args.includes(key) ? next.args : [...next.args, key] };
  }
  return changeConfig(next, {}, `ARG ${shown.join(' ')}`);
}

function setEnv(state: StageState, { pairs }: PairsInstruction, context: ConfigureContext): StageState {
  // All see the environment before this instruction.
  const expanded = pairs.map(({ key, value }) => [
    expandIn(state, key, context.expand),
    expandIn(state, value, context.expand),
  ]) as [string, string][];
  const Env = [...(runConfig(state).Env ?? [])];
  // Few of thousands are set anew, and only those are looked for.
  const set = new Set<string>();
  for (const [key, value] of expanded) {
    const start = `${key}=`;
    const at =
      state.env.has(key) || set.has(key) ? Env.findIndex((entry) => entry === key || entry.startsWith(start)) : -1;
    set.add(key);
    Env.splice(at < 0 ? Env.length : at, at < 0 ? 0 : 1, start + value);
  }
  return changeConfig(withEnv(state, expanded), { Env }, `ENV ${joinPairs(expanded)}`);
}

function setCommand(state: StageState, instruction: CommandInstruction): StageState {
  const { args, shell } = instruction;
  const line = shell && args.length > 0 ? [...shellOf(state), args.join(' ')] : args;
  const text = `${instruction.name} [${line.map((word) => JSON.stringify(word)).join(' ')}]`;
  if (instruction.name === 'CMD') return { ...changeConfig(state, { Cmd: line }, text), cmdSet: true };
  // A CMD of the base was meant for the base's entrypoint.
  const change = { Entrypoint: line.length === 0 ? undefined : line, ...(state.cmdSet ? {} : { Cmd: undefined }) };
  return changeConfig(state, change, text);
}

function setHealthcheck(state: StageState, health: Healthcheck): StageState {
  const { test, interval = 0, timeout = 0, startPeriod = 0, startInterval = 0, retries = 0 } = health;
  const Healthcheck = {
    Test: test,
    ...(interval === 0 ? {} : { Interval: interval }),
    ...(timeout === 0 ? {} : { Timeout: timeout }),
    ...(startPeriod === 0 ? {} : { StartPeriod: startPeriod }),
    ...(startInterval === 0 ? {} : { StartInterval: startInterval }),
    ...(retries === 0 ? {} : { Retries: retries }),
  };
  const times = [
    `Interval:${formatDuration(interval)}`,
    `Timeout:${formatDuration(timeout)}`,
    `StartPeriod:${formatDuration(startPeriod)}`,
    `StartInterval:${formatDuration(startInterval)}`,
  ];
  const text = `HEALTHCHECK {Test:[${test.join(' ')}] ${times.join(' ')} Retries:${retries}}`;
  return changeConfig(state, { Healthcheck }, text);
}

function joinPairs(pairs: readonly (readonly [string, string])[]): string {
  return pairs.map(([key, value]) => `${key}=${value}`).join(' ');
}

/** A number, or a name with or without SIG, real-time signals included. Kept as written. */
function checkSignal(text: string): string {
  const number = Number(text);
  const name = text.toUpperCase().replace(/^SIG/, '');
  const known =
    (/^\d+$/.test(text) && number > 0 && number <= 64) ||
    `SIG${name}` in constants.signals ||
    /^RTMIN(\+([0-9]|[12][0-9]|30))?$|^RTMAX(-([0-9]|1[0-4]))?$/.test(name);
  if (known) return text;
  throw new ImagoError('BAD_SIGNAL', `Invalid signal: ${text}`, {
    want: 'a name as SIGTERM, or a number from 1 to 64',
  });
}
