import type { ArchiveSink } from '../archive/write-tar.ts';
import { isSweepDue } from '../build/cache.ts';
import { checkFrontend } from '../build/checks/frontend.ts';
import { NamedContexts } from '../build/context/names.ts';
import { EPOCH_ARG, formatEpoch } from '../build/epoch.ts';
import { BuildProgress, type OnBuildEvent } from '../build/events.ts';
import { type OnFailure, onlyFirst } from '../build/failure.ts';
import { type BuildPlan, planBuild } from '../build/plan.ts';
import { Materials } from '../build/provenance.ts';
import type { ReadSecret } from '../build/remote/secrets.ts';
import { type Entitlement, type RunNetwork, type RunSettings, withHostname } from '../build/run.ts';
import type { ReadyScanner, SbomScanner } from '../build/sbom/scan-plan.ts';
import { readScan } from '../build/sbom/scan-read.ts';
import { solvePlans } from '../build/solve.ts';
import type { Annotation } from '../exporter/annotation-options.ts';
import type { AttestOptions } from '../exporter/attest-options.ts';
import { BuildCaches, checkCacheOptions } from '../exporter/cache.ts';
import { chooseOutputs } from '../exporter/choose-outputs.ts';
import { writeOutputs } from '../exporter/output.ts';
import { checkOutputs } from '../exporter/output-check.ts';
import type { BuildOutput } from '../exporter/output-options.ts';
import type { OutputResult } from '../exporter/output-result.ts';
import type { Dockerfile } from '../formats/dockerfile/instruction.ts';
import { parseDockerfile } from '../formats/dockerfile/parse.ts';
import type { ImageDraft } from '../image/draft.ts';
import { defaultPlatform } from '../image/image.ts';
import { parseTag } from '../image/tag-by-name.ts';
import type { ImageConfig } from '../oci/config.ts';
import type { Platform } from '../oci/platform.ts';
import type { Store } from '../store/store.ts';
import { type AgentSource, BuildAgents } from './build-agents.ts';
import { BaseImages } from './build-bases.ts';
import { suggestStage, warnOfChecks } from './build-checks.ts';
import { BuildContexts, type ContextInput } from './build-context.ts';
import type { DockerfileSource } from './build-dockerfile.ts';
import { settleEpoch } from './build-epoch.ts';
import { factsOf } from './build-facts.ts';
import { checkRunnable, isMultiPlatform, readPlatforms } from './build-platforms.ts';
import { BuildSecrets, type SecretSource } from './build-secrets.ts';
import { isTrue, warnOfContexts, warnOfInput } from './build-warnings.ts';
import { createRunStep } from './run-step.ts';
import type { PullPolicy } from './with-image.ts';

export interface BuildOptions {
  /** A directory, a git or http URL, or a tar (of any compression) or a Dockerfile as a stream; undefined: no files. */
  context?: ContextInput;
  /** Path of the Dockerfile (default: `Dockerfile` in the context), its URL, or its text. */
  file?: string | DockerfileSource;
  /** In place of a Dockerfile: one as it is parsed to. `ImageBuilder` makes such. */
  definition?: Dockerfile;
  /** Named contexts for FROM and --from: a directory, a git or http URL, docker-image://NAME, oci-layout://DIR. */
  contexts?: Readonly<Record<string, string>>;
  tags?: readonly string[];
  buildArgs?: Readonly<Record<string, string>>;
  labels?: Readonly<Record<string, string>>;
  target?: string;
  /** Several: an image each, and an index of them. */
  platform?: string | readonly string[];
  /** Of every RUN that says nothing else (default 'host'). Said to be 'host', a RUN may ask for it, too. */
  network?: RunNetwork;
  noCache?: boolean;
  /** Stages, by name, that take nothing from the cache. */
  noCacheFilter?: readonly string[];
  /** Caches to look into, as `--cache-from` names them; they need not be there. */
  cacheFrom?: readonly string[];
  /** Where the build's cache goes, as `--cache-to` says it. */
  cacheTo?: readonly string[];
  /** For RUN --mount=type=secret, by ID. */
  secrets?: Readonly<Record<string, SecretSource>>;
  /** For RUN --mount=type=ssh, by ID. */
  ssh?: Readonly<Record<string, AgentSource>>;
  /** What a RUN may ask for (default: nothing). */
  allow?: readonly Entitlement[];
  /** Of every RUN. */
  runSettings?: RunSettings;
  /** Whether images that it starts from and copies from are fetched from their registries (default 'missing'). */
  pull?: PullPolicy;
  /**
   * The time of the image, of its history, and of directories that the build makes (default: the build argument
   * SOURCE_DATE_EPOCH, else now, and then kept).
   */
  epoch?: Date;
  /** What becomes of the result (default: an image in the store). `parseOutput` reads them as `--output` has them. */
  outputs?: readonly BuildOutput[];
  /** Push the image under its names; without an image among the outputs, one is made. */
  push?: boolean;
  /** Keep an image in the store beside the other outputs. */
  load?: boolean;
  annotations?: readonly Annotation[];
  /** Attestations of the result (default: none). */
  attest?: AttestOptions;
  /** With an epoch: no file of the new layers is younger than that. */
  rewriteTimestamp?: boolean;
  /** Where an output with dest '-' goes. */
  stdout?: ArchiveSink;
  onEvent?: OnBuildEvent;
  /** Is told of the first step that fails, while its file system is still there, and waited for. */
  onFailure?: OnFailure;
  /** The Dockerfile as it was read, before anything is made of it. */
  onDockerfile?: (source: DockerfileSource) => void;
  signal?: AbortSignal;
}

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
