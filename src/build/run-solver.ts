import type { ByteString } from '../core/bytes.ts';
import type { Digest } from '../core/digest.ts';
import type { Time } from '../core/time.ts';
import type { RunInstruction } from '../formats/dockerfile/instruction.ts';
import { formatPlatform } from '../oci/platform.ts';
import { type BuildCache, stepKey } from './cache.ts';
import type { ImageFiles } from './context/image-source.ts';
import { type LayerContext, type LayerStep, timeText } from './copy/copy.ts';
import { type CopyOrigin, originNumber } from './copy/origin.ts';
import type { StepProgress } from './events.ts';
import { RunMounts } from './mounts/mounts.ts';
import type { Origin } from './plan.ts';
import { executeRun, type PreparedRun, prepareRun, runHistory, runKey, runVariables } from './run.ts';
import type { SolveOptions } from './solve.ts';
import { diffIds, runConfig, type StageState } from './state.ts';

/** What a plan's RUNs have in common. */
export interface RunContext {
  options: SolveOptions;
  cache: BuildCache;
  /** Of the build. */
  time: Time;
  /** Variables in a mount's fields. */
  expand(state: StageState, text: string): string;
  origin(from: Origin | undefined): Promise<CopyOrigin>;
  layers(state: StageState): LayerContext;
  /** Done once for all stages and platforms. */
  once(key: unknown, work: () => Promise<LayerStep>): Promise<LayerStep>;
  /** What people change while a RUN takes its time is looked at anew. */
  forgetContext(): void;
}

/** One RUN where it stands. */
export interface RunToSolve {
  instruction: RunInstruction;
  state: StageState;
  /** Of each mount. */
  origins: readonly (Origin | undefined)[];
  /** Of the layers below. */
  files: ImageFiles;
  progress: StepProgress;
  /** As shown. */
  name: string;
}

/** The layer of a RUN, out of the cache or by running it, and its line of the history. */
export async function solveRun(
  context: RunContext,
  run: RunToSolve,
): Promise<{ result: LayerStep; createdBy: string }> {
  const { state, origins, instruction } = run;
  const { network, allow, runSettings } = context.options;
  const prepared = prepareRun(state, instruction, network, allow);
  const mounts = await prepareMounts(context, run);
  const { env } = runVariables(state, context.options.buildArgs);
  const { args, network: own, scripts, insecure } = prepared;
  const { User, WorkingDir } = runConfig(state);
  const more = runKey(insecure, runSettings, mounts);
  const platform = formatPlatform(state.draft.config);
  const fields = ['RUN', platform, diffIds(state), args, env, User ?? '', WorkingDir || '/', own, scripts, ...more];
  const key = stepKey(fields);
  // At the same place of the same chain of steps: elsewhere a RUN that changes nothing may be meant to run again.
  const place = [
    state.noCache,
    state.draft.config.history?.length,
    key,
    mounts.hasInputs ? await identities(context, origins) : [],
  ];
  const result = await context.once(place, async () => {
    const known = state.noCache === true ? undefined : await findRun(context.cache, key, mounts);
    if (known !== undefined) return known;
    const layer = await runOnce(context, run, prepared, mounts);
    const made = { layer, created: timeText(context.time) };
    context.cache.set(key, mounts.inputs(), made);
    return { ...made, cached: false };
  });
  return { result, createdBy: runHistory(state, args) };
}

function prepareMounts(context: RunContext, { instruction, state, origins }: RunToSolve): Promise<RunMounts> {
  return RunMounts.prepare({
    flags: instruction.mounts,
    cacheNamespace: context.options.buildArgs.get('BUILDKIT_CACHE_MOUNT_NS'),
    origins,
    state,
    expand: (text) => context.expand(state, text),
    open: (origin) => context.origin(origin),
    context: context.layers(state),
  });
}

async function findRun(cache: BuildCache, key: string, mounts: RunMounts): Promise<LayerStep | undefined> {
  const known = !mounts.hasInputs || cache.has(key);
  const hit = known ? await cache.find(key, mounts.inputs()) : undefined;
  return hit && { ...hit, cached: true };
}

function identities(context: RunContext, origins: readonly (Origin | undefined)[]): Promise<unknown[]> {
  return Promise.all(origins.map(async (origin) => originNumber(await context.origin(origin))));
}

/** Null where it changed nothing. */
async function runOnce(
  context: RunContext,
  { state, files, progress, instruction, name: step }: RunToSolve,
  { args, network, scripts, insecure }: PreparedRun,
  mounts: RunMounts,
): Promise<Digest | null> {
  const { run, lease, signal, onFailure, buildArgs, runSettings: settings } = context.options;
  context.options.checkRunnable(state.draft.config);
  const { env, proxies } = runVariables(state, buildArgs);
  const agents = mounts.env.filter(([name]) => !state.env.has(name));
  const lower = (path: ByteString): 'directory' | 'other' | undefined => {
    const type = files.at(path)?.type;
    return type === undefined || type === 'directory' ? type : 'other';
  };
  const command = {
    args,
    env: [...env, ...proxies, ...agents].map(([key, value]) => `${key}=${value}`),
    network,
    scripts,
    insecure,
    settings,
    secretVariables: mounts.variables,
    mounts: await mounts.take(),
  };
  const at = { line: instruction.line, endLine: instruction.endLine, step };
  const place = { diffIds: diffIds(state), lower, lease, signal };
  const layer = await executeRun(run, { ...command, ...place }, state, progress, at, onFailure);
  context.forgetContext();
  return layer?.diffId ?? null;
}
