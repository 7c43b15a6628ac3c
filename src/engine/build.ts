import { isSweepDue } from '../build/cache.ts';
import { checkFrontend } from '../build/checks/frontend.ts';
import { NamedContexts } from '../build/context/names.ts';
import { EPOCH_ARG, formatEpoch } from '../build/epoch.ts';
import { BuildProgress } from '../build/events.ts';
import { onlyFirst } from '../build/failure.ts';
import { type BuildPlan, planBuild } from '../build/plan.ts';
import { Materials } from '../build/provenance.ts';
import type { ReadSecret } from '../build/remote/secrets.ts';
import { withHostname } from '../build/run.ts';
import type { ReadyScanner, SbomScanner } from '../build/sbom/scan-plan.ts';
import { readScan } from '../build/sbom/scan-read.ts';
import { solvePlans } from '../build/solve.ts';
import { BuildCaches, checkCacheOptions } from '../exporter/cache.ts';
import { chooseOutputs } from '../exporter/choose-outputs.ts';
import { writeOutputs } from '../exporter/output.ts';
import { checkOutputs } from '../exporter/output-check.ts';
import type { OutputResult } from '../exporter/output-result.ts';
import { parseDockerfile } from '../formats/dockerfile/parse.ts';
import type { ImageDraft } from '../image/draft.ts';
import { defaultPlatform } from '../image/image.ts';
import { parseTag } from '../image/tag-by-name.ts';
import type { ImageConfig } from '../oci/config.ts';
import type { Platform } from '../oci/platform.ts';
import type { Store } from '../store/store.ts';
import { BuildAgents } from './build-agents.ts';
import { BaseImages } from './build-bases.ts';
import { suggestStage, warnOfChecks } from './build-checks.ts';
import { BuildContexts } from './build-context.ts';
import type { DockerfileSource } from './build-dockerfile.ts';
import { settleEpoch } from './build-epoch.ts';
import { factsOf } from './build-facts.ts';
import type { BuildOptions } from './build-options.ts';
import { checkRunnable, isMultiPlatform, readPlatforms } from './build-platforms.ts';
import { BuildSecrets } from './build-secrets.ts';
import { isTrue, warnOfContexts, warnOfInput } from './build-warnings.ts';
import { createRunStep } from './run-step.ts';

export type BuildResult = OutputResult;

const NO_FILE: DockerfileSource = { name: 'image', text: '' };

/**
 * Builds an image from a Dockerfile and gives it its names; without one it is kept as an untagged image. With `outputs`
 * that are files nothing is kept but the cache.
 * Throws `DockerfileError` and `BuildError`, which know their lines, and all that reading an image throws.
 */
export async function buildImage(store: Store, options: BuildOptions): Promise<BuildResult> {
  const started = new Date();
  const { definition } = options;
  const references = (options.tags ?? []).map(parseTag);
  checkCacheOptions(options.cacheFrom, options.cacheTo);
  const outputs = chooseOutputs(options.outputs ?? [], options);
  const progress = new BuildProgress(options.onEvent);
  const host = defaultPlatform();
  const platforms = readPlatforms(options.platform, host);
  const { rewriteTimestamp, stdout, annotations = [], attest = {} } = options;
  const { sbom = false } = attest;
  const attested = sbom !== false || attest.provenance !== undefined;
  const given = givenArgs(options);
  const multiPlatform = isMultiPlatform(given.get('BUILDKIT_MULTI_PLATFORM'), platforms);
  checkOutputs(outputs, { named: references.length > 0, indexed: multiPlatform || attested });
  const named = new NamedContexts(options.contexts);
  const keepGitDir = isTrue(given.get('BUILDKIT_CONTEXT_KEEP_GIT_DIR'));
  const materials = new Materials();
  const secrets = await BuildSecrets.open(options.secrets ?? {}, options.signal);
  const readSecret: ReadSecret = (id) => secrets.read(id, false);
  using contexts = new BuildContexts({ store, progress, signal: options.signal, keepGitDir, materials, readSecret });
  const {
    source: context,
    dockerfile,
    ignorePatterns,
  } = await contexts.open(definition === undefined ? options : { context: options.context, file: NO_FILE });
  if (definition === undefined) options.onDockerfile?.(dockerfile);
  checkFrontend(dockerfile.text, given);
  const file = definition ?? parseDockerfile(dockerfile.text);
  warnOfInput(file, given, progress);
  const target = { target: options.target, platform: platforms[0]!, host };
  const { epoch, buildArgs } = await settleEpoch({ ...target, file, buildArgs: given, named, contexts });
  await using agents = new BuildAgents(store, options.ssh ?? {});
  using lease = store.lease('build');
  const { pull: policy = 'missing', signal } = options;
  const bases = new BaseImages({ store, lease, policy, progress, signal });
  const triggersOf = (reference: string, wanted: Platform): readonly string[] => bases.triggersOf(reference, wanted);
  const common = { ...target, buildArgs, epoch: epoch ?? null, triggersOf, contexts: named };
  const planAll = (): BuildPlan[] => platforms.map((platform) => planBuild(file, { ...common, platform }));
  let plans = planAll();
  // A base's triggers may need further bases.
  while (await bases.fetchWanted()) plans = planAll();
  warnOfContexts(named, progress);
  const find = (reference: string, wanted: Platform): ImageConfig | undefined => bases.peekConfig(reference, wanted);
  const checked = { ...target, buildArgs, ignorePatterns, contexts: named };
  if (definition === undefined) warnOfChecks(dockerfile.text, { ...checked, find }, progress);
  const { cacheFrom: from, noCache = false } = options;
  const to = [...(options.cacheTo ?? []), ...(isTrue(given.get('BUILDKIT_INLINE_CACHE')) ? ['type=inline'] : [])];
  using caches = await BuildCaches.open({ store, lease, from, to, noCache, progress, signal });
  const scanner = typeof sbom === 'object' ? await readyScanner(sbom, bases, host) : undefined;
  const solved = await solvePlans(plans, {
    scanner,
    store,
    lease,
    context,
    openNamed: (place) => contexts.openNamed(place),
    checkRunnable: (platform) => checkRunnable(platform, host),
    buildArgs,
    noCache: noCache || new Set((options.noCacheFilter ?? []).map((name) => name.toLowerCase())),
    cache: caches.cache,
    cacheTravels: (from ?? []).length + to.length > 0,
    network: options.network ?? 'host',
    epoch,
    // As docker buildx: who gives all steps the host's network allows each to ask for it.
    allow: [...(options.allow ?? []), ...(options.network === 'host' ? ['network.host' as const] : [])],
    runSettings: withHostname(options.runSettings ?? {}, buildArgs),
    run: createRunStep(store, { secrets, agents }),
    readSecret,
    resolveImage: async (reference, wanted) => {
      const image = await bases.resolve(reference, wanted).catch((error: unknown) => {
        throw suggestStage(error, reference, file);
      });
      materials.addImage(reference, wanted, image.target.digest);
      return image;
    },
    materials,
    onFailure: onlyFirst(options.onFailure),
    progress,
    signal,
  });
  const drafts = solved.map(({ draft }) => draft);
  const images = solved.map(({ draft, scan }, i) => ({
    platform: platforms[i]!,
    draft: caches.withInline(withVariant(withLabels(draft, options.labels ?? {}), platforms[i]!)),
    ...(scan !== undefined && { sbom: readScan(store, scan) }),
  }));
  const facts = {
    ...factsOf(plans, options),
    dockerfile,
    buildArgs: given,
    host,
    materials: materials.list(),
    started,
  };
  const output = { references, outputs, annotations, multiPlatform, attest, facts, epoch, rewriteTimestamp, stdout };
  const built = await writeOutputs({ store, lease, images, ...output, progress, signal });
  await caches.export(drafts);
  if (isSweepDue(store)) await (await import('./build-cache-prune.ts')).sweepRecords(store);
  return built;
}

async function readyScanner(scanner: SbomScanner, bases: BaseImages, platform: Platform): Promise<ReadyScanner> {
  const { config } = await bases.resolve(scanner.generator, platform);
  return { ...scanner, platform, config: config.config ?? {} };
}

/** The time of a library's caller is a build argument, too, so that an ARG finds it, as with buildx. */
function givenArgs({ buildArgs, epoch }: BuildOptions): Map<string, string> {
  const given = new Map(Object.entries(buildArgs ?? {}));
  if (epoch !== undefined) given.set(EPOCH_ARG, formatEpoch(epoch));
  return given;
}

function withLabels(draft: ImageDraft, labels: Readonly<Record<string, string>>): ImageDraft {
  if (Object.keys(labels).length === 0) return draft;
  const config = draft.config.config ?? {};
  return {
    ...draft,
    config: { ...draft.config, config: { ...config, Labels: { ...config.Labels, ...labels } } },
  };
}

/** As BuildKit: an image for linux/amd64/v3 says so, also where its base is for any amd64. */
function withVariant(draft: ImageDraft, { os, architecture, variant }: Platform): ImageDraft {
  const { config } = draft;
  if (variant === undefined || config.variant || config.os !== os || config.architecture !== architecture) return draft;
  return { ...draft, config: { ...config, variant } };
}
