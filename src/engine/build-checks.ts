import { type CheckedBase, type CheckResult, checkDockerfile } from '../build/checks/checks.ts';
import { unknownRules } from '../build/checks/config.ts';
import { checkFrontend } from '../build/checks/frontend.ts';
import { listTargets, type Target } from '../build/checks/targets.ts';
import { NamedContexts } from '../build/context/names.ts';
import { BuildProgress } from '../build/events.ts';
import { platformArgs } from '../build/global-args.ts';
import { planBuild } from '../build/plan.ts';
import { ImagoError } from '../core/errors.ts';
import { DockerfileError, nearestWord } from '../formats/dockerfile/errors.ts';
import type { Dockerfile } from '../formats/dockerfile/instruction.ts';
import { parseDockerfile } from '../formats/dockerfile/parse.ts';
import { defaultPlatform } from '../image/image.ts';
import type { ImageConfig } from '../oci/config.ts';
import type { Platform } from '../oci/platform.ts';
import type { Store } from '../store/store.ts';
import { BaseImages } from './build-bases.ts';
import { BuildContexts } from './build-context.ts';
import type { DockerfileSource } from './build-dockerfile.ts';
import type { BuildOptions } from './build-options.ts';
import { readPlatforms } from './build-platforms.ts';
import { isTrue } from './build-warnings.ts';

/** A Dockerfile as `build --check` and `--call` look at it. */
export interface CheckRun extends CheckResult {
  source: DockerfileSource;
  targets: Target[];
}

/** What the rules need to know of a build. */
interface CheckInput {
  buildArgs: ReadonlyMap<string, string>;
  target?: string;
  platform: Platform;
  host: Platform;
  ignorePatterns: readonly string[];
  contexts: NamedContexts;
  find(reference: string, platform: Platform): ImageConfig | undefined;
}

/**
 * Checks a build's Dockerfile without building: every stage, or what the target needs. Of base images that are not in
 * the store the config is asked for, with `pull: 'always'` of all; one that cannot be had is done without. An error of
 * the Dockerfile is part of the result.
 */
export async function checkBuild(store: Store, options: BuildOptions): Promise<CheckRun> {
  const progress = new BuildProgress(options.onEvent);
  const host = defaultPlatform();
  const [platform = host] = readPlatforms(options.platform, host);
  const buildArgs = new Map(Object.entries(options.buildArgs ?? {}));
  const contexts = new NamedContexts(options.contexts);
  const { signal, target } = options;
  const keepGitDir = isTrue(buildArgs.get('BUILDKIT_CONTEXT_KEEP_GIT_DIR'));
  using opened = new BuildContexts({ store, progress, signal, keepGitDir });
  const { dockerfile: source, ignorePatterns } = await opened.open(options);
  options.onDockerfile?.(source);
  using lease = store.lease('build');
  const { pull: policy = 'missing' } = options;
  const bases = new BaseImages({ store, lease, policy, configsOnly: true, progress, signal });
  const triggersOf = (reference: string, wanted: Platform): readonly string[] => bases.triggersOf(reference, wanted);
  const plan = (file: Dockerfile): unknown =>
    planBuild(file, { buildArgs, target, host, platform, triggersOf, contexts });
  let error: DockerfileError | undefined;
  try {
    checkFrontend(source.text, buildArgs);
    const file = parseDockerfile(source.text);
    do plan(file);
    while (await bases.fetchWanted());
  } catch (caught) {
    if (!(caught instanceof DockerfileError)) throw caught;
    error = caught;
  }
  const find = (reference: string, wanted: Platform): ImageConfig | undefined => bases.peekConfig(reference, wanted);
  const input = { buildArgs, target, platform, host, ignorePatterns, contexts, find };
  let result = runChecks(source.text, input, true);
  // Stages that the plan has no need of have bases, too.
  while (await bases.fetchWanted()) result = runChecks(source.text, input, true);
  return { ...result, error: result.error ?? error ?? violations(result), source, targets: listTargets(source.text) };
}

/** Checks what a build is about to do, and tells it as warnings. Throws `CHECKS_FAILED` where the file wants that. */
export function warnOfChecks(text: string, input: CheckInput, progress: BuildProgress): void {
  const result = runChecks(text, input, false);
  for (const check of result.warnings) progress.warn(formatCheck(check), check.line, check);
  const unknown = unknownRules(result.config);
  if (unknown.length > 0) progress.warn(`no build check is called ${unknown.join(', ')}`);
  const failure = violations(result);
  if (failure !== undefined) throw failure;
}

function runChecks(text: string, input: CheckInput, all: boolean): CheckResult {
  const { buildArgs, target, platform, host, ignorePatterns, contexts, find } = input;
  const baseOf = (name: string, wanted: Platform): CheckedBase | undefined => {
    const named = contexts.find(name, wanted);
    if (named !== undefined && named.kind !== 'image') return { env: [], shell: false, onbuild: [] };
    const found = find(named?.reference ?? name, wanted);
    if (found === undefined) return undefined;
    const { config = {}, os, architecture, variant } = found;
    return {
      env: config?.Env ?? [],
      shell: (config?.Shell?.length ?? 0) > 0,
      onbuild: config?.OnBuild ?? [],
      platform: { os, architecture, ...(variant !== undefined && { variant }) },
    };
  };
  return checkDockerfile(text, {
    ...{ buildArgs, target, platform, all, ignorePatterns, baseOf },
    platformArgs: platformArgs({ buildArgs, target, host, platform }, undefined),
    isReplaced: (name, wanted) => contexts.find(name, wanted) !== undefined,
  });
}

/** An image that cannot be had may be a stage that is spelt otherwise. */
export function suggestStage(error: unknown, reference: string, { stages }: Dockerfile): unknown {
  if (!(error instanceof ImagoError)) return error;
  const names = stages.flatMap(({ from }) => (from.stage === undefined ? [] : [from.stage]));
  const near = nearestWord(reference, names);
  if (near === undefined) return error;
  const { exitCode } = error.details;
  return new ImagoError(error.code, `${error.message} (did you mean the stage ${near}?)`, { exitCode, cause: error });
}

/** As BuildKit prints it: `RULE: message (line N)`. */
export function formatCheck({ rule, message, line }: CheckResult['warnings'][number]): string {
  return `${rule}: ${message} (line ${line})`;
}

/** `# check=error=true` */
function violations({ config, warnings, error }: CheckResult): ImagoError | undefined {
  if (!config.error || warnings.length === 0 || error !== undefined) return undefined;
  const rules = [...new Set(warnings.map(({ rule }) => rule))];
  return new ImagoError('CHECKS_FAILED', `lint violation found for rules: ${rules.join(', ')}`, {
    remedy: "the Dockerfile's 'check' directive makes them errors",
  });
}
